//! What waits to be sent: bounded in number and octets, filled without waiting.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::Notify;

/// Octets that are taken at a time, about.
const BATCH: usize = 64 << 10;

/// Payloads that wait for their receiver.
pub(super) struct Queue {
    held: Mutex<Held>,
    more: Notify,
    end: Notify,
    /// Most payloads, and most octets of them.
    bounds: (usize, usize),
    dropped: AtomicU64,
    lost: IntCounter,
}

#[derive(Default)]
struct Held {
    payloads: VecDeque<Bytes>,
    octets: usize,
    closed: bool,
}

impl Queue {
    /// An empty one for so many payloads and octets. `lost` counts what does not fit, and what is
    /// lost afterwards.
    pub(super) fn new(payloads: usize, octets: usize, lost: IntCounter) -> Self {
        let dropped = AtomicU64::new(0);
        let (more, end) = (Notify::new(), Notify::new());
        Queue { held: Mutex::default(), more, end, bounds: (payloads, octets), dropped, lost }
    }

    /// Puts a payload at the end, or drops it if there is no room.
    pub(super) fn push(&self, payload: Bytes) {
        let mut held = self.held.lock();
        let (payloads, octets) = self.bounds;
        let full = held.payloads.len() >= payloads || held.octets + payload.len() > octets;
        if full || held.closed {
            drop(held);
            return self.dropped(1);
        }
        held.octets += payload.len();
        held.payloads.push_back(payload);
        drop(held);
        self.more.notify_one();
    }

    /// Waits for payloads and takes some of them. `None` once the queue is closed and empty. For one
    /// caller at a time.
    pub(super) async fn take(&self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut held = self.held.lock();
                let mut batch = Vec::new();
                let mut octets = 0;
                while octets < BATCH
                    && let Some(payload) = held.payloads.pop_front()
                {
                    octets += payload.len();
                    batch.push(payload);
                }
                held.octets -= octets;
                if !batch.is_empty() {
                    return Some(batch);
                }
                if held.closed {
                    return None;
                }
            }
            self.more.notified().await;
        }
    }

    /// Takes no more; what waits can still be taken.
    pub(super) fn close(&self) {
        self.held.lock().closed = true;
        self.more.notify_one();
        self.end.notify_one();
    }

    /// Waits until it is closed. For one caller at a time.
    pub(super) async fn closed(&self) {
        while !self.is_closed() {
            self.end.notified().await;
        }
    }

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.held.lock().closed
    }

    /// Notes payloads that were taken and never reached anybody.
    pub(super) fn dropped(&self, payloads: usize) {
        self.dropped.fetch_add(payloads as u64, Relaxed);
        self.lost.inc_by(payloads as u64);
    }

    /// Payloads that were dropped since this was last asked.
    pub(super) fn drops(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }

    /// Drops all that waits.
    pub(super) fn clear(&self) {
        let mut held = self.held.lock();
        let waiting = held.payloads.len();
        *held = Held { closed: held.closed, ..Held::default() };
        drop(held);
        self.dropped(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(payloads: usize, octets: usize) -> Queue {
        Queue::new(payloads, octets, IntCounter::new("lost", "lost").unwrap())
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let queue = queue(3, 100);
        for _ in 0..5 {
            queue.push(Bytes::from_static(b"payload"));
        }
        assert_eq!((queue.drops(), queue.drops(), queue.lost.get()), (2, 0, 2));
        assert_eq!(queue.take().await.unwrap().len(), 3);
        queue.push(Bytes::from(vec![0; 101]));
        assert_eq!(queue.drops(), 1);
        queue.push(Bytes::from(vec![0; 100]));
        assert_eq!((queue.drops(), queue.take().await.unwrap().len()), (0, 1));
    }

    #[tokio::test]
    async fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let queue = queue(10, 1000);
        queue.push(Bytes::from_static(b"one"));
        queue.close();
        queue.push(Bytes::from_static(b"two"));
        assert_eq!(queue.take().await.unwrap(), [Bytes::from_static(b"one")]);
        assert_eq!((queue.take().await, queue.drops()), (None, 1));
    }
}
