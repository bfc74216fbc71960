//! Says which clients may ask what. See README.md.

pub mod config;
pub mod nets;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::op::ResponseCode;
use prometheus::IntCounterVec;

use self::config::{Action, Config, Policy, Rule};
use crate::{
    metrics::{Metrics, counters},
    plugin::{Answer, Failure, FailureReason, Labels, Next, Outcome, Plugin, Query},
    server::long::{add_extended_error, ede, fold},
    wire::name::{FoldedName, count_labels},
};

/// The `acl` plugin of one block.
pub struct Acl {
    rules: Vec<Compiled>,
    counts: Counts,
}

/// A rule with its zones in folded wire form, longest first.
struct Compiled {
    zones: Vec<Zone>,
    policies: Vec<Policy>,
}

struct Zone {
    wire: Vec<u8>,
    labels: usize,
    /// As metrics show it.
    text: String,
}

struct Counts {
    allowed: IntCounterVec,
    blocked: IntCounterVec,
    filtered: IntCounterVec,
    dropped: IntCounterVec,
}

impl Acl {
    /// A plugin by its settings.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let counted = |name: &str, help: &str, labels: &[&str]| {
            metrics.shared(counters(&format!("coredns_acl_{name}_requests_total"), help, labels))
        };
        let by_zone = ["server", "zone", "view"];
        Acl {
            rules: config.rules.iter().map(Compiled::new).collect(),
            counts: Counts {
                allowed: counted("allowed", "Queries allowed.", &["server", "view"]),
                blocked: counted("blocked", "Queries refused.", &by_zone),
                filtered: counted("filtered", "Queries answered with nothing.", &by_zone),
                dropped: counted("dropped", "Queries left without a reply.", &by_zone),
            },
        }
    }

    /// What becomes of the query, and the zone that says so.
    fn judge(&self, query: &Query) -> (Action, &str) {
        let mut name = FoldedName::default();
        if fold(query.name(), &mut name).is_none() {
            return (Action::Allow, "");
        }
        let decided = self.rules.iter().find_map(|rule| {
            let zone = rule.zone_of(&name)?;
            let policy = rule.policies.iter().find(|policy| policy.fits(query))?;
            Some((policy.action, zone))
        });
        decided.unwrap_or((Action::Allow, ""))
    }
}

impl Plugin for Acl {
    fn name(&self) -> &'static str {
        "acl"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let (action, zone) = self.judge(query);
        let Labels { server, view, .. } = &*query.labels;
        let labels = [server.as_str(), zone, view];
        let outcome = match action {
            Action::Allow => {
                self.counts.allowed.with_label_values(&[server, view]).inc();
                return next.serve(query).boxed();
            }
            Action::Block => {
                self.counts.blocked.with_label_values(&labels).inc();
                Ok(said(query, ResponseCode::Refused, ede::BLOCKED))
            }
            Action::Filter => {
                self.counts.filtered.with_label_values(&labels).inc();
                Ok(said(query, ResponseCode::NoError, ede::FILTERED))
            }
            Action::Drop => {
                self.counts.dropped.with_label_values(&labels).inc();
                Err(Failure::new("acl", FailureReason::Dropped))
            }
        };
        std::future::ready(outcome).boxed()
    }
}

fn said(query: &Query, code: ResponseCode, why: u16) -> Answer {
    let mut answer = Answer::with_code(query, code);
    add_extended_error(&mut answer.message, why, "");
    answer
}

impl Compiled {
    fn new(rule: &Rule) -> Self {
        let zone = |domain: &crate::corefile::domain::Domain| {
            let wire = domain.to_wire();
            Zone { labels: count_labels(&wire), wire, text: domain.to_string() }
        };
        let mut zones: Vec<Zone> = rule.zones.iter().map(zone).collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        Compiled { zones, policies: rule.policies.clone() }
    }

    fn zone_of(&self, name: &FoldedName) -> Option<&str> {
        let holds = |zone: &&Zone| name.labels_above(&zone.wire, zone.labels).is_some();
        self.zones.iter().find(holds).map(|zone| zone.text.as_str())
    }
}

impl Policy {
    fn fits(&self, query: &Query) -> bool {
        let qtype = u16::from(query.rtype());
        self.types.as_ref().is_none_or(|types| types.contains(&qtype))
            && self.nets.as_ref().is_none_or(|nets| nets.contain(query.origin.client.ip()))
    }
}

#[cfg(test)]
mod tests;
