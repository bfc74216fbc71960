//! How a source is doing, for humans.

use std::time::SystemTime;

use daymark_cluster::{Kind, KindSet};
use parking_lot::Mutex;

/// How a source is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Kinds listed completely at least once.
    pub synced: KindSet,
    /// What does not work now.
    pub troubles: Vec<Trouble>,
}

/// Something that does not work, and since when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The kind of object it concerns; `None` for the source as a whole.
    pub kind: Option<Kind>,
    /// What is wrong, with the remedy.
    pub message: String,
    /// Since when. Another message for the same kind starts anew.
    pub since: SystemTime,
}

/// Where tasks write their troubles: one for each kind, and one for the source.
#[derive(Default)]
pub(crate) struct Board(Mutex<Vec<Trouble>>);

impl Board {
    /// Notes a trouble. Whether it is news: the same one may be told again and again.
    pub(crate) fn trouble(&self, kind: Option<Kind>, message: String) -> bool {
        let mut troubles = self.0.lock();
        if troubles.iter().any(|trouble| trouble.kind == kind && trouble.message == message) {
            return false;
        }
        troubles.retain(|trouble| trouble.kind != kind);
        troubles.push(Trouble { kind, message, since: SystemTime::now() });
        true
    }

    /// Notes that all is well. Whether that is news.
    pub(crate) fn fine(&self, kind: Option<Kind>) -> bool {
        let mut troubles = self.0.lock();
        let before = troubles.len();
        troubles.retain(|trouble| trouble.kind != kind);
        troubles.len() != before
    }

    /// What does not work now.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        self.0.lock().clone()
    }
}
