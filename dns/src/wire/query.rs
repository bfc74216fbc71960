//! Reading a datagram: is it a plain question, an odd one, or nothing to answer?

use super::{CLASS_IN, HEADER, MIN_UDP, name::FoldedName, rcode, rtype, u16_at};

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One question in class IN, at most one OPT of version 0: the short way may answer it.
    Plain(Plain),
    /// A well-formed header, but something the long way must look at.
    Odd,
    /// Answer with a bare header of this code and nothing else (FORMERR, NOTIMP).
    Reject(u16),
    /// Not a query: a response, or too short for a header. Never answered.
    Ignore,
}

/// EDNS option code of the client's network (RFC 7871).
const SUBNET: u16 = 8;
/// EDNS option code of the server's identifier.
const NSID: u16 = 3;

/// A plain question. Its name is in the [`FoldedName`] that was passed to [`read`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    /// QTYPE.
    pub qtype: u16,
    /// Offset behind the question section: octets `12..question_end` are the question.
    pub question_end: usize,
    /// The OPT record, if there is one.
    pub edns: Option<Edns>,
}

/// What the short way needs of an OPT record (RFC 6891).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edns {
    /// Requestor's UDP payload size as sent.
    pub udp_size: u16,
    /// The DO bit (RFC 3225).
    pub dnssec_ok: bool,
    /// Whether the server's identifier is asked for (RFC 5001).
    pub nsid: bool,
}

impl Plain {
    /// Most octets of a reply over UDP: 512 without EDNS or when it asks for less.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(MIN_UDP, |edns| usize::from(edns.udp_size).max(MIN_UDP))
    }
}

/// Tells what `message` is; a plain question's name is left in `name`.
///
/// What is rejected and what ignored follows CoreDNS (miekg/dns' default accept function): responses
/// are ignored, opcodes other than QUERY and NOTIFY are NOTIMP, a question count other than 1 or
/// surplus records FORMERR.
pub fn read(message: &[u8], name: &mut FoldedName) -> Shape {
    let Some(header) = message.first_chunk::<HEADER>() else { return Shape::Ignore };
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[2] & 0x80 != 0 {
        return Shape::Ignore;
    }
    let opcode = (header[2] >> 3) & 0xf;
    if opcode != 0 && opcode != 4 {
        return Shape::Reject(rcode::NOTIMP);
    }
    let (questions, answers, authorities, additionals) = (count(4), count(6), count(8), count(10));
    if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
        return Shape::Reject(rcode::FORMERR);
    }
    if opcode != 0 || answers + authorities != 0 || additionals > 1 {
        return Shape::Odd;
    }
    match read_plain(message, additionals == 1, name) {
        Some(plain) => Shape::Plain(plain),
        None => Shape::Odd,
    }
}

fn read_plain(message: &[u8], has_additional: bool, name: &mut FoldedName) -> Option<Plain> {
    let name_end = name.read(message, HEADER)?;
    let qtype = u16_at(message, name_end)?;
    let question_end = name_end + 4;
    if u16_at(message, name_end + 2)? != CLASS_IN {
        return None;
    }
    let edns = if has_additional { Some(read_opt(message, question_end)?) } else { None };
    if !has_additional && message.len() != question_end {
        return None;
    }
    Some(Plain { qtype, question_end, edns })
}

/// An OPT of version 0 that ends the message. Of its options only NSID means anything to a plugin;
/// the others have to be well-formed, and none is echoed.
fn read_opt(message: &[u8], at: usize) -> Option<Edns> {
    let fixed: &[u8; 11] = message.get(at..)?.first_chunk()?;
    let is_opt = fixed[0] == 0 && u16::from_be_bytes([fixed[1], fixed[2]]) == rtype::OPT;
    if !is_opt || fixed[6] != 0 {
        return None;
    }
    let mut options = message.get(at + 11..)?;
    if options.len() != usize::from(u16::from_be_bytes([fixed[9], fixed[10]])) {
        return None;
    }
    let mut nsid = false;
    while !options.is_empty() {
        let code = u16_at(options, 0)?;
        // A client's network may be malformed, which only a whole decoder tells (RFC 7871 §6).
        if code == SUBNET {
            return None;
        }
        nsid |= code == NSID;
        let len = usize::from(u16_at(options, 2)?);
        options = options.get(4 + len..)?;
    }
    Some(Edns {
        udp_size: u16::from_be_bytes([fixed[3], fixed[4]]),
        dnssec_ok: fixed[7] & 0x80 != 0,
        nsid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd];
        message.extend(flags.to_be_bytes());
        message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        message
    }

    const QUESTION: &[u8] = b"\x03WeB\x00\x00\x01\x00\x01";

    fn shape(parts: &[&[u8]]) -> Shape {
        read(&parts.concat(), &mut FoldedName::default())
    }

    #[test]
    fn a_plain_question_is_read_with_and_without_opt() {
        let Shape::Plain(plain) = shape(&[&header(0x0100, [1, 0, 0, 0]), QUESTION]) else {
            panic!("not plain")
        };
        assert_eq!((plain.qtype, plain.edns, plain.udp_limit()), (1, None, 512));
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x0c\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08";
        let Shape::Plain(plain) = shape(&[&header(0x0100, [1, 0, 0, 1]), QUESTION, opt]) else {
            panic!("not plain")
        };
        assert_eq!(plain.edns, Some(Edns { udp_size: 1232, dnssec_ok: true, nsid: false }));
        assert_eq!(plain.udp_limit(), 1232);
    }

    #[test]
    fn odd_messages_are_told_apart() {
        let plain = header(0, [1, 0, 0, 0]);
        let with_opt = header(0, [1, 0, 0, 1]);
        for (what, parts, want) in [
            ("short header", vec![&plain[..11]], Shape::Ignore),
            ("a response", vec![&header(0x8000, [1, 0, 0, 0])[..], QUESTION], Shape::Ignore),
            ("update", vec![&header(0x2800, [1, 0, 0, 0])[..]], Shape::Reject(rcode::NOTIMP)),
            ("no question", vec![&header(0, [0, 0, 0, 0])[..]], Shape::Reject(rcode::FORMERR)),
            ("two questions", vec![&header(0, [2, 0, 0, 0])[..]], Shape::Reject(rcode::FORMERR)),
            ("three extras", vec![&header(0, [1, 0, 0, 3])[..]], Shape::Reject(rcode::FORMERR)),
            ("notify", vec![&header(0x2000, [1, 0, 0, 0])[..], QUESTION], Shape::Odd),
            ("chaos", vec![&plain[..], b"\x03web\x00\x00\x10\x00\x03"], Shape::Odd),
            ("cut question", vec![&plain[..], &QUESTION[..6]], Shape::Odd),
            ("trailing octet", vec![&plain[..], QUESTION, b"x"], Shape::Odd),
            ("missing opt", vec![&with_opt[..], QUESTION], Shape::Odd),
            (
                "version 1",
                vec![&with_opt[..], QUESTION, b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"],
                Shape::Odd,
            ),
            (
                "a client's network",
                vec![
                    &with_opt[..],
                    QUESTION,
                    b"\0\0\x29\x04\xd0\0\0\0\0\0\x08\0\x08\0\x04\0\x01\0\0",
                ],
                Shape::Odd,
            ),
            (
                "cut option",
                vec![&with_opt[..], QUESTION, b"\0\0\x29\x04\xd0\0\0\0\0\0\x03\0\x0a\0"],
                Shape::Odd,
            ),
        ] {
            assert_eq!(shape(&parts), want, "{what}");
        }
    }
}
