//! The query that goes to an upstream, and whether what comes back is its reply.

use hickory_proto::{
    ProtoError,
    op::{Edns, Message, ResponseCode},
};

use super::failure::AskError;
use crate::{plugins::debug, server::long::OF_ONE_HOP, wire::HEADER};

/// Third octet of the header: QR, opcode, AA, TC, RD.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TC: u8 = 0x02;

/// A query in wire form, sent to any upstream under a new id each time.
#[derive(Debug, Clone)]
pub struct Outgoing {
    bytes: Vec<u8>,
    /// End of the question's name and of the question.
    name_end: usize,
    end: usize,
    /// Octets of the largest UDP reply that the client takes.
    pub udp_size: usize,
}

impl Outgoing {
    /// The client's message as it is, EDNS included: the upstream sees its DO bit and its size. Of
    /// its options those are left out that are between the client and us.
    ///
    /// # Errors
    /// The message can't be encoded. It was decoded before, so this does not happen.
    pub fn new(request: &Message) -> Result<Self, ProtoError> {
        let bytes = match &request.edns {
            Some(edns) if OF_ONE_HOP.iter().any(|code| edns.option(*code).is_some()) => {
                let (mut request, mut edns) = (request.clone(), edns.clone());
                OF_ONE_HOP.into_iter().for_each(|code| edns.options_mut().remove(code));
                request.set_edns(edns);
                request.to_vec()?
            }
            _ => request.to_vec()?,
        };
        let mut name_end = HEADER;
        while let Some(label) = bytes.get(name_end).filter(|label| **label != 0) {
            name_end += 1 + usize::from(*label);
        }
        name_end += 1;
        let udp_size = request.edns.as_ref().map_or(512, Edns::max_payload);
        Ok(Outgoing { name_end, end: name_end + 4, bytes, udp_size: udp_size.max(512).into() })
    }

    /// Appends the query under `id`.
    pub fn write(&self, id: u16, out: &mut Vec<u8>) {
        out.extend(id.to_be_bytes());
        out.extend(&self.bytes[2..]);
    }

    /// The query under its client's id.
    pub fn message(&self) -> &[u8] {
        &self.bytes
    }

    /// Octets of the query.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether `reply` answers this query under `id`: id, opcode and question are the same, the case
    /// of the name's letters apart. An error without a question is taken as well: servers that do
    /// not know what was asked send it.
    pub fn is_answered_by(&self, id: u16, reply: &[u8]) -> bool {
        let [high, low, flags, codes, count_high, count_low, ..] = *reply else { return false };
        if reply.len() < HEADER
            || [high, low] != id.to_be_bytes()
            || flags & QR == 0
            || flags & OPCODE != self.bytes[2] & OPCODE
        {
            return false;
        }
        match u16::from_be_bytes([count_high, count_low]) {
            0 => is_lone_error(u16::from(codes & 0x0f).into()),
            1 => self.same_question(reply),
            _ => false,
        }
    }

    fn same_question(&self, reply: &[u8]) -> bool {
        let (Some(name), Some(rest)) =
            (reply.get(HEADER..self.name_end), reply.get(self.name_end..self.end))
        else {
            return false;
        };
        name.eq_ignore_ascii_case(&self.bytes[HEADER..self.name_end])
            && *rest == self.bytes[self.name_end..self.end]
    }
}

/// Reads a reply that [`Outgoing::is_answered_by`] took. `cut` says that its end may be missing:
/// then, or if the upstream cut it itself without care, it becomes an empty reply with TC set, so
/// that the client asks again over TCP.
///
/// # Errors
/// [`AskError::Malformed`].
pub fn read(reply: &[u8], cut: bool) -> Result<Message, AskError> {
    if let Ok(message) = Message::from_vec(reply) {
        return Ok(message);
    }
    let flags = *reply.get(2).ok_or(AskError::Malformed)?;
    if !cut && flags & TC == 0 {
        debug::dump(reply, "a reply that can't be decoded");
        return Err(AskError::Malformed);
    }
    let mut head = reply.get(..HEADER).ok_or(AskError::Malformed)?.to_vec();
    head[2] |= TC;
    // No section is left: the server sets the question, and OPT as the client sent it.
    head[4..].fill(0);
    Message::from_vec(&head).map_err(|_| AskError::Malformed)
}

fn is_lone_error(code: ResponseCode) -> bool {
    use ResponseCode::{FormErr, NotImp, Refused, ServFail};
    matches!(code, FormErr | NotImp | Refused | ServFail)
}

#[cfg(test)]
mod tests;
