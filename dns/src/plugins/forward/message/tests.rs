use hickory_proto::{
    op::{Edns, MessageType, OpCode, Query},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, opt::EdnsOption},
    },
};

use super::*;

const ID: u16 = 0x1234;

fn request() -> Message {
    let mut message = Message::new(99, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii("WwW.example.org.").unwrap(), RecordType::A));
    message
}

fn reply(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
    message.queries = request().queries;
    let name = message.queries[0].name.clone();
    message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
    change(&mut message);
    message.to_vec().unwrap()
}

#[test]
fn the_upstream_sees_the_client_s_message_under_another_id() {
    let mut message = request();
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    edns.set_max_payload(1400);
    message.edns = Some(edns);
    let query = Outgoing::new(&message).unwrap();
    let mut bytes = Vec::new();
    query.write(ID, &mut bytes);
    let mut sent = Message::from_vec(&bytes).unwrap();
    assert_eq!((sent.metadata.id, query.udp_size), (ID, 1400));
    sent.metadata.id = message.metadata.id;
    assert_eq!(sent, message);
    assert!(sent.queries[0].name.eq_case(&message.queries[0].name), "0x20 case goes on");
    assert_eq!(Outgoing::new(&request()).unwrap().udp_size, 512);
}

#[test]
fn only_a_reply_to_this_very_question_is_taken() {
    let query = Outgoing::new(&request()).unwrap();
    let other_name = |name: &str| {
        let name = Name::from_ascii(name).unwrap();
        reply(|message| message.queries[0].name = name)
    };
    for (what, reply, want) in [
        ("the reply", reply(|_| {}), true),
        ("in lower case", other_name("www.example.org."), true),
        ("another id", reply(|message| message.metadata.id += 1), false),
        ("a query", reply(|message| message.metadata.message_type = MessageType::Query), false),
        ("another opcode", reply(|message| message.metadata.op_code = OpCode::Notify), false),
        ("another name", other_name("wwx.example.org."), false),
        ("a longer name", other_name("www.example.org.uk."), false),
        // 97 is 65 in the other case, were it a letter.
        ("another type", reply(|message| message.queries[0].query_type = 97.into()), false),
        ("no question", reply(|message| message.queries.clear()), false),
        (
            "a refusal without a question",
            reply(|message| {
                message.queries.clear();
                message.answers.clear();
                message.metadata.response_code = ResponseCode::Refused;
            }),
            true,
        ),
        ("nothing", Vec::new(), false),
        ("half a header", reply(|_| {})[..7].to_vec(), false),
        ("half a question", reply(|_| {})[..20].to_vec(), false),
    ] {
        assert_eq!(query.is_answered_by(ID, &reply), want, "{what}");
    }
}

#[test]
fn a_reply_cut_on_the_way_makes_the_client_ask_over_tcp() {
    let whole = reply(|_| {});
    let part = &whole[..whole.len() - 3];
    let message = read(part, true).unwrap();
    assert!(message.metadata.truncation && message.answers.is_empty());
    assert_eq!(read(part, false).map(drop), Err(AskError::Malformed));
    let careless = reply(|message| message.metadata.truncation = true);
    let message = read(&careless[..careless.len() - 3], false).unwrap();
    assert!(message.metadata.truncation && message.answers.is_empty());
}

#[test]
fn no_reply_panics_wherever_it_is_cut() {
    let query = Outgoing::new(&request()).unwrap();
    let whole = reply(|_| {});
    for end in 0..whole.len() {
        for cut in [false, true] {
            let taken = query.is_answered_by(ID, &whole[..end]);
            assert!(taken || end < whole.len());
            drop(read(&whole[..end], cut));
        }
    }
}

#[test]
fn options_between_the_client_and_us_are_left_out() {
    let mut request = request();
    let mut edns = Edns::new();
    edns.set_max_payload(1400);
    for code in [10, 11, 12, 65001] {
        edns.options_mut().insert(EdnsOption::Unknown(code, vec![1; 8]));
    }
    request.set_edns(edns);
    let request = Message::from_vec(&request.to_vec().unwrap()).unwrap();
    let mut bytes = Vec::new();
    Outgoing::new(&request).unwrap().write(7, &mut bytes);
    let sent = Message::from_vec(&bytes).unwrap().edns.unwrap();
    let codes: Vec<u16> = sent.options().as_ref().iter().map(|(code, _)| (*code).into()).collect();
    assert_eq!((sent.max_payload(), codes), (1400, vec![65001]));
}
