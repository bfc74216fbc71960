//! From bytes to the store: decodes one object at a time into its compact form.

use std::time::SystemTime;

use daymark_cluster::{Event, Interner, Kind, Needs, ObjectKey, Reader, Writer, event::Object};
use parking_lot::Mutex;

use super::{
    encoding::{Encoding, Status, Told, Unreadable, Verb},
    json,
};
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

/// One event of a watch.
#[derive(Debug)]
pub(super) enum Change {
    /// To apply; `None` if the store need not know.
    Event { event: Option<Event>, version: u64 },
    /// All changes up to this version were told.
    Bookmark { version: u64, ends_list: bool },
    /// The watch ends with an error.
    Error(Status),
}

/// Where an object comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// A list: what is not told goes.
    List,
    /// A watch: what is not told stays.
    Watch,
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

    /// Begins with a saved state.
    pub(super) fn restore(&self, objects: Vec<(Object, u64)>, saved_at: SystemTime) {
        self.writer.lock().restore(objects, saved_at);
    }

    /// Everything that is held, as a state to be saved.
    pub(super) fn everything(&self) -> Vec<(Object, u64)> {
        self.writer.lock().everything()
    }

    /// Notes that the data was current just now.
    pub(super) fn confirm(&self) {
        self.writer.lock().confirm();
    }

    /// Decodes an event of a watch of `kind`.
    pub(super) fn change(
        &self,
        kind: Kind,
        encoding: Encoding,
        message: &[u8],
        during: During,
    ) -> Result<Change, Unreadable> {
        let (verb, shape) = match encoding.event(kind, message)? {
            Told::Object(verb, shape) => (verb, shape),
            Told::Error(status) => return Ok(Change::Error(status)),
        };
        let version = version(&shape);
        Ok(match verb {
            Verb::Bookmark => {
                let annotations = shape.metadata().annotations.as_ref();
                let ends = annotations.and_then(|all| all.get(INITIAL_EVENTS_END));
                Change::Bookmark { version, ends_list: ends.is_some_and(|v| v.text() == "true") }
            }
            Verb::Deleted => {
                let mut interner = self.interner.lock();
                let mut trim =
                    Trimmer { interner: &mut interner, needs: &self.needs, strict: None };
                let name = trim.identity(kind, shape.metadata());
                let event =
                    name.map(|name| Event::Delete { key: ObjectKey { kind, name }, version });
                Change::Event { event, version }
            }
            Verb::Applied => {
                Change::Event { event: self.event(kind, &shape, version, during), version }
            }
        })
    }

    /// Decodes an element of a list of `kind`: JSON, see [`Encoding::best`].
    pub(super) fn item(&self, kind: Kind, item: &[u8]) -> Result<Option<Event>, Unreadable> {
        let shape = json::item(kind, item)?;
        Ok(self.event(kind, &shape, version(&shape), During::List))
    }

    /// Decodes an object of a saved state, with its version.
    pub(super) fn object(
        &self,
        kind: Kind,
        text: &[u8],
    ) -> Result<Option<(Object, u64)>, Unreadable> {
        let shape = json::item(kind, text)?;
        let mut interner = self.interner.lock();
        let mut trim = Trimmer { interner: &mut interner, needs: &self.needs, strict: None };
        Ok(trim.object(&shape).map(|object| (object, version(&shape))))
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
