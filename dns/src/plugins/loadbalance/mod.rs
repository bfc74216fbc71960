//! Turns the order of addresses in replies. See README.md.
//!
//! On the short way the same is done by starting each address set elsewhere; see `server::short`.

pub mod config;
pub mod weights;

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use config::{Config, Policy};
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};
use ipnetwork::IpNetwork;
use rand::{Rng, seq::SliceRandom};

use self::weights::Weights;
use crate::plugin::{Next, Outcome, Plugin, Query};

/// The `loadbalance` plugin of one block.
pub struct Loadbalance {
    prefer: Vec<IpNetwork>,
    weights: Option<Arc<ArcSwap<Weights>>>,
}

impl Loadbalance {
    /// A plugin by its settings; a weight file is read now and looked at again as they say.
    pub fn start(config: &Config) -> Self {
        let weights = match &config.policy {
            Policy::RoundRobin => None,
            Policy::Weighted { file, reload } => Some(weights::follow(file, *reload)),
        };
        Loadbalance { prefer: config.prefer.clone(), weights }
    }

    /// Whether each order is as likely as any other: then the short way's rotation will do.
    pub fn is_plain(config: &Config) -> bool {
        config.policy == Policy::RoundRobin && config.prefer.is_empty()
    }

    fn reorder(&self, query: &Query, records: &mut Vec<Record>) {
        if records.len() < 2 {
            return;
        }
        let mut rng = rand::rng();
        let mut kinds: [Vec<Record>; 4] = Default::default();
        for record in records.drain(..) {
            let kind = match record.record_type() {
                RecordType::CNAME => 0,
                RecordType::A | RecordType::AAAA => 2,
                RecordType::MX => 3,
                _ => 1,
            };
            kinds[kind].push(record);
        }
        match &self.weights {
            Some(weights) => {
                weights.load().put_one_first(query.name(), &mut kinds[2], rng.random());
            }
            None => {
                kinds[2].shuffle(&mut rng);
                kinds[3].shuffle(&mut rng);
            }
        }
        if !self.prefer.is_empty() {
            let rank = |address: IpAddr| self.prefer.iter().position(|net| net.contains(address));
            kinds[2].sort_by_key(|record| address(record).and_then(rank).unwrap_or(usize::MAX));
        }
        records.extend(kinds.into_iter().flatten());
    }
}

impl Plugin for Loadbalance {
    fn name(&self) -> &'static str {
        "loadbalance"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let mut answer = next.serve(query).await?;
            let transfer = matches!(query.rtype(), RecordType::AXFR | RecordType::IXFR);
            if answer.code() == ResponseCode::NoError && !transfer {
                let message = &mut answer.message;
                for section in
                    [&mut message.answers, &mut message.authorities, &mut message.additionals]
                {
                    self.reorder(query, section);
                }
            }
            Ok(answer)
        }
        .boxed()
    }
}

/// The address in an A or AAAA record.
pub(crate) fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    }
}
