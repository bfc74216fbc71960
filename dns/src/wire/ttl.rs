//! How long a reply may be kept: the least TTL of its records.

use super::{HEADER, rtype, u16_at};

/// The least TTL of all records but OPT, in seconds. `None` without records, for codes other than
/// NOERROR and NXDOMAIN, and for what is no message.
pub fn least(reply: &[u8]) -> Option<u32> {
    if !matches!(reply.get(3)? & 0xf, 0 | 3) {
        return None;
    }
    let mut at = HEADER;
    for _ in 0..u16_at(reply, 4)? {
        at = skip_name(reply, at)? + 4;
    }
    let records = [6, 8, 10]
        .into_iter()
        .try_fold(0, |sum, count| Some(sum + u32::from(u16_at(reply, count)?)))?;
    let mut least = None;
    for _ in 0..records {
        let fixed = skip_name(reply, at)?;
        let kind = u16_at(reply, fixed)?;
        let ttl = u32::from_be_bytes(reply.get(fixed + 4..fixed + 8)?.try_into().ok()?);
        if kind != rtype::OPT {
            least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
        }
        at = fixed + 10 + usize::from(u16_at(reply, fixed + 8)?);
    }
    least
}

/// The offset behind the name at `at`.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            label => at += usize::from(label) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Edns, Message, MessageType, OpCode, Query},
        rr::{Name, RData, Record, RecordType, rdata::A},
    };
    use proptest::prelude::*;

    use super::*;

    fn reply(ttls: &[u32]) -> Vec<u8> {
        let name = Name::from_ascii("www.example.org.").unwrap();
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::A));
        let record =
            |ttl: &u32| Record::from_rdata(name.clone(), *ttl, RData::A(A::new(10, 0, 0, 1)));
        message.answers.extend(ttls.iter().map(record));
        message.set_edns(Edns::new());
        message.to_vec().unwrap()
    }

    #[test]
    fn the_least_ttl_is_that_of_no_opt_record() {
        assert_eq!(least(&reply(&[300, 30, 3600])), Some(30));
        assert_eq!(least(&reply(&[])), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_read(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = least(&octets);
        }
    }
}
