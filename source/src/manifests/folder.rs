//! All files of a folder as one set of objects, and what a new pass over them changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use daymark_cluster::{
    Event, Interner, Kind, Labels, Name, Namespace, Needs, ObjectKey, ObjectName, event::Object,
};
use tracing::warn;

use super::{
    error::{ManifestErrors, Mistake},
    parse::parse_with,
};

/// Subfolders deeper than this are passed over.
const MAX_DEPTH: usize = 16;
/// Passes over a folder whose links keep moving.
const MAX_TRIES: usize = 5;
/// Label that the API puts on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A manifest folder, or a single file, as of the last pass.
pub(crate) struct Folder {
    root: PathBuf,
    needs: Needs,
    interner: Interner,
    files: BTreeMap<PathBuf, File>,
    published: HashMap<ObjectKey, Object>,
    /// Objects that two files hold: warned about once.
    doubled: HashSet<ObjectKey>,
}

/// What a pass found.
pub(crate) struct Pass {
    /// What changed since the pass before.
    pub(crate) events: Vec<Event>,
    /// Folders where a change of any file would matter.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// What is wrong with files whose content is new to this pass; their last good state stays.
    pub(crate) mistakes: Vec<Mistake>,
    /// Files that stand with their last good state, not their present one.
    pub(crate) broken: Vec<String>,
}

struct File {
    content: Content,
    /// The last good state.
    objects: Vec<Object>,
}

#[derive(PartialEq)]
enum Content {
    /// Hash of what was read, and whether it was any good.
    Read {
        hash: u64,
        good: bool,
    },
    Unreadable,
}

impl Folder {
    /// Reads nothing yet.
    pub(crate) fn new(root: PathBuf, needs: Needs) -> Self {
        Folder {
            root,
            needs,
            interner: Interner::default(),
            files: BTreeMap::new(),
            published: HashMap::new(),
            doubled: HashSet::new(),
        }
    }

    /// Reads every file; parses those whose content changed.
    ///
    /// # Errors
    /// The root itself cannot be read; nothing changed then.
    pub(crate) fn pass(&mut self) -> io::Result<Pass> {
        let mut mistakes = Vec::new();
        let mut tree = Tree::walk(&self.root)?;
        for _ in 0..MAX_TRIES {
            // A file that is gone takes its objects with it; one that cannot be read keeps them.
            self.files.retain(|path, _| tree.files.contains_key(path));
            for path in tree.files.keys() {
                self.read(path, &mut mistakes);
            }
            // A link that moved meanwhile would mix old files with new ones.
            let after = Tree::walk(&self.root)?;
            if std::mem::replace(&mut tree, after).files == tree.files {
                break;
            }
        }
        let events = self.publish();
        let broken = self.files.iter().filter(|(_, file)| !file.content.is_good());
        let broken = broken.map(|(path, _)| path.display().to_string()).collect();
        Ok(Pass { events, folders: tree.folders, mistakes, broken })
    }

    fn read(&mut self, path: &Path, mistakes: &mut Vec<Mistake>) {
        let name = path.display().to_string();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let file = self.files.entry(path.to_owned()).or_insert_with(File::empty);
                if file.content != Content::Unreadable {
                    warn!(file = name, %error, "cannot read a manifest; its last good state stays");
                }
                file.content = Content::Unreadable;
                return;
            }
        };
        let hash = hash(&bytes);
        if let Some(file) = self.files.get(path)
            && matches!(file.content, Content::Read { hash: before, .. } if before == hash)
        {
            return;
        }
        let parsed = parse_with(&name, &bytes, &self.needs, &mut self.interner);
        let file = self.files.entry(path.to_owned()).or_insert_with(File::empty);
        file.content = Content::Read { hash, good: parsed.is_ok() };
        match parsed {
            Ok(objects) => file.objects = objects,
            Err(ManifestErrors { mistakes: found }) => mistakes.extend(found),
        }
    }

    /// Merges all files, the later name winning, and compares with what was published.
    fn publish(&mut self) -> Vec<Event> {
        let mut wanted: HashMap<ObjectKey, (Object, &Path)> = HashMap::new();
        let mut doubled = HashSet::new();
        for (path, file) in &self.files {
            for object in &file.objects {
                let key = object.key();
                if let Some((_, earlier)) = wanted.insert(key.clone(), (object.clone(), path)) {
                    if !self.doubled.contains(&key) {
                        warn!(
                            kind = key.kind.plural(),
                            object = %format_args!("{}/{}", key.name.namespace, key.name.name),
                            used = %path.display(),
                            passed_over = %earlier.display(),
                            "the same object stands twice; the later one is used"
                        );
                    }
                    doubled.insert(key);
                }
            }
        }
        let mut wanted: HashMap<ObjectKey, Object> =
            wanted.into_iter().map(|(key, (object, _))| (key, object)).collect();
        self.doubled = doubled;
        self.imply_namespaces(&mut wanted);
        let mut events = Vec::new();
        for key in self.published.keys() {
            if !wanted.contains_key(key) {
                events.push(Event::Delete { key: key.clone(), version: 0 });
            }
        }
        for (key, object) in &wanted {
            if self.published.get(key) != Some(object) {
                events.push(Event::Apply { object: object.clone(), version: 0 });
            }
        }
        self.published = wanted;
        events
    }

    fn imply_namespaces(&mut self, wanted: &mut HashMap<ObjectKey, Object>) {
        if !self.needs.kinds.contains(Kind::Namespace) {
            return;
        }
        let used: HashSet<Name> =
            wanted.keys().map(|key| key.name.namespace.clone()).filter(|n| !n.is_empty()).collect();
        for name in used {
            let key = ObjectKey {
                kind: Kind::Namespace,
                name: ObjectName::new(Name::default(), name.clone()),
            };
            wanted.entry(key).or_insert_with(|| {
                Object::Namespace(Arc::new(Namespace { name, labels: Labels::default() }))
            });
        }
        if !self.needs.labels.contains(Kind::Namespace) {
            return;
        }
        let key = self.interner.name(NAMESPACE_NAME);
        for object in wanted.values_mut() {
            if let Object::Namespace(namespace) = object
                && let Err(at) = namespace.labels.binary_search_by(|(k, _)| k.cmp(&key))
            {
                let mut labels = namespace.labels.to_vec();
                labels.insert(at, (key.clone(), namespace.name.clone()));
                let name = namespace.name.clone();
                *namespace = Arc::new(Namespace { name, labels: labels.into() });
            }
        }
    }
}

impl File {
    fn empty() -> Self {
        File { content: Content::Read { hash: 0, good: false }, objects: Vec::new() }
    }
}

impl Content {
    fn is_good(&self) -> bool {
        matches!(self, Content::Read { good: true, .. })
    }
}

/// The manifest files under a root.
#[derive(Default)]
struct Tree {
    /// With what the name is linked to, if it is a link.
    files: BTreeMap<PathBuf, Option<PathBuf>>,
    folders: BTreeSet<PathBuf>,
    /// Device and inode of folders entered: links may go round in circles.
    entered: HashSet<(u64, u64)>,
}

impl Tree {
    fn walk(root: &Path) -> io::Result<Self> {
        let mut tree = Tree::default();
        if fs::metadata(root)?.is_dir() {
            tree.enter(root, 0)?;
        } else {
            // A name given outright counts whatever it ends with.
            tree.add(root.to_owned());
            tree.folders.insert(parent(root));
        }
        Ok(tree)
    }

    fn enter(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        let metadata = fs::metadata(folder)?;
        if depth > MAX_DEPTH || !self.entered.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        self.folders.insert(folder.to_owned());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // Follows links, as those of a ConfigMap. What vanished meanwhile comes up next pass.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                if let Err(error) = self.enter(&path, depth + 1) {
                    warn!(folder = %path.display(), %error, "cannot read a folder of manifests");
                }
            } else if metadata.is_file() && is_manifest(&path) {
                self.add(path);
            }
        }
        Ok(())
    }

    /// A linked file changes in the folder that it is linked from, or in its own.
    fn add(&mut self, path: PathBuf) {
        let real = path.is_symlink().then(|| path.canonicalize().ok()).flatten();
        self.folders.extend(real.as_deref().map(parent));
        self.files.insert(path, real);
    }
}

/// The folder that `path` stands in; `.` for a bare name.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
