//! Answers for names of the local machine, so that they go no further. See README.md.

pub mod config;

use std::net::{Ipv4Addr, Ipv6Addr};

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::ResponseCode,
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{NS, PTR, SOA},
    },
};
use prometheus::IntCounter;

use self::config::Config;
use super::kubernetes::records::address_data;
use crate::{
    metrics::{Metrics, counter},
    plugin::{Answer, Next, Outcome, Plugin, Query},
    server::long::fold,
    wire::name::FoldedName,
};

/// Seconds, a week: none of this changes.
const TTL: u32 = 604_800;
const LOCALHOST: &[u8] = b"localhost";
/// Reverse zones that nobody else has anything to say about (RFC 6303 §4.1, §4.2), as folded wire
/// names with their labels.
const REVERSE: [(&[u8], usize); 3] = [
    (b"\x010\x07in-addr\x04arpa\x00", 3),
    (b"\x03127\x07in-addr\x04arpa\x00", 3),
    (b"\x03255\x07in-addr\x04arpa\x00", 3),
];

/// The one name below the reverse zones, that of 127.0.0.1.
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\x00";

/// The `local` plugin.
pub struct Local {
    names: Names,
    /// Names that are not a zone's apex.
    below: IntCounter,
}

/// Which names are answered.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Those that begin with `localhost.` too.
    pub prefix: bool,
}

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// `localhost` itself.
    Localhost,
    /// Below it, or in front of another domain.
    Below,
    /// In a reverse zone, with so many labels above it.
    Reverse(usize),
}

impl Names {
    /// Whether the name is answered here. Neither locks nor allocates.
    pub fn include(self, name: &FoldedName) -> bool {
        self.kind(name).is_some()
    }

    fn kind(self, name: &FoldedName) -> Option<Kind> {
        let last = name.labels().checked_sub(1)?;
        let in_front = self.prefix && name.label(0) == LOCALHOST;
        if name.label(last) == LOCALHOST || in_front {
            return Some(if last == 0 { Kind::Localhost } else { Kind::Below });
        }
        let above = |(zone, labels): &(&[u8], usize)| name.labels_above(zone, *labels);
        REVERSE.iter().find_map(above).map(Kind::Reverse)
    }
}

impl Local {
    /// A plugin by its settings.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        Local { names: Names { prefix: config.prefix }, below: metrics.shared(requests()) }
    }

    fn answer(&self, query: &Query) -> Option<Answer> {
        let mut name = FoldedName::default();
        fold(query.name(), &mut name)?;
        let kind = self.names.kind(&name)?;
        if kind == Kind::Below {
            self.below.inc();
        }
        let mut answer = Answer::to(query);
        let owner = query.name();
        match (kind, query.rtype()) {
            (Kind::Localhost | Kind::Below, RecordType::A) => {
                answer
                    .message
                    .answers
                    .push(record(owner, address_data(Ipv4Addr::LOCALHOST.into())));
            }
            (Kind::Localhost | Kind::Below, RecordType::AAAA) => {
                answer
                    .message
                    .answers
                    .push(record(owner, address_data(Ipv6Addr::LOCALHOST.into())));
            }
            (Kind::Localhost | Kind::Reverse(0), RecordType::SOA) => {
                answer.message.answers.push(record(owner, soa()));
            }
            (Kind::Localhost | Kind::Reverse(0), RecordType::NS) => {
                answer.message.answers.push(record(owner, RData::NS(NS(localhost()))));
            }
            (Kind::Localhost | Kind::Below | Kind::Reverse(0), _) => {
                answer.message.authorities.push(record(owner, soa()));
            }
            (Kind::Reverse(above), rtype) => {
                let exists = name.wire() == LOOPBACK;
                if exists && rtype == RecordType::PTR {
                    answer.message.answers.push(record(owner, RData::PTR(PTR(localhost()))));
                    return Some(answer);
                }
                if !exists {
                    answer.message.metadata.response_code = ResponseCode::NXDomain;
                }
                let zone = owner.trim_to(name.labels() - above);
                answer.message.authorities.push(record(&zone, soa()));
            }
        }
        Some(answer)
    }
}

/// The counter of names below `localhost`. CoreDNS shows it with and without `local`.
pub fn requests() -> IntCounter {
    counter(
        "coredns_local_localhost_requests_total",
        "Queries for names below localhost, or in front of another domain as localhost.",
    )
}

impl Plugin for Local {
    fn name(&self) -> &'static str {
        "local"
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

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL, data)
}

fn localhost() -> Name {
    Name::from_ascii("localhost.").expect("a name")
}

/// CoreDNS's record: nothing is ever transferred, so the timers are zero.
fn soa() -> RData {
    let mailbox = Name::from_ascii("root.localhost.").expect("a name");
    RData::SOA(SOA::new(localhost(), mailbox, 1, 0, 0, 0, TTL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::stand_in::{Chained, query};

    /// The reply in short: its code and records, `on` if it was handed on.
    async fn reply(prefix: bool, name: &str, rtype: RecordType) -> String {
        let local = Local::new(&Config { prefix }, &Metrics::new("test"));
        let chained = Chained::of(local, |query| Ok(Answer::to(query)));
        let message = chained.serve(&query(name, rtype)).await.unwrap().message;
        if !chained.seen().is_empty() {
            return "on".to_owned();
        }
        let code: u16 = message.metadata.response_code.into();
        let all = message.answers.iter().chain(&message.authorities);
        let records: Vec<String> =
            all.map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
        assert!(message.answers.is_empty() || message.authorities.is_empty());
        format!("{code} {}", records.join(", "))
    }

    #[tokio::test]
    async fn names_of_the_machine_are_answered_and_no_others() {
        const SOA_OF: &str = "SOA localhost. root.localhost. 1 0 0 0 604800";
        use RecordType::{A, AAAA, NS, PTR, SOA, TXT};
        let one = "1.0.0.127.in-addr.arpa.";
        for (name, rtype, want) in [
            ("localhost.", A, "0 localhost. A 127.0.0.1".to_owned()),
            ("LocalHost.", AAAA, "0 LocalHost. AAAA ::1".to_owned()),
            ("localhost.", SOA, format!("0 localhost. {SOA_OF}")),
            ("localhost.", NS, "0 localhost. NS localhost.".to_owned()),
            ("localhost.", TXT, format!("0 localhost. {SOA_OF}")),
            ("a.b.localhost.", A, "0 a.b.localhost. A 127.0.0.1".to_owned()),
            ("a.localhost.", NS, format!("0 a.localhost. {SOA_OF}")),
            ("localhost.org.", AAAA, "0 localhost.org. AAAA ::1".to_owned()),
            ("localhost.org.", SOA, format!("0 localhost.org. {SOA_OF}")),
            ("127.in-addr.arpa.", SOA, format!("0 127.in-addr.arpa. {SOA_OF}")),
            ("0.in-addr.arpa.", NS, "0 0.in-addr.arpa. NS localhost.".to_owned()),
            ("255.in-addr.arpa.", A, format!("0 255.in-addr.arpa. {SOA_OF}")),
            (one, PTR, format!("0 {one} PTR localhost.")),
            (one, A, format!("0 127.in-addr.arpa. {SOA_OF}")),
            ("2.0.0.127.In-addr.arpa.", PTR, format!("3 127.In-addr.arpa. {SOA_OF}")),
            ("9.1.0.0.127.in-addr.arpa.", PTR, format!("3 127.in-addr.arpa. {SOA_OF}")),
            ("1.0.in-addr.arpa.", A, format!("3 0.in-addr.arpa. {SOA_OF}")),
            ("mylocalhost.", A, "on".to_owned()),
            ("localhosts.org.", A, "on".to_owned()),
            ("a.localhost.org.", A, "on".to_owned()),
            ("10.in-addr.arpa.", NS, "on".to_owned()),
            (".", NS, "on".to_owned()),
        ] {
            assert_eq!(reply(true, name, rtype).await, want, "{name} {rtype}");
        }
        assert_eq!(reply(false, "localhost.org.", A).await, "on");
        assert_eq!(reply(false, "localhost.", A).await, "0 localhost. A 127.0.0.1");
    }

    #[tokio::test]
    async fn names_below_localhost_are_counted() {
        let metrics = Metrics::new("test");
        let chained = Chained::failing(Local::new(&Config { prefix: true }, &metrics));
        for name in ["localhost.", "a.localhost.", "localhost.org.", "127.in-addr.arpa."] {
            chained.serve(&query(name, RecordType::A)).await.unwrap();
        }
        assert_eq!(metrics.shared(requests()).get(), 2);
    }
}
