//! Writing a reply into a buffer: header, the question in the client's case, records, OPT.

use super::{
    HEADER,
    query::{Edns, Plain},
    rtype,
};

/// A record's owner: the question's name itself (RFC 1035 §4.1.4 pointer to offset 12).
const OWNER: [u8; 2] = [0xc0, HEADER as u8];
/// Octets of an OPT record without options.
const OPT_LEN: usize = 11;
/// Octets of an Extended DNS Error without text (RFC 8914 §2).
const EDE_LEN: usize = 6;

/// Which section the next record is counted in. Sections are written in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub enum Section {
    /// Answer.
    Answer = 6,
    /// Authority.
    Authority = 8,
    /// Additional.
    Additional = 10,
}

/// Writes one reply. Room for the OPT record is kept back from the start, so that it always fits.
pub struct Reply<'b> {
    out: &'b mut [u8],
    len: usize,
    limit: usize,
    edns: Option<Edns>,
    extended_error: Option<u16>,
}

impl<'b> Reply<'b> {
    /// Begins the reply to `query` in `out`; no more than `limit` octets (and `out`'s) are used.
    /// `None` if not even the question fits.
    pub fn new(out: &'b mut [u8], query: &[u8], plain: &Plain, limit: usize) -> Option<Self> {
        let end = plain.question_end;
        let reserved = if plain.edns.is_some() { OPT_LEN } else { 0 };
        let limit = limit.min(out.len()).checked_sub(reserved)?;
        if limit < end {
            return None;
        }
        out.get_mut(..end)?.copy_from_slice(query.get(..end)?);
        // QR and AA set; opcode 0 and RD kept; of the second octet only CD is copied.
        out[2] = 0x84 | (out[2] & 0x01);
        out[3] &= 0x10;
        out[6..12].fill(0);
        Some(Reply { out, len: end, limit, edns: plain.edns, extended_error: None })
    }

    /// Sets the response code's lower four bits.
    pub fn set_rcode(&mut self, rcode: u16) {
        self.out[3] = (self.out[3] & 0xf0) | (rcode as u8 & 0x0f);
    }

    /// Takes back that the answer is authoritative (AA).
    pub fn clear_authoritative(&mut self) {
        self.out[2] &= !0x04;
    }

    /// Marks the answer as cut (TC).
    pub fn truncate(&mut self) {
        self.out[2] |= 0x02;
    }

    /// Sets AA by the first octet of `flags`; RA, AD and RCODE by the second, where CD stays.
    pub fn set_flags(&mut self, flags: [u8; 2]) {
        self.out[2] = (self.out[2] & !0x04) | (flags[0] & 0x04);
        self.out[3] = (self.out[3] & 0x10) | (flags[1] & !0x10);
    }

    /// Appends records that are encoded already, whole or not at all, and counts them: answers,
    /// authority and additional records as in a header. Gives the place where they stand. Nothing
    /// may have been pushed before.
    pub fn push_records(&mut self, records: &[u8], counts: [u8; 6]) -> Option<&mut [u8]> {
        let end = self.len + records.len();
        if end > self.limit {
            return None;
        }
        self.out[6..12].copy_from_slice(&counts);
        let place = &mut self.out[self.len..end];
        place.copy_from_slice(records);
        self.len = end;
        Some(place)
    }

    /// Adds an Extended DNS Error (RFC 8914), if the query had an OPT record and there is room.
    pub fn set_extended_error(&mut self, code: u16) {
        if self.edns.is_some() && self.extended_error.is_none() && self.len + EDE_LEN <= self.limit
        {
            self.limit -= EDE_LEN;
            self.extended_error = Some(code);
        }
    }

    /// Octets written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether only the header is there. (A reply always has its question.)
    pub fn is_empty(&self) -> bool {
        self.len == HEADER
    }

    /// Appends `parts` as one record of `section`, whole or not at all; tells which.
    pub fn push(&mut self, section: Section, parts: &[&[u8]]) -> bool {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if self.len + size > self.limit {
            return false;
        }
        for part in parts {
            self.out[self.len..self.len + part.len()].copy_from_slice(part);
            self.len += part.len();
        }
        self.count(section);
        true
    }

    /// Appends an address record of the question's name.
    pub fn push_address(&mut self, section: Section, ttl: [u8; 4], address: &[u8]) -> bool {
        self.push(section, &[&OWNER, &fixed(address_type(address), ttl, address.len()), address])
    }

    /// Appends a record of the question's name.
    pub fn push_own(
        &mut self,
        section: Section,
        rtype: u16,
        ttl: [u8; 4],
        rdata: &[&[u8]],
    ) -> bool {
        let size = rdata.iter().map(|part| part.len()).sum();
        let fixed = fixed(rtype, ttl, size);
        match rdata {
            [a] => self.push(section, &[&OWNER, &fixed, a]),
            [a, b] => self.push(section, &[&OWNER, &fixed, a, b]),
            [a, b, c] => self.push(section, &[&OWNER, &fixed, a, b, c]),
            [a, b, c, d] => self.push(section, &[&OWNER, &fixed, a, b, c, d]),
            _ => self.push(section, &[&OWNER, &fixed, &rdata.concat()]),
        }
    }

    /// Appends the OPT record if the query had one, and gives the reply's length.
    pub fn finish(mut self) -> usize {
        if let Some(edns) = self.edns {
            self.limit += OPT_LEN;
            let size = edns.udp_size.to_be_bytes();
            let flags = if edns.dnssec_ok { 0x80 } else { 0 };
            let rdlength = if self.extended_error.is_some() { EDE_LEN as u8 } else { 0 };
            let opt = [0, 0, rtype::OPT as u8, size[0], size[1], 0, 0, flags, 0, 0, rdlength];
            match self.extended_error {
                None => self.push(Section::Additional, &[&opt]),
                Some(code) => {
                    self.limit += EDE_LEN;
                    let [high, low] = code.to_be_bytes();
                    self.push(Section::Additional, &[&opt, &[0, 15, 0, 2, high, low]])
                }
            };
        }
        self.len
    }

    fn count(&mut self, section: Section) {
        let at = section as usize;
        let count = u16::from_be_bytes([self.out[at], self.out[at + 1]]).wrapping_add(1);
        self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
}

/// Type, class IN, TTL and RDLENGTH of a record.
pub fn fixed(rtype: u16, ttl: [u8; 4], rdlength: usize) -> [u8; 10] {
    let ([t0, t1], [l0, l1]) = (rtype.to_be_bytes(), (rdlength as u16).to_be_bytes());
    [t0, t1, 0, 1, ttl[0], ttl[1], ttl[2], ttl[3], l0, l1]
}

/// A or AAAA by the address's octets.
pub fn address_type(address: &[u8]) -> u16 {
    if address.len() == 4 { rtype::A } else { rtype::AAAA }
}

/// A bare header in answer to something unreadable: id and opcode of the query, RD kept, no
/// sections. Gives its length, 0 if `query` has no header.
pub fn reject(out: &mut [u8], query: &[u8], rcode: u16) -> usize {
    let (Some(out), Some(query)) = (out.first_chunk_mut::<HEADER>(), query.first_chunk::<HEADER>())
    else {
        return 0;
    };
    *out = [0; HEADER];
    out[..2].copy_from_slice(&query[..2]);
    out[2] = 0x80 | (query[2] & 0x79);
    out[3] = rcode as u8 & 0x0f;
    HEADER
}
