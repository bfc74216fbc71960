//! Gives a query a limited time. See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};

use self::config::Config;
use crate::plugin::{Failure, FailureReason, Next, Outcome, Plugin, Query};

/// The `cancel` plugin.
pub struct Cancel(pub Config);

impl Plugin for Cancel {
    fn name(&self) -> &'static str {
        "cancel"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let Config { timeout } = self.0;
        async move {
            // What the chain was doing ends here with its future, sockets and places included.
            let outcome = tokio::time::timeout(timeout, next.serve(query)).await;
            outcome
                .unwrap_or_else(|_| Err(Failure::new("cancel", FailureReason::Deadline(timeout))))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::SeqCst},
        },
        time::Duration,
    };

    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::plugins::stand_in::query;

    /// Waits for ever, and notes that it was stopped.
    struct Waits(Arc<AtomicBool>);

    struct Noting(Arc<AtomicBool>);

    impl Drop for Noting {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    impl Plugin for Waits {
        fn name(&self) -> &'static str {
            "waits"
        }

        fn serve<'a>(&'a self, _query: &'a Query, _next: Next<'a>) -> BoxFuture<'a, Outcome> {
            let noting = Noting(Arc::clone(&self.0));
            async move {
                let _noting = noting;
                std::future::pending().await
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_waits_too_long_is_stopped() {
        let stopped = Arc::new(AtomicBool::new(false));
        let cancel = Cancel(Config { timeout: Duration::from_millis(5001) });
        let plugins: Vec<Arc<dyn Plugin>> =
            vec![Arc::new(cancel), Arc::new(Waits(Arc::clone(&stopped)))];
        let chain = plugins.into();
        let before = tokio::time::Instant::now();
        let asked = query("a.", RecordType::A);
        let failure = Next::all(&chain).serve(&asked).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::Deadline(Duration::from_millis(5001)));
        assert_eq!(failure.reason.to_string(), "not answered within 5.001s");
        assert!(stopped.load(SeqCst));
        assert_eq!(before.elapsed().as_secs(), 5);
    }
}
