//! Asking an upstream while others look on: what is asked and what comes back is told to `dnstap`, and how
//! long it takes to `trace`.

use std::{sync::Arc, time::SystemTime};

use hickory_proto::op::Message;

use super::{
    failure::AskError,
    message::Outgoing,
    remote::{Exchange, Remote, Way},
};
use crate::{
    plugin::Query,
    plugins::dnstap::{Forwarded, Taps},
};

/// Asks `remote`.
///
/// # Errors
/// As [`Remote::ask`].
pub(super) async fn ask(
    remote: &Arc<Remote>,
    query: &Query,
    outgoing: &Arc<Outgoing>,
    way: Way,
    taps: &Taps,
) -> Result<Message, AskError> {
    let mut open = query.span.child("connect");
    if let Some(open) = &mut open {
        open.tag("peer.address", &*remote.to);
    }
    if taps.is_empty() {
        return remote.ask(outgoing, way).await;
    }
    let sent = SystemTime::now();
    let over = remote.over(way);
    let mut asked = Asked { taps, remote, query, outgoing, sent, over, told: false };
    let exchange = remote.exchange(outgoing, way).await;
    asked.tell(&exchange);
    exchange.reply
}

/// A query that is under way. If another upstream is faster, it is dropped before its end.
struct Asked<'a> {
    taps: &'a Taps,
    remote: &'a Remote,
    query: &'a Query,
    outgoing: &'a Outgoing,
    sent: SystemTime,
    over: crate::plugin::Transport,
    told: bool,
}

impl<'a> Asked<'a> {
    fn forwarded(&self) -> Forwarded<'a> {
        Forwarded {
            query: self.query,
            to: self.remote.address,
            from: None,
            over: self.over,
            sent: self.sent,
            message: self.outgoing.message(),
            reply: None,
        }
    }

    fn tell(&mut self, exchange: &Exchange) {
        self.told = true;
        let reply = exchange.reply.as_ref().ok();
        let Exchange { from, over, .. } = *exchange;
        self.taps.forwarded(&Forwarded { from, over, reply, ..self.forwarded() });
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.taps.forwarded(&self.forwarded());
        }
    }
}
