//! Which block answers a question: the server's compiled state, replaced whole by a reload.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use hickory_proto::op::ResponseCode;

use super::short::ShortPlan;
use crate::{
    metrics::{Queries, SeriesId},
    plugin::{Answer, Chain, Failure, FailureReason, Labels, Next, Outcome, Query},
    plugins::{
        dnstap::Taps,
        errors::{ErrorLog, stack},
        log::QueryLog,
        metadata::Collector,
        shed::Shed,
        view::View,
    },
    wire::{
        name::{FoldedName, count_labels},
        query::{Edns, Plain},
        rtype,
    },
};

/// One zone of one server block.
pub struct Block {
    /// The zone, folded wire form.
    pub zone: Vec<u8>,
    /// Plugins that answer, in order.
    pub chain: Chain,
    /// How the short way may answer here, if it may.
    pub short: Option<ShortPlan>,
    /// Counters of this block; `None` without the `prometheus` plugin.
    pub series: Option<SeriesId>,
    /// The `errors` plugin.
    pub errors: Option<Arc<ErrorLog>>,
    /// The `log` plugin.
    pub log: Option<Arc<QueryLog>>,
    /// The `dnstap` plugins.
    pub taps: Taps,
    /// Most octets that a client with EDNS may ask for over UDP (`bufsize`).
    pub payload: Option<u16>,
    /// Counts panics.
    pub panics: Arc<Queries>,
    /// What metrics of plugins say of this block.
    pub labels: Arc<Labels>,
    /// The `metadata` plugin.
    pub metadata: Option<Arc<Collector>>,
    /// The `view` plugin.
    pub view: Option<Arc<View>>,
}

/// Everything that is served on one address.
pub struct Routes {
    /// Blocks, most labels first; of equal zones the first in the Corefile.
    blocks: Vec<Block>,
    /// Labels of each block's zone.
    labels: Vec<usize>,
    /// Whether questions of other classes than IN are looked at: a plugin here may answer them.
    pub other_classes: bool,
    /// Counters of queries that no block takes.
    pub dropped: SeriesId,
    /// The `shed` plugin.
    pub shed: Option<Shed>,
}

impl Routes {
    /// Routes to `blocks`, given in the Corefile's order.
    pub fn new(mut blocks: Vec<Block>, dropped: SeriesId) -> Self {
        blocks.sort_by_key(|block| std::cmp::Reverse(count_labels(&block.zone)));
        let labels = blocks.iter().map(|block| count_labels(&block.zone)).collect();
        let other_classes = blocks.iter().any(Block::takes_other_classes);
        Routes { blocks, labels, other_classes, dropped, shed: None }
    }

    /// With the counters of `shed`, if a block on the address has it.
    #[must_use]
    pub fn shedding(self, shed: Option<Shed>) -> Self {
        Routes { shed, ..self }
    }

    /// The block with the longest zone that `name` is in, or one with a view that may be it. A DS
    /// question at a zone's apex belongs to the zone above (RFC 4035 §3.1.4.1), if that is served
    /// here. Only [`Self::route`] looks into views.
    pub fn find(&self, name: &FoldedName, qtype: u16) -> Option<&Block> {
        let mut of_child = None;
        for (block, _) in self.around(name) {
            if qtype != rtype::DS || block.view.is_some() {
                return Some(block);
            }
            match of_child {
                None => of_child = Some(block),
                Some(_) => return Some(block),
            }
        }
        of_child
    }

    /// As [`Self::find`], with every view asked whether it takes the query: where none of a zone
    /// does, the zone above is next. The query that comes back knows its block.
    pub fn route(&self, query: &Query) -> Option<(&Block, Query)> {
        let mut name = FoldedName::default();
        super::long::fold(query.name(), &mut name)?;
        let mut of_child = None;
        let mut child = usize::MAX;
        for (block, labels) in self.around(&name) {
            // Of the blocks of one zone the first that takes a query has it.
            if labels == child {
                continue;
            }
            let Some(query) = block.admit(query) else { continue };
            let found = Some((block, query));
            if u16::from(found.as_ref()?.1.rtype()) != rtype::DS || of_child.is_some() {
                return found;
            }
            (of_child, child) = (found, labels);
        }
        of_child
    }

    /// Blocks that `name` is in, longest zones first, with the number of their labels.
    fn around<'a, 'n>(
        &'a self,
        name: &'n FoldedName,
    ) -> impl Iterator<Item = (&'a Block, usize)> + use<'a, 'n> {
        let blocks = self.blocks.iter().zip(self.labels.iter().copied());
        blocks.filter(|(block, labels)| name.labels_above(&block.zone, *labels).is_some())
    }

    /// Finds the query's block and runs its chain. For questions nested in a query.
    ///
    /// # Errors
    /// What the chain failed with; REFUSED where no block takes the name.
    pub async fn resolve(&self, query: &Query) -> Outcome {
        match self.route(query) {
            Some((block, query)) => block.run(&query).await,
            None => {
                let reason = FailureReason::Refused;
                Err(Failure::with_code("server", ResponseCode::Refused, reason))
            }
        }
    }

    /// All blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

impl Block {
    /// Whether the block has a plugin that opens its address to other classes, as in CoreDNS.
    fn takes_other_classes(&self) -> bool {
        self.chain.iter().any(|plugin| matches!(plugin.name(), "chaos" | "forward"))
    }

    /// The query with its size bounded as the block says.
    pub fn bounded(&self, mut query: Query) -> Query {
        let above = self
            .payload
            .filter(|most| query.message.edns.is_some() && query.payload_size() > *most);
        if let Some(most) = above {
            let edns = Arc::make_mut(&mut query.message).edns.as_mut();
            edns.map(|edns| edns.set_max_payload(most));
        }
        query
    }

    /// As [`Block::bounded`], on the short way.
    pub fn bounded_plain(&self, plain: &Plain) -> Plain {
        let bounded = |edns: Edns| Edns {
            udp_size: edns.udp_size.min(self.payload.unwrap_or(u16::MAX)),
            ..edns
        };
        Plain { edns: plain.edns.map(bounded), ..*plain }
    }

    /// The query as one of this block, if its view takes it.
    fn admit(&self, query: &Query) -> Option<Query> {
        let metadata = self.metadata.as_ref().map(|collector| collector.collect(query));
        let metadata = metadata.unwrap_or_default();
        let query = Query { metadata, labels: Arc::clone(&self.labels), ..query.clone() };
        self.view.as_ref().is_none_or(|view| view.takes(&query)).then_some(query)
    }

    /// Runs the chain. A panic in a plugin is caught: one query fails, the server lives.
    pub async fn run(&self, query: &Query) -> Outcome {
        let chain = AssertUnwindSafe(Next::all(&self.chain).serve(query));
        chain.catch_unwind().await.unwrap_or_else(|panic| {
            self.panics.panicked();
            let (name, rtype) = (query.name(), query.rtype());
            let panic = stack::told(&*panic, self.errors.as_deref());
            tracing::error!("recovered from a panic while answering {name} {rtype}: {panic}");
            Err(Failure::new("server", FailureReason::Panicked))
        })
    }

    /// Turns a chain's outcome into the reply, logging the failure where `errors` asks for it.
    pub fn settle(&self, query: &Query, outcome: Outcome) -> (Answer, bool) {
        let failure = match outcome {
            Ok(answer) => return (answer, true),
            Err(failure) => failure,
        };
        if let Some(errors) = &self.errors {
            errors.log(query, &failure);
        }
        (super::long::failed(query, &failure), false)
    }
}

/// Addresses of this machine that are not loopback: what NS records name where nothing else does.
pub fn own_addresses(bound: &[IpAddr]) -> Vec<IpAddr> {
    let bound: Vec<IpAddr> = bound.iter().copied().filter(|a| !a.is_unspecified()).collect();
    if !bound.is_empty() {
        return bound.into_iter().filter(|a| !a.is_loopback()).collect();
    }
    super::interfaces::addresses().into_iter().filter(|a| !a.is_loopback()).collect()
}
