//! A zone out of records, in whatever order they come.

use std::{io, path::PathBuf};

use hickory_proto::{
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::SOA},
    serialize::binary::{BinEncodable, BinEncoder},
};

use super::data::{NodeAt, SetAt, ZoneData, decode, key_of};
use crate::wire::{record_text::RecordError, text};

/// Most records of a zone.
const MAX_RECORDS: usize = 8 << 20;
/// Octets that all data of a zone may take.
const MAX_OCTETS: usize = 1 << 30;

/// Why there is no zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// A file that can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A mistake in a file.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Where the entry begins, from 1.
        line: usize,
        /// What is wrong.
        what: LineError,
    },
    /// No SOA record for the zone.
    #[error("there is no SOA record for {0}")]
    NoSoa(String),
    /// More than a zone may have.
    #[error("it has more than {MAX_RECORDS} records, or 1 GiB of them")]
    TooLarge,
}

/// What is wrong with an entry of a master file (RFC 1035 §5.1), or with a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LineError {
    /// It is no record.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// It begins with a blank, and there is no entry before it.
    #[error("it has no name, and there is no record before it to take one from")]
    NoOwner,
    /// It has no TTL.
    #[error("it has no TTL; write `$TTL` above it")]
    NoTtl,
    /// Of another class.
    #[error("its class is not IN")]
    Class,
    /// An unknown `$` line, or one with wrong arguments.
    #[error("`{0}` is wrong here")]
    Directive(String),
    /// `$INCLUDE` within `$INCLUDE` and so on.
    #[error("files include each other more than {0} deep")]
    Depth(usize),
    /// The text is not UTF-8.
    #[error("it is not UTF-8 text; write other octets as `\\DDD`")]
    Text,
    /// A SOA record of another zone, or a second one.
    #[error("a SOA record for {found} in the zone {zone}, which has one for itself")]
    Soa {
        /// The record's name.
        found: String,
        /// The zone.
        zone: String,
    },
    /// Hashed denial, which is not answered.
    #[error("NSEC3 is not supported; sign the zone with NSEC")]
    Nsec3,
    /// Data that can't be sent.
    #[error("its data is not of its type, or too long")]
    Data,
    /// More than a zone may have.
    #[error("the zone is too large")]
    TooLarge,
}

/// Collects the records of a zone.
pub struct Builder {
    origin: Name,
    records: Vec<Draft>,
    octets: usize,
    soa: Option<(SOA, u32)>,
    signed: bool,
    outside: usize,
}

struct Draft {
    key: Box<[u8]>,
    name: Box<[u8]>,
    rtype: u16,
    ttl: u32,
    data: Box<[u8]>,
}

impl Builder {
    /// An empty zone of this name.
    pub fn new(origin: Name) -> Self {
        let (records, octets, outside) = (Vec::new(), 0, 0);
        Builder { origin, records, octets, soa: None, signed: false, outside }
    }

    /// The zone's name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Records that were left out, because they are not in the zone.
    pub fn outside(&self) -> usize {
        self.outside
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If the zone can't have it.
    pub fn add(&mut self, record: &Record) -> Result<(), LineError> {
        if record.dns_class != DNSClass::IN {
            return Err(LineError::Class);
        }
        let rtype = record.record_type();
        if matches!(rtype, RecordType::NSEC3 | RecordType::NSEC3PARAM) {
            return Err(LineError::Nsec3);
        }
        let Some(key) = key_of(&record.name, &self.origin) else {
            self.outside += 1;
            return Ok(());
        };
        let mut data = Vec::new();
        record.data.emit(&mut BinEncoder::new(&mut data)).map_err(|_| LineError::Data)?;
        let read = decode(rtype, &data).ok_or(LineError::Data)?;
        if let RData::SOA(soa) = read {
            let same = self.soa.as_ref().is_none_or(|(held, _)| *held == soa);
            if !key.is_empty() || !same {
                let (found, zone) = (text::of(&record.name), text::of(&self.origin));
                return Err(LineError::Soa { found, zone });
            }
            self.soa = Some((soa, record.ttl));
        }
        self.signed |= rtype == RecordType::NSEC;
        let above = record.name.iter().len() - self.origin.iter().len();
        let mut name = Vec::new();
        for label in record.name.iter().take(above) {
            name.push(label.len() as u8);
            name.extend(label);
        }
        self.octets += key.len() + name.len() + data.len() + 6;
        if self.records.len() >= MAX_RECORDS || self.octets > MAX_OCTETS {
            return Err(LineError::TooLarge);
        }
        let (key, name, data) = (key.into(), name.into(), data.into());
        self.records.push(Draft { key, name, rtype: rtype.into(), ttl: record.ttl, data });
        Ok(())
    }

    /// The zone of all that was added.
    ///
    /// # Errors
    /// If it has no SOA record.
    pub fn finish(self) -> Result<ZoneData, ZoneError> {
        let (soa, soa_ttl) = self.soa.ok_or_else(|| ZoneError::NoSoa(text::of(&self.origin)))?;
        let mut drafts = self.records;
        // Records of one type stay in the order in which they came.
        drafts.sort_by(|a, b| (&a.key, a.rtype).cmp(&(&b.key, b.rtype)));
        let (mut keys, mut names, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let (mut nodes, mut sets, mut count) = (Vec::new(), Vec::new(), 0);
        for node in drafts.chunk_by(|a, b| a.key == b.key) {
            let (key, name) = (keys.len() as u32, names.len() as u32);
            nodes.push(NodeAt { key, name, set: sets.len() as u32 });
            keys.extend(&node[0].key);
            names.extend(&node[0].name);
            for set in node.chunk_by(|a, b| a.rtype == b.rtype) {
                sets.push(SetAt { rtype: set[0].rtype, record: records.len() as u32 });
                let mut seen = hashbrown::HashSet::with_capacity(set.len());
                for draft in set.iter().filter(|draft| seen.insert(&draft.data)) {
                    records.extend(draft.ttl.to_be_bytes());
                    records.extend((draft.data.len() as u16).to_be_bytes());
                    records.extend(&draft.data);
                    count += 1;
                }
            }
        }
        nodes.push(NodeAt {
            key: keys.len() as u32,
            name: names.len() as u32,
            set: sets.len() as u32,
        });
        sets.push(SetAt { rtype: 0, record: records.len() as u32 });
        Ok(ZoneData {
            origin: self.origin,
            soa,
            soa_ttl,
            keys: keys.into(),
            names: names.into(),
            nodes: nodes.into(),
            sets: sets.into(),
            records: records.into(),
            count,
            signed: self.signed,
        })
    }
}
