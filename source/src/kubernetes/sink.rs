//! From JSON to the store: decodes one object at a time into its compact form.

use daymark_cluster::{Event, Interner, Kind, Needs, ObjectKey, Reader, Writer, event::Object};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::trim::{
    Trimmer,
    shape::{Borrowed, Shape, Text},
};

/// Annotation of the bookmark that ends a streaming list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The store and the names, shared by the tasks of all kinds.
pub(super) struct Sink {
    needs: Needs,
    writer: Mutex<Writer>,
    interner: Mutex<Interner>,
    reader: Reader,
}

/// One line of a watch.
#[derive(Debug)]
pub(super) enum Change {
    /// To apply; `None` if the store need not know.
    Event { event: Option<Event>, version: u64 },
    /// All changes up to this version were told.
    Bookmark { version: u64, ends_list: bool },
    /// The watch ends with an error.
    Error(Status),
}

/// `metav1.Status`, as a watch tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Where an object comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// A list: what is not told goes.
    List,
    /// A watch: what is not told stays.
    Watch,
}

#[derive(Deserialize)]
struct Line<'a, T> {
    #[serde(borrow)]
    r#type: Borrowed<'a>,
    object: T,
}

impl Sink {
    pub(super) fn new(needs: Needs, writer: Writer) -> Self {
        let reader = writer.reader();
        let (writer, interner) = (Mutex::new(writer), Mutex::default());
        Sink { needs, writer, interner, reader }
    }

    pub(super) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Applies a batch and empties it.
    pub(super) fn apply(&self, batch: &mut Vec<Event>) {
        if !batch.is_empty() {
            self.writer.lock().apply(batch.drain(..));
        }
    }

    /// Notes that the data was current just now.
    pub(super) fn confirm(&self) {
        self.writer.lock().confirm();
    }

    /// Decodes a line of a watch of `kind`.
    pub(super) fn change(
        &self,
        kind: Kind,
        line: &[u8],
        during: During,
    ) -> Result<Change, serde_json::Error> {
        let (verb, shape) = match read_line(kind, line) {
            Ok((verb, shape)) if verb.text() != "ERROR" => (verb, shape),
            // A status may be taken for a bare object, or not fit it at all.
            outcome => {
                return match serde_json::from_slice::<Line<'_, Status>>(line) {
                    Ok(line) if line.r#type.text() == "ERROR" => Ok(Change::Error(line.object)),
                    _ => Err(outcome.err().unwrap_or_else(|| {
                        <serde_json::Error as serde::de::Error>::custom("an error of no shape")
                    })),
                };
            }
        };
        let version = version(&shape);
        Ok(match verb.text() {
            "BOOKMARK" => {
                let annotations = shape.metadata().annotations.as_ref();
                let ends = annotations.and_then(|all| all.get(INITIAL_EVENTS_END));
                Change::Bookmark { version, ends_list: ends.is_some_and(|v| v.text() == "true") }
            }
            "DELETED" => {
                let mut interner = self.interner.lock();
                let mut trim =
                    Trimmer { interner: &mut interner, needs: &self.needs, strict: None };
                let name = trim.identity(kind, shape.metadata());
                let event =
                    name.map(|name| Event::Delete { key: ObjectKey { kind, name }, version });
                Change::Event { event, version }
            }
            // ADDED and MODIFIED. Other words do not exist; if one comes, its object is what counts.
            _ => Change::Event { event: self.event(kind, &shape, version, during), version },
        })
    }

    /// Decodes an element of a list of `kind`.
    pub(super) fn item(&self, kind: Kind, item: &[u8]) -> Result<Option<Event>, serde_json::Error> {
        let shape = read_item(kind, item)?;
        Ok(self.event(kind, &shape, version(&shape), During::List))
    }

    fn event(
        &self,
        kind: Kind,
        shape: &Shape<Borrowed<'_>>,
        version: u64,
        during: During,
    ) -> Option<Event> {
        let mut interner = self.interner.lock();
        let mut trim = Trimmer { interner: &mut interner, needs: &self.needs, strict: None };
        if let Some(object) = trim.object(shape) {
            return Some(Event::Apply { object, version });
        }
        let key = ObjectKey { kind, name: trim.identity(kind, shape.metadata())? };
        drop(interner);
        let leaving = shape.metadata().deletion_timestamp.is_some();
        match during {
            // A pod that is being deleted stays as it was held until it is gone.
            During::Watch if leaving => None,
            During::List if leaving => self.held(&key),
            _ => Some(Event::Delete { key, version }),
        }
    }

    /// What the store holds under `key`, to be told again so that a list does not sweep it away.
    fn held(&self, key: &ObjectKey) -> Option<Event> {
        let version = self.writer.lock().version(key)?;
        let pod = self.reader.snapshot().pods.get(&key.name).cloned()?;
        Some(Event::Apply { object: Object::Pod(pod), version })
    }
}

fn version(shape: &Shape<Borrowed<'_>>) -> u64 {
    let version = shape.metadata().resource_version.as_ref();
    version.and_then(|version| version.text().parse().ok()).unwrap_or(0)
}

fn read_line(
    kind: Kind,
    line: &[u8],
) -> Result<(Borrowed<'_>, Shape<Borrowed<'_>>), serde_json::Error> {
    fn read<'a, T: Deserialize<'a>>(
        line: &'a [u8],
        shape: fn(T) -> Shape<Borrowed<'a>>,
    ) -> Result<(Borrowed<'a>, Shape<Borrowed<'a>>), serde_json::Error> {
        let line: Line<'a, T> = serde_json::from_slice(line)?;
        Ok((line.r#type, shape(line.object)))
    }
    match kind {
        Kind::Service => read(line, Shape::Service),
        Kind::EndpointSlice => read(line, Shape::EndpointSlice),
        Kind::Namespace => read(line, Shape::Namespace),
        Kind::Pod => read(line, Shape::Pod),
        Kind::ServiceImport => read(line, Shape::ServiceImport),
        Kind::Node => read(line, Shape::Node),
    }
}

fn read_item(kind: Kind, item: &[u8]) -> Result<Shape<Borrowed<'_>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(item);
    let shape = Shape::read(kind, &mut json)?;
    json.end()?;
    Ok(shape)
}
