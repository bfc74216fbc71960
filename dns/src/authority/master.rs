//! Master files (RFC 1035 §5.1) with `$ORIGIN`, `$INCLUDE`, `$TTL` (RFC 2308 §4) and `$GENERATE`.

use std::{
    io,
    path::{Path, PathBuf},
};

use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::{
    build::{Builder, LineError, ZoneError},
    data::ZoneData,
    generate,
};
use crate::wire::{
    mnemonics,
    record_text::{self, RecordError, Word, numbered, seconds},
};

/// Most files that include each other, the first not counted.
const MAX_DEPTH: usize = 7;
/// Octets of one file.
pub const MAX_FILE: usize = 64 << 20;

/// Gives the text of a file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// A zone that was read, and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    /// The zone.
    pub zone: ZoneData,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// Records in them that are not in the zone, and left out.
    pub outside: usize,
}

/// Reads the zone `origin` from the file at `path`, and those that it includes, which `read` gives.
///
/// # Errors
/// The first mistake.
pub fn load(origin: Name, path: &Path, read: ReadFile<'_>) -> Result<Loaded, ZoneError> {
    let mut reader = Reader {
        read,
        builder: Builder::new(origin.clone()),
        ttl: Ttl::default(),
        owner: None,
        files: Vec::new(),
        octets: 0,
    };
    reader.file(path, origin, 0)?;
    let (files, outside) = (reader.files, reader.builder.outside());
    Ok(Loaded { zone: reader.builder.finish()?, files, outside })
}

struct Reader<'a> {
    read: ReadFile<'a>,
    builder: Builder,
    ttl: Ttl,
    owner: Option<Name>,
    files: Vec<PathBuf>,
    /// Of all files, each as often as it was read.
    octets: usize,
}

/// What a record without a TTL gets.
#[derive(Clone, Copy, Default)]
struct Ttl {
    directive: Option<u32>,
    last: Option<u32>,
}

/// The file that an entry is in.
struct Place<'p> {
    path: &'p Path,
    depth: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, origin: Name, depth: usize) -> Result<(), ZoneError> {
        let at = |line, what| ZoneError::Line { path: path.to_owned(), line, what };
        let unread = |error| ZoneError::Read { path: path.to_owned(), error };
        let octets = (self.read)(path).map_err(unread)?;
        self.octets += octets.len();
        if self.octets > MAX_FILE {
            let error = io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB in all");
            return Err(unread(error));
        }
        if !self.files.iter().any(|held| held == path) {
            self.files.push(path.to_owned());
        }
        let text = str::from_utf8(&octets).map_err(|error| {
            let before = &octets[..error.valid_up_to()];
            at(1 + before.iter().filter(|octet| **octet == b'\n').count(), LineError::Text)
        })?;
        let mut origin = origin;
        let (mut rest, mut line) = (text, 1);
        while !rest.is_empty() {
            let (entry, behind) = rest.split_at(entry_len(rest));
            let place = Place { path, depth };
            match self.entry(entry, &mut origin, &place) {
                Ok(None) => {}
                Ok(Some((included, origin))) => {
                    // An included file leaves the name for the next record alone.
                    let owner = self.owner.clone();
                    self.file(&included, origin, depth + 1)?;
                    self.owner = owner;
                }
                Err(LineError::TooLarge) => return Err(ZoneError::TooLarge),
                Err(what) => return Err(at(line, what)),
            }
            line += entry.bytes().filter(|octet| *octet == b'\n').count();
            rest = behind;
        }
        Ok(())
    }

    /// Takes one entry. A file to include comes back, with its origin.
    fn entry(
        &mut self,
        entry: &str,
        origin: &mut Name,
        place: &Place<'_>,
    ) -> Result<Option<(PathBuf, Name)>, LineError> {
        let words = record_text::words(entry)?;
        let Some(first) = words.first() else { return Ok(None) };
        if !first.text.starts_with('$') || first.quoted {
            let blank = entry.starts_with([' ', '\t']);
            let owner = match blank {
                true => self.owner.clone().ok_or(LineError::NoOwner)?,
                false => record_text::name(&first.text, Some(origin))?,
            };
            self.owner = Some(owner.clone());
            self.record(owner, &words[usize::from(!blank)..], origin)?;
            return Ok(None);
        }
        let wrong = || LineError::Directive(first.text.clone());
        let arguments: Vec<&str> = words[1..].iter().map(|word| &*word.text).collect();
        match (&*first.text.to_ascii_uppercase(), &*arguments) {
            ("$ORIGIN", [name]) => *origin = record_text::name(name, Some(origin))?,
            ("$TTL", [ttl]) => {
                self.ttl.directive = Some(seconds(ttl).ok_or_else(wrong)?);
            }
            ("$INCLUDE", [file, its_origin @ ..]) if its_origin.len() <= 1 => {
                if place.depth >= MAX_DEPTH {
                    return Err(LineError::Depth(MAX_DEPTH));
                }
                let folder = place.path.parent().unwrap_or(Path::new(""));
                let its_origin = its_origin.first();
                let its_origin = its_origin.map(|name| record_text::name(name, Some(origin)));
                let its_origin = its_origin.transpose()?.unwrap_or_else(|| origin.clone());
                return Ok(Some((folder.join(file), its_origin)));
            }
            ("$GENERATE", [range, _, ..]) => {
                let numbers = generate::range(range).ok_or_else(wrong)?;
                let template = behind_words(entry, 2).ok_or_else(wrong)?;
                for number in numbers {
                    let line = generate::filled(template, number).ok_or_else(wrong)?;
                    let words = record_text::words(&line)?;
                    let (owner, words) = words.split_first().ok_or_else(wrong)?;
                    let owner = record_text::name(&owner.text, Some(origin))?;
                    self.record(owner, words, origin)?;
                }
            }
            _ => return Err(wrong()),
        }
        Ok(None)
    }

    /// Takes the record of these words: TTL and class in any order, or none of them, type and data.
    fn record(&mut self, owner: Name, words: &[Word], origin: &Name) -> Result<(), LineError> {
        let (mut ttl, mut rest) = (None, words);
        loop {
            let (word, behind) = rest.split_first().ok_or(RecordError::NoType)?;
            rest = behind;
            let upper = word.text.to_ascii_uppercase();
            let rtype = numbered(&upper, "TYPE").or_else(|| mnemonics::rtype(&upper));
            let class = numbered(&upper, "CLASS").or_else(|| mnemonics::class(&upper));
            // `ANY` is the name of a type and of a class, and neither is one of a record.
            if let Some(rtype) = rtype {
                let data = record_text::data(RecordType::from(rtype), rest, Some(origin))?;
                let ttl = self.ttl_of(ttl, &data).ok_or(LineError::NoTtl)?;
                return self.builder.add(&Record::from_rdata(owner, ttl, data));
            }
            if let Some(class) = class {
                if DNSClass::from(class) != DNSClass::IN {
                    return Err(LineError::Class);
                }
            } else if let Some(found) = seconds(&word.text) {
                ttl = Some(found);
            } else {
                return Err(RecordError::Word(word.text.clone()).into());
            }
        }
    }

    /// A record's own TTL, or that of `$TTL`, of the record before, or of the SOA record (RFC 2308 §4).
    fn ttl_of(&mut self, own: Option<u32>, data: &RData) -> Option<u32> {
        let of_soa = match data {
            RData::SOA(soa) => Some(soa.minimum),
            _ => None,
        };
        let ttl = own.or(self.ttl.directive).or(self.ttl.last).or(of_soa)?;
        self.ttl.last = Some(ttl);
        Some(ttl)
    }
}

/// Octets of the text's first entry, its line end included: it goes on within parentheses and quotes.
fn entry_len(text: &str) -> usize {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut octets = text.bytes().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' => {
                octets.next();
            }
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b';' => {
                for (at, octet) in octets.by_ref() {
                    if octet == b'\n' {
                        if depth == 0 {
                            return at + 1;
                        }
                        break;
                    }
                }
            }
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'\n' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What stands behind the first `count` words.
fn behind_words(entry: &str, count: usize) -> Option<&str> {
    let mut rest = entry.trim_start();
    for _ in 0..count {
        let (_, behind) = rest.split_once([' ', '\t'])?;
        rest = behind.trim_start();
    }
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests;
