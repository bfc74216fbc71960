//! The state on disk: what a server answers from when it starts again and the API is away.
//!
//! A file of lines, JSON each. The first says what the file is, for which API, and when it was
//! written; then comes an object a line, as the API would show it, cut down to what we keep; the last
//! line says how many there are, so that half a file is known for what it is. Objects are read as the
//! API's are: there is one meaning, and `jq` shows what a server knew.

pub(super) mod object;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use daymark_cluster::{Kind, Needs, event::Object};
use serde::{Deserialize, Serialize};

use super::{observe::ApiObserver, sink::Sink};

/// A changed state is written no more often than this.
const PERIOD: Duration = Duration::from_secs(10);
/// What the first line calls the file; another layout gets another number.
const FORMAT: &str = "daymark-state/1";
/// Octets of the longest line: an EndpointSlice has at most 1,000 endpoints.
const LONGEST: u64 = 8 << 20;

/// A file of the state of one API.
pub(super) struct State {
    path: PathBuf,
    /// Which API, as configured: a file of another one is not read.
    api: String,
    needs: Needs,
    sink: Arc<Sink>,
    observer: Arc<dyn ApiObserver>,
    /// Revision of the snapshot that was written last.
    written: AtomicU64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    format: String,
    api: String,
    /// Seconds since 1970.
    saved_at: u64,
    /// What was kept of the objects.
    kinds: Vec<String>,
    kept: String,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    objects: usize,
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    kind: Option<&'a str>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
    #[error("it ends too early")]
    Cut,
    #[error("it is of another API or layout, or lacks what is asked for now")]
    Other,
}

impl State {
    pub(super) fn new(
        folder: &Path,
        api: String,
        needs: Needs,
        sink: Arc<Sink>,
        observer: Arc<dyn ApiObserver>,
    ) -> Self {
        // One file for each API, whatever its name is made of.
        let name = api.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
        });
        let path = folder.join(format!("cluster-{name:016x}.jsonl"));
        State { path, api, needs, sink, observer, written: AtomicU64::new(0) }
    }

    /// How many objects a file of these octets has, if it is one.
    pub(super) fn count(&self, octets: &[u8]) -> Option<usize> {
        self.read_from(octets).ok().map(|(objects, _)| objects.len())
    }

    /// Begins with what is on disk, if that is of use. Tells whether it is.
    pub(super) fn load(&self) -> bool {
        let (objects, saved_at) = match self.read() {
            Ok(found) => found,
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => {
                tracing::warn!("{}: not used: {error}", self.path.display());
                return false;
            }
        };
        let count = objects.len();
        self.sink.restore(objects, saved_at);
        self.written.store(self.sink.reader().snapshot().revision, Relaxed);
        let age = saved_at.elapsed().unwrap_or_default().as_secs();
        tracing::info!(
            "answering from the state saved {age} s ago ({count} objects) until the Kubernetes API has told all"
        );
        true
    }

    /// Writes the state whenever it has changed.
    pub(super) async fn keep_writing(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let state = Arc::clone(&self);
            // A slow disk holds up nothing else.
            if let Err(error) = tokio::task::spawn_blocking(move || state.write()).await {
                tracing::error!(%error, "saving the state");
            }
        }
    }

    /// Writes the state if it is one, and has changed since.
    pub(super) fn write(&self) {
        let reader = self.sink.reader();
        let revision = reader.snapshot().revision;
        if !reader.synced() || reader.saved_at().is_some() || self.written.load(Relaxed) == revision
        {
            return;
        }
        let outcome = self.try_write();
        self.observer.saved(outcome.is_ok());
        match outcome {
            Ok(()) => self.written.store(revision, Relaxed),
            Err(error) => {
                tracing::error!("{}: the state is not saved: {error}", self.path.display());
            }
        }
    }

    fn try_write(&self) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut out = BufWriter::new(File::create(&beside)?);
        let head = Head {
            format: FORMAT.to_owned(),
            api: self.api.clone(),
            saved_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            kinds: self.needs.kinds.iter().map(|kind| kind.plural().to_owned()).collect(),
            kept: kept(self.needs),
        };
        let everything = self.sink.everything();
        line(&mut out, &head)?;
        for (object, version) in &everything {
            line(&mut out, &object::json(object, *version))?;
        }
        line(&mut out, &Tail { objects: everything.len() })?;
        // On disk before it takes the place of the last one.
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(beside, &self.path)
    }

    fn read(&self) -> Result<(Vec<(Object, u64)>, SystemTime), Unusable> {
        self.read_from(BufReader::new(File::open(&self.path)?))
    }

    /// Reads a file's objects, and when it was written.
    fn read_from(&self, input: impl BufRead) -> Result<(Vec<(Object, u64)>, SystemTime), Unusable> {
        let mut lines = Lines { input, number: 0 };
        let mut text = Vec::new();
        let head: Head = match lines.next(&mut text)? {
            true => serde_json::from_slice(&text).map_err(|error| lines.wrong(&error))?,
            false => return Err(Unusable::Cut),
        };
        let has = |kind: Kind| head.kinds.iter().any(|has| has == kind.plural());
        let same = head.format == FORMAT && head.api == self.api && head.kept == kept(self.needs);
        if !same || !self.needs.kinds.iter().all(has) {
            return Err(Unusable::Other);
        }
        let (mut objects, mut told) = (Vec::new(), 0);
        while lines.next(&mut text)? {
            if let Ok(tail) = serde_json::from_slice::<Tail>(&text) {
                let saved_at = UNIX_EPOCH + Duration::from_secs(head.saved_at);
                return if tail.objects == told {
                    Ok((objects, saved_at))
                } else {
                    Err(Unusable::Cut)
                };
            }
            told += 1;
            let peek: Peek<'_> =
                serde_json::from_slice(&text).map_err(|error| lines.wrong(&error))?;
            let Some(kind) = peek.kind.and_then(object::kind) else {
                return Err(lines.wrong(&"an object of no kind that is known"));
            };
            if self.needs.kinds.contains(kind) {
                let object = self.sink.object(kind, &text).map_err(|error| lines.wrong(&error))?;
                objects.extend(object);
            }
        }
        Err(Unusable::Cut)
    }
}

/// Writes the last state when the source ends.
pub(crate) struct AtEnd(pub(super) Arc<State>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.write();
    }
}

struct Lines<R> {
    input: R,
    number: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line, without its end, into `text`. Tells whether there is one.
    fn next(&mut self, text: &mut Vec<u8>) -> Result<bool, Unusable> {
        text.clear();
        self.number += 1;
        let octets = io::Read::take(&mut self.input, LONGEST).read_until(b'\n', text)?;
        match text.pop_if(|last| *last == b'\n') {
            Some(_) => Ok(true),
            None if octets == 0 => Ok(false),
            None => Err(Unusable::Cut),
        }
    }

    fn wrong(&self, what: &dyn std::fmt::Display) -> Unusable {
        Unusable::Line { line: self.number, what: what.to_string() }
    }
}

/// What is kept of objects beside what always is.
fn kept(needs: Needs) -> String {
    let labels: Vec<&str> = needs.labels.iter().map(Kind::plural).collect();
    let externals = if needs.externals { " externals" } else { "" };
    format!("{} {} {}{externals}", labels.join(","), needs.endpoint_pods, needs.endpoint_zones)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
