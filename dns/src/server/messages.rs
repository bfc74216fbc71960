//! A zone transfer as messages (RFC 5936 §2.2), each made when it is wanted.

use std::iter::Peekable;

use hickory_proto::{
    op::{Header, HeaderCounts, Message},
    rr::Record,
    serialize::binary::{BinEncodable, BinEncoder},
};

use super::long::emit;
use crate::{
    plugin::{Transfer, ZoneRecords},
    plugins::dnstap::Visit,
    wire::MAX_MESSAGE,
};

/// Octets of a message with several records: names are compressed against the first 16 KiB (RFC 1035 §4.1.4).
const SOFT_LIMIT: usize = 16 << 10;

/// Messages that share a head.
pub struct Messages {
    head: Message,
    records: Peekable<ZoneRecords>,
    /// Told of each.
    visit: Option<Visit>,
}

impl Messages {
    /// The records of `transfer` behind the header, the question and the OPT record of `head`.
    pub fn of(head: &Message, transfer: &Transfer) -> Self {
        Messages { head: head.clone(), records: transfer.0().peekable(), visit: None }
    }

    /// With `visit` told of each message.
    #[must_use]
    pub fn told(self, visit: Option<Visit>) -> Self {
        Messages { visit, ..self }
    }

    /// A message with as many of the records that come next as go into `limit` octets.
    fn filled(&mut self, limit: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(SOFT_LIMIT);
        let mut encoder = BinEncoder::new(&mut bytes);
        let opt = self.head.edns.as_ref().map(Record::from);
        let opt_size = opt.as_ref().and_then(|opt| opt.to_bytes().ok()).map_or(0, |opt| opt.len());
        encoder.set_max_size(limit.checked_sub(opt_size)? as u16);
        let place = encoder.place::<Header>().ok()?;
        encoder.emit_all(self.head.queries.iter()).ok()?;
        let mut answers = 0;
        while let Some(record) = self.records.peek() {
            let (written, cut) = emit(&mut encoder, std::slice::from_ref(record));
            if cut {
                break;
            }
            answers += written;
            self.records.next();
        }
        if let Some(opt) = &opt {
            encoder.set_max_size(limit as u16);
            opt.emit(&mut encoder).ok()?;
        }
        let (queries, authorities) = (self.head.queries.len() as u16, 0);
        let additionals = u16::from(opt.is_some());
        let counts = HeaderCounts { queries, answers, authorities, additionals };
        place.replace(&mut encoder, Header { metadata: self.head.metadata, counts }).ok()?;
        (answers > 0).then_some(bytes)
    }
}

impl Iterator for Messages {
    type Item = Vec<u8>;

    /// The next message. A record that no message can hold ends the transfer, so that the client takes it for broken.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.records.peek()?;
        let message = self.filled(SOFT_LIMIT).or_else(|| self.filled(MAX_MESSAGE))?;
        if let Some(visit) = &self.visit {
            visit.answered(&message);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::{
        op::{MessageType, OpCode, Query},
        rr::{Name, RData, RecordType, rdata::TXT},
    };

    use super::*;

    #[test]
    fn all_records_come_in_their_order_whatever_their_size() {
        let mut head = Message::new(7, MessageType::Response, OpCode::Query);
        head.add_query(Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::AXFR));
        head.set_edns(hickory_proto::op::Edns::new());
        let record = |at: usize| {
            let strings = vec!["x".repeat(250); if at == 150 { 200 } else { 1 + at % 7 }];
            let name = Name::from_ascii(format!("n{at}.a.test.")).unwrap();
            Record::from_rdata(name, at as u32, RData::TXT(TXT::new(strings)))
        };
        let transfer = Transfer(Arc::new(move || Box::new((0..300).map(record))));
        let messages: Vec<Message> = Messages::of(&head, &transfer)
            .map(|bytes| {
                assert!(bytes.len() <= SOFT_LIMIT || bytes.len() > 50_000);
                Message::from_vec(&bytes).unwrap()
            })
            .collect();
        assert!(messages.len() > 3);
        let ttls: Vec<u32> =
            messages.iter().flat_map(|message| message.answers.iter().map(|r| r.ttl)).collect();
        assert_eq!(ttls, (0..300).collect::<Vec<u32>>());
        assert!(
            messages.iter().all(|m| m.metadata.id == 7 && m.queries.len() == 1 && m.edns.is_some())
        );
    }
}
