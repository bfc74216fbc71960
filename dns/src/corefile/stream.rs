//! The stream of tokens that the parser reads: the Corefile's, with each `import` replaced by the tokens of
//! its snippet or files.
//!
//! Every text is lexed once and shared; a stack of places says where in which text we are. So an import that
//! is reached again and again costs time, which [`MAX_TOKENS`] bounds, and no memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cause::Cause;
use super::lexer::lex;
use super::mistake::{Finding, Findings};
use super::source::{FileId, Files, MAX_TEXT, Reader, Span, glob};
use super::tree::Token;
use super::variables::expand;

/// Most tokens of a configuration, counted after imports.
pub(crate) const MAX_TOKENS: usize = 1_000_000;
/// Most bytes of all environment variables' values put in.
const MAX_EXPANDED: usize = 16 << 20;
/// Most snippets put in, as in coredns/caddy.
const MAX_SNIPPETS: usize = 10_000;
/// Most files put in, as in coredns/caddy.
const MAX_FILES: usize = 100_000;

/// Reading cannot go on: a bound was passed, and this was reported.
pub(crate) struct Stopped;

pub(crate) struct Stream<'a> {
    pub(crate) files: Files,
    pub(crate) findings: Findings,
    pub(crate) snippets: HashMap<Arc<str>, Snippet>,
    reader: &'a dyn Reader,
    lexed: HashMap<FileId, Arc<[Token]>>,
    places: Vec<Place>,
    taken: usize,
    expanded: usize,
    snippet_count: usize,
    file_count: usize,
}

/// A declared snippet.
pub(crate) struct Snippet {
    pub(crate) tokens: Arc<[Token]>,
    pub(crate) declared: Span,
}

/// Where we are in one text.
struct Place {
    origin: Origin,
    tokens: Arc<[Token]>,
    next: usize,
}

#[derive(PartialEq, Eq)]
enum Origin {
    File(FileId),
    Snippet(Arc<str>),
}

impl<'a> Stream<'a> {
    pub(crate) fn new(name: &str, text: String, reader: &'a dyn Reader) -> Self {
        let mut stream = Self {
            files: Files::default(),
            findings: Findings::default(),
            snippets: HashMap::new(),
            reader,
            lexed: HashMap::new(),
            places: Vec::new(),
            taken: 0,
            expanded: 0,
            snippet_count: 0,
            file_count: 0,
        };
        let id = stream.files.add(name, text);
        let tokens = stream.tokens_of(id);
        stream.places.push(Place { origin: Origin::File(id), tokens, next: 0 });
        stream
    }

    /// The next token as it is written, without taking it.
    pub(crate) fn peek(&mut self) -> Option<&Token> {
        while self.places.last().is_some_and(|place| place.next >= place.tokens.len()) {
            self.places.pop();
        }
        self.places.last().map(|place| &place.tokens[place.next])
    }

    /// Takes the next token as it is written; [`Self::peek`] has shown that there is one.
    pub(crate) fn take_raw(&mut self) -> Result<Token, Stopped> {
        let place = self.places.last_mut().expect("peek found a token");
        let token = place.tokens[place.next].clone();
        place.next += 1;
        self.taken += 1;
        if self.taken > MAX_TOKENS {
            return Err(self.stop(token.span, "words", MAX_TOKENS));
        }
        Ok(token)
    }

    /// Takes the next token with its environment variables put in.
    pub(crate) fn take(&mut self) -> Result<Token, Stopped> {
        let mut token = self.take_raw()?;
        token.text = self.expand(&token)?;
        Ok(token)
    }

    /// Replaces `import ARGUMENT`, whose first word is next, by what it names.
    pub(crate) fn import(&mut self) -> Result<(), Stopped> {
        let keyword = self.take_raw()?;
        let arguments = self.rest_of_line()?;
        let span = arguments.last().map_or(keyword.span, |last| keyword.span.to(last.span));
        let [argument] = arguments.as_slice() else {
            self.findings.push(Finding::new(span, Cause::ImportArguments));
            return Ok(());
        };
        let name = self.expand(argument)?;
        if name.is_empty() {
            let finding = Finding::new(argument.span, Cause::ImportArguments);
            self.findings.push(finding.help("the name is empty; is its environment variable set?"));
            return Ok(());
        }
        if let Some(snippet) = self.snippets.get(&name) {
            let tokens = snippet.tokens.clone();
            return self.enter(Origin::Snippet(name.clone()), tokens, &name, argument.span);
        }
        self.import_files(&name, argument.span)
    }

    /// Puts the environment variables into a token.
    pub(crate) fn expand(&mut self, token: &Token) -> Result<Arc<str>, Stopped> {
        let Some(text) = expand(&token.text, self.reader, MAX_EXPANDED - self.expanded) else {
            return Err(self.stop(token.span, "bytes of environment variables", MAX_EXPANDED));
        };
        if !Arc::ptr_eq(&text, &token.text) {
            self.expanded += text.len();
        }
        Ok(text)
    }

    /// Reports that a bound was passed.
    pub(crate) fn stop(&mut self, span: Span, what: &'static str, most: usize) -> Stopped {
        self.findings.push(Finding::new(span, Cause::TooLarge { what, most }));
        Stopped
    }

    /// The words that follow in the same text and on the same line.
    fn rest_of_line(&mut self) -> Result<Vec<Token>, Stopped> {
        let mut words = Vec::new();
        while self
            .places
            .last()
            .and_then(|place| place.tokens.get(place.next))
            .is_some_and(|token| !token.first)
        {
            words.push(self.take_raw()?);
        }
        Ok(words)
    }

    fn import_files(&mut self, name: &str, span: Span) -> Result<(), Stopped> {
        if name.matches('*').count() > 1
            || name.matches('?').count() > 1
            || (name.contains('[') && name.contains(']'))
        {
            self.findings.push(Finding::new(span, Cause::ImportPattern));
            return Ok(());
        }
        let beside = PathBuf::from(&*self.files.get(span.file).name);
        let path = beside.parent().unwrap_or(Path::new("")).join(name);
        let found = glob(&path, self.reader);
        if found.is_empty() {
            let finding = if name.contains(['*', '?', '[', ']']) {
                Finding::warning(span, Cause::ImportNothing { pattern: name.to_owned() })
            } else {
                self.missing(name, span, &path)
            };
            self.findings.push(finding);
        }
        // The last one is entered first, so that the first one is read first.
        for path in found.iter().rev() {
            if let Some(id) = self.file(path, span)? {
                let tokens = self.tokens_of(id);
                self.enter(Origin::File(id), tokens, &path.to_string_lossy(), span)?;
            }
        }
        Ok(())
    }

    fn missing(&self, name: &str, span: Span, path: &Path) -> Finding {
        let finding = Finding::new(span, Cause::ImportMissing { name: name.to_owned() });
        let snippets = self.snippets.keys().map(|name| &**name);
        match super::nearest(name, snippets) {
            Some(near) => finding.help(format!("did you mean the snippet `{near}`?")),
            None => finding
                .help(format!("declare the snippet above its use, or create {}", path.display())),
        }
    }

    /// Reads a file, once. `None` if it cannot be read, which is reported.
    fn file(&mut self, path: &Path, span: Span) -> Result<Option<FileId>, Stopped> {
        let name = path.to_string_lossy();
        if let Some(id) = self.files.find(&name) {
            return Ok(Some(id));
        }
        match self.reader.read(path) {
            Ok(bytes) if self.files.total() + bytes.len() > MAX_TEXT => {
                Err(self.stop(span, "bytes", MAX_TEXT))
            }
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Ok(Some(self.files.add(&name, text)))
            }
            Err(error) => {
                let cause = Cause::Unreadable { path: name.into_owned(), error: error.to_string() };
                self.findings.push(Finding::new(span, cause));
                Ok(None)
            }
        }
    }

    fn tokens_of(&mut self, id: FileId) -> Arc<[Token]> {
        if let Some(tokens) = self.lexed.get(&id) {
            return tokens.clone();
        }
        let (tokens, open_quote) = lex(id, &self.files.get(id).text);
        if let Some(span) = open_quote {
            self.findings.push(Finding::new(span, Cause::OpenQuote));
        }
        let tokens: Arc<[Token]> = tokens.into();
        self.lexed.insert(id, tokens.clone());
        tokens
    }

    /// Goes on reading in `tokens`. One that we are already in would never end.
    fn enter(
        &mut self,
        origin: Origin,
        tokens: Arc<[Token]>,
        name: &str,
        span: Span,
    ) -> Result<(), Stopped> {
        // Where nothing was read yet, a pattern's later file waits for its turn.
        if self.places.iter().any(|place| place.next > 0 && place.origin == origin) {
            self.findings.push(Finding::new(span, Cause::ImportLoop { name: name.to_owned() }));
            return Ok(());
        }
        let (count, what, most) = match origin {
            Origin::Snippet(_) => (&mut self.snippet_count, "imported snippets", MAX_SNIPPETS),
            Origin::File(_) => (&mut self.file_count, "imported files", MAX_FILES),
        };
        *count += 1;
        if *count > most {
            return Err(self.stop(span, what, most));
        }
        self.places.push(Place { origin, tokens, next: 0 });
        Ok(())
    }
}
