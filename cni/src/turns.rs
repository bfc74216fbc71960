//! One call at a time for each container; calls for different ones never wait for each other.

use std::collections::HashSet;

use parking_lot::{Condvar, Mutex};

/// Who has a turn.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    busy: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// A container's turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    container_id: String,
}

impl Turns {
    /// Waits until nobody else is at work on the container.
    pub(crate) fn take(&self, container_id: &str) -> Turn<'_> {
        let mut busy = self.busy.lock();
        while !busy.insert(container_id.to_owned()) {
            self.freed.wait(&mut busy);
        }
        Turn { turns: self, container_id: container_id.to_owned() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.busy.lock().remove(&self.container_id);
        self.turns.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_container_has_one_turn_at_a_time_and_others_do_not_wait() {
        let turns = Turns::default();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let first = turns.take("a");
            drop(turns.take("b"));
            let second = scope.spawn(|| {
                let _turn = turns.take("a");
                assert!(over.load(Ordering::SeqCst), "the first turn was not over");
            });
            over.store(true, Ordering::SeqCst);
            drop(first);
            second.join().unwrap();
        });
    }
}
