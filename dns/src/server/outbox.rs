//! What the server sends elsewhere behind its clients' backs: records of queries, in queues.

use futures::future::BoxFuture;

/// A queue with a task that sends what is in it. A reload drops it; at the end of the process it is
/// given a little time.
pub trait Outbox: Send + Sync {
    /// Takes no more, and waits until what it has is sent or can't be.
    fn finish(&self) -> BoxFuture<'_, ()>;
}
