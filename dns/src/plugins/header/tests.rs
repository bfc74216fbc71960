use hickory_proto::{op::Message, rr::RecordType};

use super::{
    Header,
    config::{Config, Edits},
};
use crate::{
    plugin::Answer,
    plugins::stand_in::{Chained, query},
};

fn flags(message: &Message) -> (bool, bool, bool) {
    let of = message.metadata;
    (of.authoritative, of.recursion_available, of.recursion_desired)
}

#[tokio::test]
async fn the_next_plugin_sees_the_query_changed_and_the_client_its_own_rd() {
    let edits = Edits { rd: Some(false), aa: Some(true), ..Edits::default() };
    let header = Header(Config { query: edits, response: Edits::default() });
    let chained = Chained::of(header, |query| Ok(Answer::to(query)));
    let asked = query("www.example.org.", RecordType::A);
    let answer = chained.serve(&asked).await.unwrap();
    assert_eq!(flags(&chained.seen()[0].message), (true, false, false));
    assert_eq!(flags(&answer.message), (false, false, true));
}

#[tokio::test]
async fn a_reply_has_the_flags_that_the_rules_give_it_and_a_failure_stays_one() {
    let edits = Edits { aa: Some(false), ra: Some(true), rd: Some(false) };
    let header = || Header(Config { query: Edits::default(), response: edits });
    let chained = Chained::of(header(), |query| {
        let mut answer = Answer::to(query);
        answer.message.metadata.authoritative = true;
        Ok(answer)
    });
    let answer = chained.serve(&query("www.example.org.", RecordType::A)).await.unwrap();
    assert_eq!(flags(&answer.message), (false, true, false));
    let chained = Chained::failing(header());
    assert!(chained.serve(&query("www.example.org.", RecordType::A)).await.is_err());
}

#[test]
fn octets_and_message_objects_are_changed_alike() {
    let choices = [None, Some(false), Some(true)];
    for n in 0..27 {
        let edits = Edits { aa: choices[n % 3], ra: choices[n / 3 % 3], rd: choices[n / 9] };
        for before in [false, true] {
            let mut message = query("a.", RecordType::A).message.as_ref().clone();
            message.metadata.authoritative = before;
            message.metadata.recursion_available = before;
            message.metadata.recursion_desired = before;
            let mut bytes = message.to_vec().unwrap();
            edits.apply_to_bytes(&mut bytes);
            edits.apply(&mut message.metadata);
            assert_eq!(bytes, message.to_vec().unwrap(), "{edits:?}");
        }
    }
}
