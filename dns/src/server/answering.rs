//! How a request that came over a connection is answered, whatever the connection speaks.

use std::{cell::RefCell, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    admission::Place,
    long::{self, Purpose, Replies},
    routes::Routes,
    short::Short,
    udp::LongWay,
};
use crate::{
    metrics::counters::Observation,
    plugin::{Origin, family},
    plugins::kubernetes::wire::Asked,
    wire::{
        MAX_MESSAGE,
        name::FoldedName,
        query::{self, Shape},
    },
};

thread_local! {
    /// Where replies are written before their size is known.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE]);
}

/// Answers requests of connections.
#[derive(Clone)]
pub struct Answering {
    /// What is served; swapped by a reload.
    pub routes: Arc<ArcSwap<Routes>>,
    /// Runs and counts what does not go the short way.
    pub long: LongWay,
}

/// A request on the long way, with the place that it takes there.
pub struct Long {
    routes: Arc<Routes>,
    long: LongWay,
    origin: Origin,
    place: Place,
}

impl Answering {
    /// Answers `request` and then takes its time, if the tables have no answer. `None` where no reply
    /// is due, or there is no room.
    pub async fn answer(&self, request: &[u8], origin: Origin) -> Option<Vec<u8>> {
        let mut reply = Vec::new();
        if self.short(request, &origin, &mut reply) {
            return Some(reply);
        }
        self.admit(origin)?.answer(request).await
    }

    /// A plain question that the tables answer: the reply is put behind what is in `out`.
    pub fn short(&self, request: &[u8], origin: &Origin, out: &mut Vec<u8>) -> bool {
        let mut name = FoldedName::default();
        let Shape::Plain(plain) = query::read(request, &mut name) else { return false };
        let routes = self.routes.load();
        let Some(block) = routes.find(&name, plain.qtype) else { return false };
        let Some(plan) = block.short.as_ref().filter(|_| block.log.is_none()) else {
            return false;
        };
        let plain = block.bounded_plain(&plain);
        let rotation = origin.received.elapsed().subsec_nanos();
        let asked = Asked {
            message: request,
            plain: &plain,
            name: &name,
            limit: MAX_MESSAGE,
            renamed: false,
            rotation,
        };
        let written = SCRATCH.with_borrow_mut(|scratch| match plan.answer(scratch, &asked) {
            Short::Answered(written) => {
                out.extend_from_slice(&scratch[..written.len]);
                Some(written)
            }
            Short::AnsweredRefresh(_) | Short::Long => None,
        });
        let Some(written) = written else { return false };
        if let Some(series) = block.series {
            let seen = Observation {
                transport: origin.transport,
                family: family(origin.client.ip()),
                qtype: plain.qtype,
                dnssec_ok: plain.edns.is_some_and(|edns| edns.dnssec_ok),
                query_size: request.len(),
                reply_size: written.len,
                rcode: written.rcode,
                by_chain: true,
            };
            let nanos = origin.received.elapsed().as_nanos() as u64;
            self.long.recorder.touch(series).observe(&seen, nanos);
        }
        self.long.recorder.short.add(1);
        true
    }

    /// A place on the long way; `None`, counted, if the client has its share already or there is no
    /// room.
    pub fn admit(&self, origin: Origin) -> Option<Long> {
        let Some(place) = self.long.admission.admit(origin.client.ip()) else {
            self.long.recorder.shed.add(1);
            return None;
        };
        self.long.recorder.long.add(1);
        let routes = self.routes.load_full();
        Some(Long { routes, long: self.long.clone(), origin, place })
    }
}

impl Long {
    /// The reply, if one is due.
    pub async fn answer(self, request: &[u8]) -> Option<Vec<u8>> {
        Some(self.replies(request).await?.0.first)
    }

    /// The reply and what follows it, if one is due. The place is taken as long as they are sent.
    pub async fn replies(self, request: &[u8]) -> Option<(Replies, Place)> {
        let Long { routes, long, origin, place } = self;
        let purpose = Purpose::Reply;
        let replies = long::replies(&routes, &long.recorder, request, origin, purpose).await?;
        Some((replies, place))
    }
}
