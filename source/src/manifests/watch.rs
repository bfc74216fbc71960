//! Follows a manifest folder: a thread that waits for inotify and makes a new pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use daymark_cluster::{Event, Reader, Writer};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tracing::{error, info, warn};

use super::{
    error::{ManifestError, ManifestErrors},
    folder::{Folder, Pass, parent},
};
use crate::status::Board;

/// A burst of changes is over when nothing happened for this long,
const QUIET: Duration = Duration::from_millis(50);
/// and is read at the latest after this.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between passes where inotify is not to be had.
const RESCAN: Duration = Duration::from_secs(2);
/// While inotify works, silence means that nothing changed: the data is confirmed this often.
const CONFIRM: Duration = Duration::from_secs(1);

/// The thread over a folder; dropping this ends it.
pub(crate) struct Watcher {
    orders: Sender<Signal>,
    thread: Option<JoinHandle<()>>,
}

enum Signal {
    /// Something under a watched folder is different.
    Changed,
    Stop,
}

impl Watcher {
    /// Reads `path` once, then follows it.
    ///
    /// # Errors
    /// The path cannot be read, or holds mistakes: there is no state to serve then.
    pub(crate) fn start(
        path: &Path,
        mut folder: Folder,
        mut writer: Writer,
        kinds: daymark_cluster::KindSet,
        board: Arc<Board>,
    ) -> Result<(Self, Reader), ManifestError> {
        let (orders, signals) = mpsc::channel();
        // Watching begins before reading, else a change in between would be missed.
        let mut folders = Watched::new(path, orders.clone());
        folders.follow(&BTreeSet::new());
        let unreadable = |source| ManifestError::Unreadable { path: path.to_owned(), source };
        let first = folder.pass().map_err(unreadable)?;
        if !first.mistakes.is_empty() {
            return Err(ManifestErrors { mistakes: first.mistakes }.into());
        }
        let before = kinds.iter().map(Event::ListStart);
        let after = kinds.iter().map(Event::ListDone);
        writer.apply(before.chain(first.events).chain(after));
        writer.confirm();
        if folders.follow(&first.folders) {
            // Between reading a folder and setting its watch something may have changed.
            let _ = orders.send(Signal::Changed);
        }
        let reader = writer.reader();
        let mut run = Run {
            root: path.to_owned(),
            folder,
            writer,
            folders,
            board,
            orders: orders.clone(),
            vanished: false,
        };
        let thread = thread::Builder::new()
            .name("manifests".into())
            .spawn(move || run.follow(&signals))
            .map_err(|source| ManifestError::Thread { path: path.to_owned(), source })?;
        Ok((Watcher { orders, thread: Some(thread) }, reader))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Fails only if the thread is gone already.
        let _ = self.orders.send(Signal::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Run {
    root: PathBuf,
    folder: Folder,
    writer: Writer,
    folders: Watched,
    board: Arc<Board>,
    orders: Sender<Signal>,
    vanished: bool,
}

impl Run {
    fn follow(&mut self, signals: &Receiver<Signal>) {
        loop {
            let wait = if self.folders.complete() { CONFIRM } else { RESCAN };
            match signals.recv_timeout(wait) {
                Ok(Signal::Changed) => {
                    if settle(signals).is_break() {
                        return;
                    }
                    self.folder_changed();
                }
                Err(RecvTimeoutError::Timeout) if self.folders.complete() && !self.vanished => {
                    self.writer.confirm();
                }
                Err(RecvTimeoutError::Timeout) => self.folder_changed(),
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn folder_changed(&mut self) {
        let pass = match self.folder.pass() {
            Ok(pass) => pass,
            Err(error) => {
                if !self.vanished {
                    error!(
                        path = %self.root.display(), %error,
                        "the manifests cannot be read any more; the last good state stays"
                    );
                    self.board.trouble(None, format!("{}: {error}", self.root.display()));
                }
                self.vanished = true;
                return;
            }
        };
        let Pass { events, folders, mistakes, broken } = pass;
        if !mistakes.is_empty() {
            let report = ManifestErrors { mistakes };
            error!("the last good state of a broken manifest stays\n{}", report.render());
        }
        if broken.is_empty() {
            self.board.fine(None);
        } else {
            self.board.trouble(None, format!("not in use as they are: {}", broken.join(", ")));
        }
        if self.vanished {
            info!(path = %self.root.display(), "the manifests can be read again");
            self.vanished = false;
        }
        self.writer.apply(events);
        self.writer.confirm();
        if self.folders.follow(&folders) {
            // Between reading a folder and setting its watch something may have changed.
            let _ = self.orders.send(Signal::Changed);
        }
    }
}

/// Waits until a burst of changes is over; breaks if told to stop.
fn settle(signals: &Receiver<Signal>) -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow::{Break, Continue};
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match signals.recv_timeout(QUIET) {
            Ok(Signal::Changed) => {}
            Err(RecvTimeoutError::Timeout) => return Continue(()),
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Break(()),
        }
    }
    Continue(())
}

/// The inotify watches: every folder that holds manifests, and the one that holds the root.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    above: PathBuf,
    /// With device and inode: another folder may take a name over.
    folders: BTreeMap<PathBuf, Option<(u64, u64)>>,
    said: bool,
}

impl Watched {
    fn new(root: &Path, changes: Sender<Signal>) -> Self {
        // Events come with absolute paths.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let above = parent(&root);
        let filter = Filter::new(&root, &above);
        let handler = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !filter.passes(&event)) {
                return;
            }
            // Fails only after the thread ended.
            let _ = changes.send(Signal::Changed);
        };
        let mut watched = Watched { watcher: None, above, folders: BTreeMap::new(), said: false };
        match notify::recommended_watcher(handler) {
            Ok(watcher) => watched.watcher = Some(watcher),
            Err(error) => watched.unavailable(&error),
        }
        watched
    }

    /// Whether every change will be told.
    fn complete(&self) -> bool {
        !self.said
    }

    /// Watches these folders, and no other but the one above. Whether a watch was new.
    fn follow(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut wanted = BTreeMap::new();
        for folder in folders.iter().chain([&self.above]) {
            let id = fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()));
            wanted.insert(folder.clone(), id);
        }
        for gone in self.folders.keys().filter(|folder| !wanted.contains_key(*folder)) {
            // A removed folder took its watch with it.
            let _ = watcher.unwatch(gone);
        }
        let (mut new, mut failed) = (false, None);
        for (folder, id) in &wanted {
            if self.folders.get(folder) == Some(id) {
                continue;
            }
            // The watch of a folder that was moved away is still held under its old name.
            let _ = watcher.unwatch(folder);
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => new = true,
                Err(error) if folder.exists() => failed = Some(error),
                Err(_) => {}
            }
        }
        self.folders = wanted;
        match failed {
            Some(error) => self.unavailable(&error),
            None => self.said = false,
        }
        new
    }

    fn unavailable(&mut self, error: &notify::Error) {
        if !self.said {
            warn!(
                %error,
                "inotify is not available: reading the manifests every {} s instead; raise the \
                 sysctls fs.inotify.max_user_watches and max_user_instances",
                RESCAN.as_secs()
            );
        }
        self.said = true;
    }
}

/// Which events call for a new pass.
struct Filter {
    root: PathBuf,
    /// Set where the folder above the root holds no manifests: of it, only the root counts.
    above: Option<PathBuf>,
}

impl Filter {
    fn new(root: &Path, above: &Path) -> Self {
        Filter { root: root.to_owned(), above: root.is_dir().then(|| above.to_owned()) }
    }

    fn passes(&self, event: &notify::Event) -> bool {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            // Reading is itself an event.
            EventKind::Access(_) => return false,
            _ => {}
        }
        let stranger = |path: &PathBuf| {
            *path != self.root && self.above.is_some() && path.parent() == self.above.as_deref()
        };
        // Without a path the kernel lost count.
        event.paths.is_empty() || !event.paths.iter().all(stranger)
    }
}
