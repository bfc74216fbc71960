//! Answers questions for all types with one small record (RFC 8482). See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{RData, Record, RecordType, rdata::HINFO};

use crate::plugin::{Answer, Next, Outcome, Plugin, Query};

/// Seconds that the record may be kept, CoreDNS's choice.
const TTL: u32 = 8482;

/// The `any` plugin.
pub struct Any;

impl Plugin for Any {
    fn name(&self) -> &'static str {
        "any"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        if query.rtype() != RecordType::ANY {
            return next.serve(query).boxed();
        }
        let mut answer = Answer::to(query);
        let data = HINFO::new("ANY obsoleted".to_owned(), "See RFC 8482".to_owned());
        let record = Record::from_rdata(query.name().clone(), TTL, RData::HINFO(data));
        answer.message.answers.push(record);
        std::future::ready(Ok(answer)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::stand_in::{Chained, query};

    #[tokio::test]
    async fn any_is_answered_with_hinfo_and_everything_else_is_handed_on() {
        let chained = Chained::of(Any, |query| Ok(Answer::to(query)));
        let answer = chained.serve(&query("Www.example.org.", RecordType::ANY)).await.unwrap();
        let [record] = &answer.message.answers[..] else { panic!("one record") };
        let text = record.to_string();
        assert!(text.starts_with("Www.example.org. 8482 IN HINFO"), "{text}");
        assert!(chained.seen().is_empty());
        for rtype in [RecordType::A, RecordType::HINFO, RecordType::Unknown(254)] {
            assert!(chained.serve(&query("www.example.org.", rtype)).await.is_ok());
        }
        assert_eq!(chained.seen().len(), 3);
    }
}
