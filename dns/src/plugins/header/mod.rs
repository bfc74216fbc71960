//! Sets and clears flags of queries and replies. See README.md.

pub mod config;

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::op::Metadata;

use self::config::{Config, Edits};
use crate::plugin::{Next, Outcome, Plugin, Query};

/// The `header` plugin.
pub struct Header(pub Config);

impl Plugin for Header {
    fn name(&self) -> &'static str {
        "header"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let Config { query: asking, response } = self.0;
        async move {
            let mut answer = if asking == Edits::default() {
                next.serve(query).await?
            } else {
                let mut changed = query.clone();
                asking.apply(&mut Arc::make_mut(&mut changed.message).metadata);
                let mut answer = next.serve(&changed).await?;
                if asking.rd.is_some() {
                    // RD of a reply is the client's own (RFC 1035 §4.1.1).
                    let asked = query.message.metadata.recursion_desired;
                    answer.message.metadata.recursion_desired = asked;
                }
                answer
            };
            response.apply(&mut answer.message.metadata);
            Ok(answer)
        }
        .boxed()
    }
}

impl Edits {
    /// Changes the flags of a message.
    pub fn apply(&self, metadata: &mut Metadata) {
        let Edits { aa, ra, rd } = *self;
        metadata.authoritative = aa.unwrap_or(metadata.authoritative);
        metadata.recursion_available = ra.unwrap_or(metadata.recursion_available);
        metadata.recursion_desired = rd.unwrap_or(metadata.recursion_desired);
    }

    /// As [`Edits::apply`], in a message's octets (RFC 1035 §4.1.1).
    pub fn apply_to_bytes(&self, message: &mut [u8]) {
        for (edit, octet, mask) in [(self.aa, 2, 0x04), (self.ra, 3, 0x80), (self.rd, 2, 0x01)] {
            match (edit, message.get_mut(octet)) {
                (Some(true), Some(octet)) => *octet |= mask,
                (Some(false), Some(octet)) => *octet &= !mask,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
