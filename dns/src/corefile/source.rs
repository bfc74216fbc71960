//! Where a Corefile's text comes from: files, globs and environment variables behind [`Reader`], and the
//! texts that were read, kept in [`Files`] so that every token can point back at its line.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Most bytes of Corefile text, imports included, that one configuration may have.
pub const MAX_TEXT: usize = 64 << 20;

/// A file of a [`Files`], by the order in which it was read. 0 is the Corefile itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) u32);

/// A range of bytes in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file that the range is in.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `other`; `self` when they are in different files.
    pub fn to(self, other: Self) -> Self {
        if self.file == other.file && other.end >= self.start {
            Self { end: other.end, ..self }
        } else {
            self
        }
    }
}

/// Every file that was read for one configuration, in the order of first reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    files: Vec<SourceFile>,
}

/// The name and text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it was asked for, for messages.
    pub name: Arc<str>,
    /// The text; bytes that are no UTF-8 were replaced by U+FFFD.
    pub text: Arc<str>,
}

impl Files {
    /// The file behind `id`.
    pub fn get(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// All files with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        (0u32..).map(FileId).zip(&self.files)
    }

    /// Line and column of `span`'s start, both counted from 1, the column in characters.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let text = &self.get(span.file).text;
        let before = &text[..text.floor_char_boundary(span.start as usize)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// `name:line:column` of `span`'s start.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.position(span);
        format!("{}:{line}:{column}", self.get(span.file).name)
    }

    /// The total length of all texts in bytes.
    pub fn total(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }

    /// Keeps a text; the same name gives the same id.
    pub(crate) fn add(&mut self, name: &str, text: String) -> FileId {
        let id = FileId(
            u32::try_from(self.files.len())
                .expect("each file takes an import token, which are bounded"),
        );
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        id
    }

    /// The id of the file called `name`, if it was read.
    pub(crate) fn find(&self, name: &str) -> Option<FileId> {
        self.iter().find(|(_, file)| &*file.name == name).map(|(id, _)| id)
    }
}

/// What a Corefile may ask of the machine: files, globs, environment variables.
pub trait Reader {
    /// The whole of the file at `path`. Implementations read no more than [`MAX_TEXT`] bytes and one.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in the folder `path`, sorted; none if there is no such folder.
    fn names(&self, path: &Path) -> Vec<String>;

    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> bool;

    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine we run on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Reader for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let Ok(entries) =
            std::fs::read_dir(if path.as_os_str().is_empty() { Path::new(".") } else { path })
        else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn variable(&self, name: &str) -> Option<String> {
        if name.contains(['=', '\0']) { None } else { std::env::var(name).ok() }
    }
}

/// A machine in memory: for embedding a configuration in a program, and for tests.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Contents by path.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
}

impl Memory {
    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), contents.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Reader for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let mut names: Vec<_> = self
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(path).ok()?.components().next())
            .filter_map(|part| part.as_os_str().to_str().map(str::to_owned))
            .collect();
        names.dedup();
        names
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file.starts_with(path))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

/// The paths that `pattern` names, sorted. `*` and `?` match within one path component, as in Go's
/// `filepath.Glob`; the caller has made sure that there is at most one of each.
pub(crate) fn glob(pattern: &Path, reader: &dyn Reader) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let wild = match part {
            Component::Normal(name) => name.to_str().filter(|name| name.contains(['*', '?'])),
            _ => None,
        };
        found = match wild {
            None => found.into_iter().map(|folder| folder.join(part)).collect(),
            Some(wild) => found
                .into_iter()
                .flat_map(|folder| {
                    let names =
                        reader.names(&folder).into_iter().filter(|name| matches(wild, name));
                    names.map(|name| folder.join(name)).collect::<Vec<_>>()
                })
                .collect(),
        };
    }
    found.retain(|path| reader.exists(path));
    found
}

/// Whether `name` fits `pattern`, in which `*` is any text and `?` any one character.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| matches(&pattern[1..], &name[at..])),
        Some(want) => name.chars().next().is_some_and(|have| {
            (want == '?' || want == have)
                && matches(&pattern[want.len_utf8()..], &name[have.len_utf8()..])
        }),
    }
}
