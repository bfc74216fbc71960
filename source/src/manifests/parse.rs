//! One manifest file: bytes to objects, or to everything that is wrong with it.

use std::sync::Arc;

use daymark_cluster::{Interner, Kind, Needs, event::Object};
use miette::{NamedSource, SourceSpan};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::{
    address,
    error::{ManifestErrors, Mistake},
    plan::{Plan, PlanSeed},
};
use crate::trim::{
    Strict, Trimmer,
    shape::{Shape, Text},
};

/// Files above this many bytes are refused.
pub const MAX_FILE: usize = 64 << 20;
/// `List`s inside `List`s deeper than this are refused.
const MAX_NESTING: usize = 4;

/// The objects of the manifest `name`, which is used in mistakes only: those of the kinds that are
/// asked for, in the order written; other kinds are ignored. A Service without addresses gets some
/// (see [`super`]).
///
/// # Errors
/// Every mistake that one pass can find: the first in the syntax or types of each document, and
/// all values that cannot be.
pub fn parse(name: &str, bytes: &[u8], needs: &Needs) -> Result<Vec<Object>, ManifestErrors> {
    parse_with(name, bytes, needs, &mut Interner::default())
}

/// As [`parse`], sharing names with other files.
pub(super) fn parse_with(
    name: &str,
    bytes: &[u8],
    needs: &Needs,
    interner: &mut Interner,
) -> Result<Vec<Object>, ManifestErrors> {
    let mut file = match File::new(name, bytes) {
        Ok(file) => file,
        Err(mistake) => return Err(ManifestErrors { mistakes: vec![*mistake] }),
    };
    let mut objects = Vec::new();
    for document in documents(&file.text.clone()) {
        file.document(&document, needs, interner, &mut objects);
    }
    if file.ignored > 0 {
        tracing::debug!(file = name, objects = file.ignored, "ignoring kinds that are of no use");
    }
    if file.mistakes.is_empty() {
        return Ok(objects);
    }
    file.mistakes.sort_by_key(|mistake| mistake.span.offset());
    Err(ManifestErrors { mistakes: file.mistakes })
}

/// One document of a file.
struct Document<'a> {
    text: &'a str,
    /// Bytes of the file before it.
    offset: usize,
}

/// Splits at the markers that begin a document: `---` at the start of a line, which YAML allows
/// nowhere else (YAML 1.2.2 §9.1.2). A mistake in one document then hides none in the next.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            documents.push(Document { text: &text[start..at], offset: start });
            start = at;
        }
        at += line.len();
    }
    documents.push(Document { text: &text[start..], offset: start });
    documents.retain(|document| document.text.lines().any(holds_content));
    documents
}

/// Whether a line is more than a marker, a comment or a directive.
fn holds_content(line: &str) -> bool {
    let line = line.trim();
    let line = line.strip_prefix("---").map_or(line, str::trim_start);
    !line.is_empty() && !line.starts_with('#') && !line.starts_with('%') && line != "..."
}

/// What a document says about itself: read first, because `kind` may stand last.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    #[serde(default)]
    items: Items,
}

/// The heads of a `List`'s items; anything else under this key is none of ours.
#[derive(Default)]
struct Items(Vec<Head>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence of objects")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
                let mut heads = Vec::new();
                while let Some(head) = seq.next_element()? {
                    heads.push(head);
                }
                Ok(Items(heads))
            }
            fn visit_unit<E>(self) -> Result<Items, E> {
                Ok(Items::default())
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct File {
    name: String,
    text: Arc<str>,
    mistakes: Vec<Mistake>,
    ignored: usize,
}

impl File {
    fn new(name: &str, bytes: &[u8]) -> Result<Self, Box<Mistake>> {
        let whole = |text: &str| File {
            name: name.to_owned(),
            text: Arc::from(text),
            mistakes: Vec::new(),
            ignored: 0,
        };
        if bytes.len() > MAX_FILE {
            let what = format!("the file has {} bytes, more than {MAX_FILE}", bytes.len());
            let help = "split it into several files".to_owned();
            return Err(Box::new(whole("").mistake(0, 0, what, help)));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(whole(text)),
            Err(error) => {
                let text = String::from_utf8_lossy(bytes);
                let what = "the file is not UTF-8".to_owned();
                let help = "save it as UTF-8 (`iconv -t UTF-8`)".to_owned();
                // What precedes the first bad byte is the same in the lossy text.
                Err(Box::new(whole(&text).mistake(error.valid_up_to(), 1, what, help)))
            }
        }
    }

    fn document(
        &mut self,
        document: &Document<'_>,
        needs: &Needs,
        interner: &mut Interner,
        objects: &mut Vec<Object>,
    ) {
        // A byte order mark is whitespace to nobody but us.
        let text = document.text.trim_start_matches('\u{feff}');
        let offset = document.offset + document.text.len() - text.len();
        let at = Place { document: text, offset };
        let head = match serde_saphyr::from_str_with_options::<Option<Head>>(text, options()) {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(error) => return self.refuse(&at, &error, None),
        };
        let plan = self.plan(&at, &head, None, MAX_NESTING);
        if matches!(plan, Plan::Ignore) {
            return;
        }
        let mut shapes = Vec::new();
        let seed = PlanSeed { plan: &plan, shapes: &mut shapes };
        let read = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |de| {
            seed.deserialize(de)
        });
        if let Err(error) = read {
            self.refuse(&at, &error, head.kind.as_ref().map(Text::text));
        }
        for shape in &shapes {
            self.object(&at, shape, needs, interner, objects);
        }
    }

    /// Decides by `apiVersion` and `kind`; `implied` is the kind of a typed list's items.
    fn plan(&mut self, at: &Place<'_>, head: &Head, implied: Option<Kind>, depth: usize) -> Plan {
        let Some(kind) = &head.kind else {
            if let Some(kind) = implied {
                return Plan::Object(kind);
            }
            let what = "an object without `kind`".to_owned();
            let help =
                "add `apiVersion` and `kind`, or move the file out of this folder".to_owned();
            let (start, len) = at.bytes(head.api_version.as_ref().map(Text::place));
            self.mistakes.push(self.mistake(start, len, what, help));
            return Plan::Ignore;
        };
        let version = head.api_version.as_ref().map(Text::text);
        if let Some(item) = kind.text().strip_suffix("List") {
            if depth == 0 {
                let (start, len) = at.bytes(Some(kind.place()));
                let what = format!("lists nested more than {MAX_NESTING} deep");
                self.mistakes.push(self.mistake(start, len, what, "flatten the list".into()));
                return Plan::Ignore;
            }
            let implied = version.and_then(|version| understood(version, item));
            if !item.is_empty() && implied.is_none() {
                return Plan::Ignore;
            }
            let items = head.items.0.iter();
            return Plan::List(items.map(|item| self.plan(at, item, implied, depth - 1)).collect());
        }
        match version.or_else(|| implied.map(|_| "v1")) {
            Some(version) => match understood(version, kind.text()) {
                Some(kind) => Plan::Object(kind),
                None => {
                    self.ignored += 1;
                    Plan::Ignore
                }
            },
            None => {
                let what = format!("a {} without `apiVersion`", kind.text());
                let help = "add `apiVersion` beside `kind`; `kubectl api-resources` lists them";
                let (start, len) = at.bytes(Some(kind.place()));
                self.mistakes.push(self.mistake(start, len, what, help.to_owned()));
                Plan::Ignore
            }
        }
    }

    fn object(
        &mut self,
        at: &Place<'_>,
        shape: &Shape<Spanned<String>>,
        needs: &Needs,
        interner: &mut Interner,
        objects: &mut Vec<Object>,
    ) {
        let metadata = shape.metadata();
        if metadata.name.as_ref().is_none_or(|name| name.text().is_empty()) {
            let (start, len) = at.bytes(metadata.name.as_ref().map(Text::place));
            let help = "add `name` under `metadata`; `generateName` needs an API server";
            let what = "an object without `metadata.name`".to_owned();
            self.mistakes.push(self.mistake(start, len, what, help.to_owned()));
            return;
        }
        let mut strict = Strict { rejected: Vec::new(), allocate: address::allocate };
        let object = Trimmer { interner, needs, strict: Some(&mut strict) }.object(shape);
        for rejection in strict.rejected {
            let (start, len) = at.bytes(Some(rejection.at));
            self.mistakes.push(self.mistake(start, len, rejection.what, rejection.help));
        }
        objects.extend(object.filter(|object| needs.kinds.contains(object.key().kind)));
    }

    fn refuse(&mut self, at: &Place<'_>, error: &serde_saphyr::Error, kind: Option<&str>) {
        let error = error.without_snippet();
        let what = serde_saphyr::MessageFormatter::format_message(&UserMessageFormatter, error)
            .into_owned();
        let help = match kind {
            Some(kind) => {
                let kind = kind.to_ascii_lowercase();
                format!("`kubectl explain {kind} --recursive` lists the fields and their types")
            }
            None => "check the indentation and quoting; YAML indents with spaces, not tabs".into(),
        };
        let (start, len) = at.bytes(error.location());
        self.mistakes.push(self.mistake(start, len, what, help));
    }

    fn mistake(&self, offset: usize, len: usize, what: String, help: String) -> Mistake {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Mistake {
            file: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what,
            help,
            source_code: NamedSource::new(&self.name, Arc::clone(&self.text)).with_language("yaml"),
            span: SourceSpan::new(offset.into(), len.min(self.text.len() - offset)),
        }
    }
}

/// Turns places in a document into places in its file.
struct Place<'a> {
    document: &'a str,
    offset: usize,
}

impl Place<'_> {
    /// Byte offset in the file and length; the document's first content where none is known.
    fn bytes(&self, location: Option<Location>) -> (usize, usize) {
        let location = location.filter(|location| location.line() > 0);
        let Some(location) = location else { return (self.offset + self.content(), 0) };
        let span = location.span();
        if let (Some(offset), Some(len)) = (span.byte_offset(), span.byte_len()) {
            return (self.offset + offset as usize, len as usize);
        }
        let line = usize::try_from(location.line() - 1).unwrap_or(usize::MAX);
        let lines = self.document.split_inclusive('\n');
        let start: usize = lines.take(line).map(str::len).sum();
        let column = usize::try_from(location.column().saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = &self.document[start..];
        let within = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        (self.offset + start + within, 0)
    }

    fn content(&self) -> usize {
        let mut at = 0;
        for line in self.document.split_inclusive('\n') {
            if holds_content(line) {
                return at;
            }
            at += line.len();
        }
        0
    }
}

fn understood(api_version: &str, kind: &str) -> Option<Kind> {
    Some(match (api_version, kind) {
        ("v1", "Service") => Kind::Service,
        ("discovery.k8s.io/v1", "EndpointSlice") => Kind::EndpointSlice,
        ("v1", "Namespace") => Kind::Namespace,
        ("v1", "Pod") => Kind::Pod,
        ("multicluster.x-k8s.io/v1alpha1", "ServiceImport") => Kind::ServiceImport,
        ("v1", "Node") => Kind::Node,
        _ => return None,
    })
}

/// The size of a file bounds a parse, so the parser's own counts need not; its bounds on depth and
/// on aliases, where little text becomes much, stay.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: MAX_FILE,
            max_nodes: MAX_FILE,
            max_total_scalar_bytes: MAX_FILE,
        },
    }
}
