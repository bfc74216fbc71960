//! The TXT records that prove to an authority whose a domain is (DNS-01, RFC 8555 §8.4).

use std::sync::{Arc, Weak};

use futures::{FutureExt, future::BoxFuture};
use hashbrown::HashMap;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType, rdata::TXT};
use parking_lot::Mutex;

use crate::{
    plugin::{Answer, Next, Outcome, Plugin, Query},
    wire::text,
};

/// The label that such names begin with.
pub const LABEL: &str = "_acme-challenge";

/// The records that are there now, by name in lower case with its last dot.
#[derive(Default)]
pub struct Challenges(Mutex<HashMap<String, Vec<String>>>);

/// A record, there for as long as this is.
pub(super) struct Shown {
    challenges: Weak<Challenges>,
    name: String,
    value: String,
}

impl Challenges {
    /// Shows a value for a domain.
    pub(super) fn show(self: &Arc<Self>, domain: &str, value: String) -> Shown {
        let name = format!("{LABEL}.{domain}.");
        self.0.lock().entry(name.clone()).or_default().push(value.clone());
        Shown { challenges: Arc::downgrade(self), name, value }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let Some(challenges) = self.challenges.upgrade() else { return };
        let mut all = challenges.0.lock();
        if let Some(values) = all.get_mut(&self.name) {
            if let Some(at) = values.iter().position(|value| *value == self.value) {
                values.swap_remove(at);
            }
            if values.is_empty() {
                all.remove(&self.name);
            }
        }
    }
}

/// Answers for them, in front of every block's plugins.
pub struct Challenger(pub Arc<Challenges>);

impl Challenger {
    fn answer(&self, query: &Query) -> Option<Answer> {
        let asked = query.rtype() == RecordType::TXT
            && query
                .name()
                .iter()
                .next()
                .is_some_and(|label| label.eq_ignore_ascii_case(LABEL.as_bytes()));
        if !asked {
            return None;
        }
        let all = self.0.0.lock();
        let values = all.get(&text::folded(query.name()))?;
        let mut answer = Answer::to(query);
        answer.message.metadata.authoritative = true;
        answer.message.answers.extend(values.iter().map(|value| {
            let data = RData::TXT(TXT::new(vec![value.clone()]));
            Record::from_rdata(query.name().clone(), 0, data)
        }));
        Some(answer)
    }
}

impl Plugin for Challenger {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        match self.answer(query) {
            Some(answer) => std::future::ready(Ok(answer)).boxed(),
            None => next.serve(query).boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::stand_in::{Chained, query};

    #[tokio::test]
    async fn a_value_is_told_for_as_long_as_it_is_shown() {
        let challenges = Arc::<Challenges>::default();
        let chained = Chained::failing(Challenger(Arc::clone(&challenges)));
        let count = async |name: &str, rtype| {
            let answer = chained.serve(&query(name, rtype)).await;
            answer.map_or(0, |answer| answer.message.answers.len())
        };
        let name = "_ACME-challenge.A.test.";
        assert_eq!(count(name, RecordType::TXT).await, 0);
        let one = challenges.show("a.test", "x".to_owned());
        let two = challenges.show("a.test", "y".to_owned());
        assert_eq!(count(name, RecordType::TXT).await, 2);
        assert_eq!(count(name, RecordType::A).await, 0);
        assert_eq!(count("a.test.", RecordType::TXT).await, 0);
        drop(one);
        assert_eq!(count(name, RecordType::TXT).await, 1);
        drop(two);
        assert!(challenges.0.lock().is_empty());
    }
}
