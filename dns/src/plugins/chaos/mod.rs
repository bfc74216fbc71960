//! Answers what people ask a server about itself, in class CH. See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType, rdata::TXT};
use rand::seq::SliceRandom;

use self::config::Config;
use super::nsid::machine_name;
use crate::plugin::{Answer, Next, Outcome, Plugin, Query};

/// Octets of one string of a TXT record (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

/// The `chaos` plugin.
pub struct Chaos {
    version: String,
    authors: Vec<String>,
    host: String,
}

impl Chaos {
    /// A plugin by its settings.
    pub fn new(config: &Config) -> Self {
        Chaos {
            version: config.version.to_string(),
            authors: config.authors.iter().map(ToString::to_string).collect(),
            host: machine_name(),
        }
    }

    /// What the name asks for, each a record; `None` if it is none of ours.
    fn says(&self, query: &Query) -> Option<Vec<&str>> {
        if query.class() != DNSClass::CH || query.rtype() != RecordType::TXT {
            return None;
        }
        Some(match query.name().to_lowercase().to_ascii().as_str() {
            "version.bind." | "version.server." => vec![&self.version],
            "hostname.bind." | "id.server." => vec![&self.host],
            "authors.bind." => {
                let mut authors: Vec<&str> = self.authors.iter().map(String::as_str).collect();
                authors.shuffle(&mut rand::rng());
                authors
            }
            _ => return None,
        })
    }
}

impl Plugin for Chaos {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let Some(texts) = self.says(query) else { return next.serve(query).boxed() };
        let mut answer = Answer::to(query);
        answer.message.answers = texts.into_iter().map(|text| record(query, text)).collect();
        std::future::ready(Ok(answer)).boxed()
    }
}

/// A text as a TXT record of class CH; what is too long for a string is cut, as in CoreDNS.
fn record(query: &Query, text: &str) -> Record {
    let text = &text.as_bytes()[..text.len().min(MAX_STRING)];
    let data = RData::TXT(TXT::from_bytes(vec![text]));
    let mut record = Record::from_rdata(query.name().clone(), 0, data);
    record.dns_class = DNSClass::CH;
    record
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugins::stand_in::{Chained, query};

    fn chaos(name: &str, rtype: RecordType, class: DNSClass) -> Query {
        let mut query = query(name, rtype);
        Arc::make_mut(&mut query.message).queries[0].query_class = class;
        query
    }

    async fn texts(plugin: Chaos, name: &str) -> Vec<String> {
        let chained = Chained::failing(plugin);
        let answer = chained.serve(&chaos(name, RecordType::TXT, DNSClass::CH)).await.unwrap();
        let mut texts: Vec<_> = answer.message.answers.iter().map(ToString::to_string).collect();
        texts.sort();
        texts
    }

    fn plugin(version: &str, authors: &[&str]) -> Chaos {
        let authors = authors.iter().map(|author| Box::from(*author)).collect();
        Chaos::new(&Config { version: version.into(), authors })
    }

    #[tokio::test]
    async fn the_five_names_are_answered_in_the_querys_case() {
        for name in ["version.bind.", "Version.Server."] {
            let want = format!("{name} 0 CH TXT v1");
            assert_eq!(texts(plugin("v1", &[]), name).await, [want]);
        }
        let names = texts(plugin("v1", &["bob", "ann"]), "authors.BIND.").await;
        assert_eq!(names, ["authors.BIND. 0 CH TXT ann", "authors.BIND. 0 CH TXT bob"]);
        for name in ["hostname.bind.", "id.server."] {
            let want = format!("{name} 0 CH TXT {}", machine_name());
            assert_eq!(texts(plugin("v1", &[]), name).await, [want]);
        }
    }

    #[tokio::test]
    async fn a_long_version_is_cut_to_a_string_that_can_be_sent() {
        let long = "é".repeat(200);
        let [text] = &texts(plugin(&long, &[]), "version.bind.").await[..] else { panic!("one") };
        assert!(text.len() > 255, "{text}");
        let chained = Chained::failing(plugin(&long, &[]));
        let asked = chaos("version.bind.", RecordType::TXT, DNSClass::CH);
        let answer = chained.serve(&asked).await.unwrap();
        assert!(answer.message.to_vec().is_ok());
    }

    #[tokio::test]
    async fn other_names_types_and_classes_are_handed_on() {
        let chained = Chained::of(plugin("v1", &["ann"]), |query| Ok(Answer::to(query)));
        for asked in [
            chaos("version.bind.", RecordType::TXT, DNSClass::IN),
            chaos("version.bind.", RecordType::A, DNSClass::CH),
            chaos("other.bind.", RecordType::TXT, DNSClass::CH),
        ] {
            chained.serve(&asked).await.unwrap();
            assert_eq!(chained.seen().len(), 1, "{asked:?}");
        }
    }
}
