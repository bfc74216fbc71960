//! Tells clients who they are. See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{Name, RData, Record, rdata::SRV};

use crate::plugin::{Answer, Next, Outcome, Plugin, Query};

/// The `whoami` plugin.
pub struct Whoami;

impl Plugin for Whoami {
    fn name(&self) -> &'static str {
        "whoami"
    }

    fn serve<'a>(&'a self, query: &'a Query, _next: Next<'a>) -> BoxFuture<'a, Outcome> {
        std::future::ready(Ok(answer(query))).boxed()
    }
}

/// The client's address and port as records in the additional section.
fn answer(query: &Query) -> Answer {
    let mut answer = Answer::to(query);
    answer.message.metadata.authoritative = true;
    let client = query.origin.client;
    let address = crate::plugins::kubernetes::records::address_data(client.ip());
    answer.message.additionals.push(Record::from_rdata(query.name().clone(), 0, address));
    let prefix = format!("_{}", query.origin.transport.label());
    // A name that has no room for one more label is told the address alone.
    if let Ok(owner) = query.name().prepend_label(prefix.as_bytes()) {
        let port = RData::SRV(SRV::new(0, 0, client.port(), Name::root()));
        answer.message.additionals.push(Record::from_rdata(owner, 0, port));
    }
    answer
}
