//! Leaves out of replies what nobody has to be told. See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::RecordType,
};

use crate::plugin::{Next, Outcome, Plugin, Query};

/// The `minimal` plugin.
pub struct Minimal;

impl Plugin for Minimal {
    fn name(&self) -> &'static str {
        "minimal"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        async move {
            let mut answer = next.serve(query).await?;
            if is_positive(query, &answer.message) {
                answer.message.authorities.clear();
                answer.message.additionals.clear();
            }
            Ok(answer)
        }
        .boxed()
    }
}

/// Whether `reply` says all in its answer section: no error, no denial (which needs its SOA,
/// RFC 2308), no delegation (which is its NS records) and no transfer.
fn is_positive(query: &Query, reply: &Message) -> bool {
    let plain = reply.metadata.op_code == OpCode::Query
        && !matches!(query.rtype(), RecordType::AXFR | RecordType::IXFR);
    let says_more = |rtype| matches!(rtype, RecordType::SOA | RecordType::NS);
    plain
        && reply.metadata.response_code == ResponseCode::NoError
        && (!reply.answers.is_empty()
            || !reply.authorities.iter().any(|record| says_more(record.record_type())))
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{
        Name, RData, Record,
        rdata::{A, NS, SOA},
    };

    use super::*;
    use crate::{
        plugin::Answer,
        plugins::stand_in::{Chained, query},
    };

    fn record(data: RData) -> Record {
        Record::from_rdata(Name::from_ascii("example.org.").unwrap(), 5, data)
    }

    fn a() -> Record {
        record(RData::A(A([192, 0, 2, 1].into())))
    }

    fn ns() -> Record {
        record(RData::NS(NS(Name::root())))
    }

    fn soa() -> Record {
        record(RData::SOA(SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, 5)))
    }

    #[tokio::test]
    async fn positive_replies_lose_their_last_two_sections_and_no_others_do() {
        let (fine, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
        let cases = [
            ("an answer", RecordType::A, fine, vec![a()], vec![ns()], true),
            ("an answer with a SOA", RecordType::A, fine, vec![a()], vec![soa()], true),
            ("nothing at all", RecordType::A, fine, vec![], vec![], true),
            ("no data", RecordType::A, fine, vec![], vec![soa()], false),
            ("a delegation", RecordType::A, fine, vec![], vec![ns()], false),
            ("no such name", RecordType::A, missing, vec![], vec![soa()], false),
            ("an alias to nothing", RecordType::A, missing, vec![a()], vec![soa()], false),
            ("a failure", RecordType::A, ResponseCode::ServFail, vec![], vec![], false),
            ("a transfer", RecordType::AXFR, fine, vec![soa(), soa()], vec![ns()], false),
        ];
        for (what, rtype, code, answers, authorities, less) in cases {
            let kept = authorities.clone();
            let chained = Chained::of(Minimal, move |query| {
                let mut answer = Answer::with_code(query, code);
                answer.message.answers.clone_from(&answers);
                answer.message.authorities.clone_from(&authorities);
                answer.message.additionals.push(a());
                Ok(answer)
            });
            let answer = chained.serve(&query("example.org.", rtype)).await.unwrap().message;
            let want = if less { (vec![], vec![]) } else { (kept, vec![a()]) };
            assert_eq!((answer.authorities, answer.additionals), want, "{what}");
        }
    }
}
