//! Gives IPv6 clients addresses for names that have IPv4 ones only (RFC 6147). See README.md.

pub mod config;
pub mod prefix;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType, rdata::AAAA},
};
use prometheus::IntCounterVec;

use self::config::Config;
use crate::{
    metrics::{Metrics, counters},
    plugin::{Answer, Next, Outcome, Plugin, Query},
};

/// Seconds that a synthesized record may live where no SOA says (RFC 6147 §5.1.7).
const WITHOUT_SOA: u32 = 600;

/// The `dns64` plugin.
pub struct Dns64 {
    config: Config,
    translated: IntCounterVec,
}

impl Dns64 {
    /// A plugin by its settings.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        let translated = counters(
            "coredns_dns64_requests_translated_total",
            "Queries answered with translated addresses.",
            &["server"],
        );
        Dns64 { config: *config, translated: metrics.shared(translated) }
    }

    /// Whether the answer to this query may be translated. Who asks for DNSSEC records and checks
    /// them itself (DO and CD) gets what is signed (RFC 6147 §5.5).
    fn takes(&self, query: &Query) -> bool {
        let over_v4 = query.origin.client.ip().to_canonical().is_ipv4();
        let validates = query.dnssec_ok() && query.message.metadata.checking_disabled;
        query.rtype() == RecordType::AAAA && (self.config.allow_ipv4 || !over_v4) && !validates
    }

    async fn translated(&self, query: &Query, mut answer: Answer) -> Outcome {
        // RFC 6147 §5.1.2: a name that does not exist has no IPv4 address either.
        if answer.code() == ResponseCode::NXDomain {
            return Ok(answer);
        }
        if !self.config.translate_all && answer.message.answers.iter().any(is_real) {
            answer.message.answers.retain(|record| !is_mapped(record));
            return Ok(answer);
        }
        let longest = lifetime(&answer.message);
        let asked = query.with_question(query.name().clone(), RecordType::A);
        let mut answer = asked.ask_server().await?;
        let message = &mut answer.message;
        message.queries.clone_from(&query.message.queries);
        for record in &mut message.answers {
            if let RData::A(address) = &record.data {
                record.data = RData::AAAA(AAAA(self.config.prefix.embed(address.0)));
                record.ttl = record.ttl.min(longest);
            }
        }
        // Nobody signed this, and no zone has it.
        message.metadata.authoritative = false;
        message.metadata.authentic_data = false;
        self.translated.with_label_values(&[&query.labels.server]).inc();
        Ok(answer)
    }
}

impl Plugin for Dns64 {
    fn name(&self) -> &'static str {
        "dns64"
    }

    fn knows(&self, class: DNSClass) -> bool {
        class == DNSClass::IN
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        if !self.takes(query) {
            return next.serve(query).boxed();
        }
        async move {
            let answer = next.serve(query).await?;
            self.translated(query, answer).await
        }
        .boxed()
    }
}

/// Whether the record is an IPv6 address that a client can use.
fn is_real(record: &Record) -> bool {
    record.record_type() == RecordType::AAAA && !is_mapped(record)
}

/// Whether the record is an IPv4 address in IPv6 form, in ::ffff:0:0/96: no network carries those,
/// so they count as if they were not there (RFC 6147 §5.1.4).
fn is_mapped(record: &Record) -> bool {
    matches!(&record.data, RData::AAAA(address) if address.0.to_ipv4_mapped().is_some())
}

/// Most seconds that a synthesized record may live: as long as it is known that there is no AAAA.
fn lifetime(reply: &Message) -> u32 {
    let soa = reply.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
    soa.map_or(WITHOUT_SOA, |soa| soa.ttl)
}

#[cfg(test)]
mod tests;
