//! The names of `hosts` as wire names: which of them have an answer, and the addresses of those that the
//! short way answers.

use std::ops::Range;

use hashbrown::{HashMap, HashSet};

use super::entries::{Entries, is_wildcard};
use crate::{
    corefile::domain::Domain,
    plugins::kubernetes::wire::{Asked, Written},
    server::short::is_usual,
    wire::{
        name::FoldedName,
        rcode,
        reply::{Reply, Section},
        rtype,
    },
};

type Hasher = foldhash::fast::RandomState;

/// One state of the entries, looked up by folded wire name.
#[derive(Default)]
pub(super) struct Names {
    /// Names that have an answer: those with addresses, and reverse names of addresses.
    places: HashMap<Box<[u8]>, Place, Hasher>,
    /// Names under whose next label anything is answered (`*.NAME`).
    wildcards: HashSet<Box<[u8]>, Hasher>,
    v4: Vec<[u8; 4]>,
    v6: Vec<[u8; 16]>,
}

/// Where the addresses of a name are; a name without any is left to the long way.
#[derive(Default)]
struct Place {
    v4: Range<u32>,
    v6: Range<u32>,
}

impl Names {
    /// The names of both sources, the addresses of the first coming first, as they are answered.
    pub(super) fn of(sources: [&Entries; 2]) -> Self {
        let mut names = Names::default();
        for name in sources.iter().flat_map(|entries| entries.iter()).map(|(name, _)| name) {
            let wire = name.to_wire();
            if is_wildcard(name) {
                // What is below the star: its label is two octets long.
                names.wildcards.insert(wire[2..].into());
                continue;
            }
            let held = names.places.get(&wire[..]);
            let is_new = held.is_none_or(|place| place.v4.is_empty() && place.v6.is_empty());
            if is_new {
                let place = match is_plain(name) {
                    true => names.place(sources, name),
                    false => Place::default(),
                };
                names.places.insert(wire.into(), place);
            }
        }
        names
    }

    /// Adds the reverse name of an address.
    pub(super) fn add_reverse(&mut self, wire: Vec<u8>) {
        self.places.entry(wire.into()).or_default();
    }

    /// Whether the name, or one that stands for it, is there.
    pub(super) fn have(&self, name: &FoldedName) -> bool {
        self.wildcard(name) || self.places.contains_key(name.wire())
    }

    /// Answers `asked`, if its name is there itself. `others`: whether types that no entry has are answered
    /// at all. `None` if the long way has to do it.
    pub(super) fn answer(
        &self,
        out: &mut [u8],
        asked: &Asked<'_>,
        ttl: u32,
        others: bool,
    ) -> Option<Written> {
        let place = self.places.get(asked.name.wire())?;
        let v4 = self.v4.get(place.v4.start as usize..place.v4.end as usize)?;
        let v6 = self.v6.get(place.v6.start as usize..place.v6.end as usize)?;
        if v4.is_empty() && v6.is_empty() {
            return None;
        }
        let mut reply = Reply::new(out, asked.message, asked.plain, asked.limit)?;
        // Where the name has none, a wildcard may have addresses of this family.
        let sure = match asked.plain.qtype {
            rtype::A => push(&mut reply, v4, asked.rotation, ttl)? || !self.wildcard(asked.name),
            rtype::AAAA => push(&mut reply, v6, asked.rotation, ttl)? || !self.wildcard(asked.name),
            rtype::PTR => false,
            other => others && is_usual(other),
        };
        if !sure {
            return None;
        }
        Some(Written { len: reply.finish(), rcode: rcode::NOERROR })
    }

    fn wildcard(&self, name: &FoldedName) -> bool {
        name.labels() > 0 && self.wildcards.contains(&name.wire()[name.start(1)..])
    }

    fn place(&mut self, sources: [&Entries; 2], name: &Domain) -> Place {
        let (v4, v6) = (self.v4.len() as u32, self.v6.len() as u32);
        for entries in sources {
            self.v4.extend(entries.v4(name).iter().map(std::net::Ipv4Addr::octets));
            self.v6.extend(entries.v6(name).iter().map(std::net::Ipv6Addr::octets));
        }
        Place { v4: v4..self.v4.len() as u32, v6: v6..self.v6.len() as u32 }
    }
}

/// Appends the addresses, the one at `rotation` first; tells whether there are any. `None` if they do not
/// fit.
fn push<const N: usize>(
    reply: &mut Reply<'_>,
    set: &[[u8; N]],
    rotation: u32,
    ttl: u32,
) -> Option<bool> {
    let (behind, before) = set.split_at(rotation as usize % set.len().max(1));
    for address in before.iter().chain(behind) {
        reply.push_address(Section::Answer, ttl.to_be_bytes(), address).then_some(())?;
    }
    Some(!set.is_empty())
}

/// Whether the name is written in the only way that there is: a question for it is a question for this
/// text.
fn is_plain(name: &Domain) -> bool {
    let letters = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let usual = |octet: u8| letters(octet) || matches!(octet, b'-' | b'_' | b'.');
    !name.is_root() && name.as_str().bytes().all(usual)
}
