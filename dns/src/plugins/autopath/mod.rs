//! Goes through the client's search path for it, and answers what is found first. See README.md.

pub mod config;

use std::sync::{Arc, OnceLock};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Name, RData, Record, rdata::CNAME},
};
use prometheus::IntCounterVec;

use self::config::{Config, Search};
use crate::{
    corefile::domain::Domain,
    metrics::{Metrics, counters},
    plugin::{Answer, FailureReason, Next, Outcome, Plugin, Query, Rest},
    plugins::kubernetes::records::name,
    server::long::fold,
    wire::name::{FoldedName, count_labels},
    zone::Table,
};

/// The `autopath` plugin of one block.
pub struct Autopath {
    /// Folded wire form, with the number of labels.
    zones: Vec<(Vec<u8>, usize)>,
    search: Path,
    found: IntCounterVec,
}

/// Where the search path comes from.
enum Path {
    /// The same for all.
    Fixed(Vec<Name>),
    /// By the client's namespace in the tables of the block's `kubernetes`, and behind it these.
    Cluster { table: OnceLock<Table>, behind: Vec<Name> },
}

impl Autopath {
    /// A plugin by its settings.
    pub fn new(config: &Config, metrics: &Metrics) -> Arc<Self> {
        let found = counters(
            "coredns_autopath_success_total",
            "Queries answered by going through the search path.",
            &["server"],
        );
        let names = |domains: &[Domain]| -> Vec<Name> {
            domains.iter().filter_map(|domain| name(&[&domain.to_wire()])).collect()
        };
        let search = match &config.search {
            Search::Fixed(domains) => Path::Fixed(names(domains)),
            Search::Kubernetes(domains) => {
                Path::Cluster { table: OnceLock::new(), behind: names(domains) }
            }
        };
        let wire = config.zones.iter().map(Domain::to_wire);
        Arc::new(Autopath {
            zones: wire.map(|wire| (wire.clone(), count_labels(&wire))).collect(),
            search,
            found: metrics.shared(found),
        })
    }

    /// The tables of the block's `kubernetes`. Without them nothing is known about clients.
    pub fn look_into(&self, of_block: &Table) {
        if let Path::Cluster { table, .. } = &self.search {
            // A block has one `kubernetes`.
            let _ = table.set(of_block.clone());
        }
    }

    /// The search path of this query's client, without the root at its end. `None` where it is not
    /// known beyond doubt.
    fn search(&self, query: &Query, folded: &FoldedName) -> Option<Vec<Name>> {
        let (table, behind) = match &self.search {
            Path::Fixed(names) => return Some(names.clone()),
            Path::Cluster { table, behind } => (table.get()?, behind),
        };
        let mut zones = table.view.zones.iter();
        let zone = zones.find(|zone| folded.labels_above(&zone.wire, zone.labels).is_some())?;
        let directory = table.load();
        let namespace = directory.namespace_of(query.origin.client.ip())?;
        let mut label = vec![namespace.len() as u8];
        label.extend(namespace);
        let own = [
            name(&[&label, b"\x03svc", &zone.wire])?,
            name(&[b"\x03svc", &zone.wire])?,
            name(&[&zone.wire])?,
        ];
        Some(own.into_iter().chain(behind.iter().cloned()).collect())
    }

    async fn answer(&self, query: &Query, next: Next<'_>) -> Outcome {
        let Some(names) = self.names(query) else { return next.serve(query).await };
        let rest = next.rest();
        let first = next.serve(query).await?;
        let (answer, found) = match first.code() {
            ResponseCode::NXDomain => self.look_further(query, first, &rest, names).await,
            _ => (first, true),
        };
        if found {
            self.found.with_label_values(&[&*query.labels.server]).inc();
        }
        Ok(answer)
    }

    /// The names to ask for behind the query's own, which is the first of the search. `None` if the
    /// query is not about the search path.
    fn names(&self, query: &Query) -> Option<Vec<Name>> {
        let mut folded = FoldedName::default();
        fold(query.name(), &mut folded)?;
        let within = |(zone, labels): &(Vec<u8>, usize)| folded.labels_above(zone, *labels);
        self.zones.iter().find_map(within)?;
        let mut search = self.search(query, &folded)?.into_iter();
        let first = search.next()?;
        let above = query.name().iter().len().checked_sub(first.iter().len())?;
        if above == 0 || !first.zone_of(query.name()) {
            return None;
        }
        let base = Name::from_labels(query.name().iter().take(above)).ok()?;
        let absolute = |suffix: Name| {
            let mut base = base.clone();
            base.set_fqdn(false);
            // A name that would be too long is none.
            base.append_domain(&suffix).ok()
        };
        Some(search.chain([Name::root()]).filter_map(absolute).collect())
    }

    /// What the first of `names` that exists answers, under the query's own name; else, and where
    /// something fails, `first`: the client goes on by itself then.
    async fn look_further(
        &self,
        query: &Query,
        first: Answer,
        rest: &Rest,
        names: Vec<Name>,
    ) -> (Answer, bool) {
        for name in names {
            let further = query.with_question(name, query.rtype());
            let mut outcome = rest.serve(&further).await;
            if matches!(&outcome, Err(failure) if failure.reason == FailureReason::NoNextPlugin) {
                // The name is another block's.
                outcome = further.ask_server().await;
            }
            match outcome {
                Ok(answer) if answer.code() == ResponseCode::NXDomain => {}
                Ok(answer) if answer.code() == ResponseCode::Refused => {}
                Ok(answer) => return (renamed(query, answer), true),
                Err(failure) if failure.reason == FailureReason::Refused => {}
                Err(_) => return (first, false),
            }
        }
        (first, false)
    }
}

/// The answer as one to `query`: an alias leads from its name to the one that was found.
fn renamed(query: &Query, mut answer: Answer) -> Answer {
    let message = &mut answer.message;
    message.queries.clone_from(&query.message.queries);
    if let Some(record) = message.answers.first() {
        let alias = RData::CNAME(CNAME(record.name.clone()));
        let alias = Record::from_rdata(query.name().clone(), record.ttl, alias);
        message.answers.insert(0, alias);
    }
    answer
}

impl Plugin for Autopath {
    fn name(&self) -> &'static str {
        "autopath"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.answer(query, next).boxed()
    }
}

#[cfg(test)]
mod tests;
