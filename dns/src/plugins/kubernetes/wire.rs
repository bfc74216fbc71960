//! The short way: what a lookup found, written straight into a reply.

use std::net::IpAddr;

use crate::{
    wire::{
        HEADER,
        name::{FoldedName, MAX_NAME},
        query::Plain,
        rcode,
        reply::{Reply, Section, address_type, fixed},
        rtype,
    },
    zone::{
        Directory, Found, Lookup, View,
        group::Node,
        lookup::{SPECIFICATION, VERSION_TTL},
        reverse,
        view::ZoneKind,
    },
};

/// SOA timers after the serial: refresh 7200 s, retry 1800 s, expire 86400 s (CoreDNS's figures).
const SOA_TIMERS: [u8; 12] = [0, 0, 0x1c, 0x20, 0, 0, 7, 8, 0, 1, 0x51, 0x80];
/// Targets whose place in the reply is remembered, so that glue can point at them.
const REMEMBERED: usize = 16;

/// A plain question as received, and the room for its reply.
#[derive(Clone, Copy)]
pub struct Asked<'q> {
    /// The datagram.
    pub message: &'q [u8],
    /// Its question.
    pub plain: &'q Plain,
    /// Its name, folded.
    pub name: &'q FoldedName,
    /// Most octets of the reply.
    pub limit: usize,
    /// Whether `name` is another one than was asked: only addresses of that name can be written then.
    pub renamed: bool,
    /// Where an address set starts: turned from query to query where `loadbalance` asks for it.
    pub rotation: u32,
}

/// Response code and length of a reply written by [`write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Octets.
    pub len: usize,
    /// RCODE.
    pub rcode: u16,
}

/// Writes the reply for `lookup` into `out`. `None` if the long way has to do it: an alias needs
/// further lookups, a transfer is no plain reply.
pub fn write(
    out: &mut [u8],
    asked: &Asked<'_>,
    view: &View,
    directory: &Directory,
    lookup: &Lookup<'_>,
) -> Option<Written> {
    let mut reply = Reply::new(out, asked.message, asked.plain, asked.limit)?;
    let writer = Writer { asked, view, directory, lookup };
    let ttl = view.ttl.to_be_bytes();
    let mut rcode = rcode::NOERROR;
    match lookup.found {
        Found::V4(set) => addresses(&mut reply, set, asked.rotation, ttl),
        Found::V6(set) => addresses(&mut reply, set, asked.rotation, ttl),
        Found::Address(IpAddr::V4(a)) => addresses(&mut reply, &[a.octets()], 0, ttl),
        Found::Address(IpAddr::V6(a)) => addresses(&mut reply, &[a.octets()], 0, ttl),
        Found::Srv(node) => writer.srv(&mut reply, node),
        Found::Ptr(reverse) => {
            let zone = view.primary_zone()?;
            for target in reverse.targets() {
                let rdata: [&[u8]; 3] = [target, b"\x03svc", zone];
                or_truncate(&mut reply, |reply| {
                    reply.push_own(Section::Answer, rtype::PTR, ttl, &rdata)
                });
            }
        }
        Found::Version => {
            let text = [&[SPECIFICATION.len() as u8][..], SPECIFICATION];
            reply.push_own(Section::Answer, rtype::TXT, VERSION_TTL.to_be_bytes(), &text);
        }
        Found::Soa => writer.soa(&mut reply, Section::Answer),
        Found::Ns => writer.ns(&mut reply),
        Found::NsAddress => writer.ns_addresses(&mut reply),
        Found::NoData => writer.soa(&mut reply, Section::Authority),
        Found::NxDomain => {
            rcode = if directory.synced { rcode::NXDOMAIN } else { rcode::SERVFAIL };
            writer.soa(&mut reply, Section::Authority);
        }
        Found::Alias(_) | Found::Refused => return None,
    }
    reply.set_rcode(rcode);
    Some(Written { len: reply.finish(), rcode })
}

fn addresses<const N: usize>(reply: &mut Reply<'_>, set: &[[u8; N]], rotation: u32, ttl: [u8; 4]) {
    let start = if set.len() > 1 { rotation as usize % set.len() } else { 0 };
    let (behind, before) = set.split_at(start);
    for address in before.iter().chain(behind) {
        if !reply.push_address(Section::Answer, ttl, address) {
            return reply.truncate();
        }
    }
}

fn or_truncate(reply: &mut Reply<'_>, push: impl FnOnce(&mut Reply<'_>) -> bool) {
    if !push(reply) {
        reply.truncate();
    }
}

struct Writer<'a, 'q> {
    asked: &'a Asked<'q>,
    view: &'a View,
    directory: &'a Directory,
    lookup: &'a Lookup<'a>,
}

impl<'q> Writer<'_, 'q> {
    /// The zone part of the question's name, in the client's case.
    fn zone(&self) -> &'q [u8] {
        let from = HEADER + self.asked.name.start(self.lookup.above);
        // The question ends with four octets of type and class.
        &self.asked.message[from..self.asked.plain.question_end - 4]
    }

    fn zone_pointer(&self) -> [u8; 2] {
        let at = (HEADER + self.asked.name.start(self.lookup.above)) as u16;
        (0xc000 | at).to_be_bytes()
    }

    fn soa(&self, reply: &mut Reply<'_>, section: Section) {
        let zone = self.zone_pointer();
        let serial = match self.lookup.zone.kind {
            ZoneKind::ClusterSet => self.directory.import_serial,
            ZoneKind::Cluster | ZoneKind::Reverse => self.directory.serial,
        };
        let ttl = self.view.soa_ttl().to_be_bytes();
        let (mname, rname) = (b"\x02ns\x03dns", b"\x0ahostmaster");
        let size = mname.len() + rname.len() + 4 + 4 + SOA_TIMERS.len() + 4;
        let fixed = fixed(rtype::SOA, ttl, size);
        let minimum = self.view.ttl.to_be_bytes();
        let serial = serial.to_be_bytes();
        let parts: [&[u8]; 9] =
            [&zone, &fixed, mname, &zone, rname, &zone, &serial, &SOA_TIMERS, &minimum];
        or_truncate(reply, |reply| reply.push(section, &parts));
    }

    fn srv(&self, reply: &mut Reply<'_>, node: Node<'_>) {
        let (zone, key) = (self.zone(), node.group().key());
        let ttl = self.view.ttl.to_be_bytes();
        let mut places = Places::default();
        for srv in node.srv() {
            let target: [&[u8]; 4] = [srv.target, key, b"\x03svc", zone];
            let size = target.iter().map(|part| part.len()).sum::<usize>();
            if size > MAX_NAME {
                continue;
            }
            let (weight, port) = (srv.weight.to_be_bytes(), srv.port.to_be_bytes());
            let head = [0, 0, weight[0], weight[1], port[0], port[1]];
            let fixed = fixed(rtype::SRV, ttl, 6 + size);
            let parts: [&[u8]; 7] =
                [&[0xc0, HEADER as u8], &fixed, &head, srv.target, key, b"\x03svc", zone];
            if !reply.push(Section::Answer, &parts) {
                return reply.truncate();
            }
            places.note(srv.target, reply.len() - size);
        }
        for (target, address) in node.glue() {
            let fixed = fixed(address_type(address), ttl, address.len());
            let written = match places.find(target) {
                Some(pointer) => reply.push(Section::Additional, &[&pointer, &fixed, address]),
                None => reply
                    .push(Section::Additional, &[target, key, b"\x03svc", zone, &fixed, address]),
            };
            if !written {
                // Only a cut answer section makes a client ask again over TCP.
                return;
            }
        }
    }

    fn ns(&self, reply: &mut Reply<'_>) {
        let ttl = self.view.ttl.to_be_bytes();
        let pointer = self.zone_pointer();
        let mut last: &[u8] = &[];
        for (name, _) in self.directory.servers.iter() {
            if name != last {
                or_truncate(reply, |r| {
                    r.push_own(Section::Answer, rtype::NS, ttl, &[name, &pointer])
                });
            }
            last = name;
        }
        for (name, address) in self.directory.servers.iter() {
            let octets = reverse::key(*address);
            let fixed = fixed(address_type(octets.as_slice()), ttl, octets.as_slice().len());
            if !reply.push(Section::Additional, &[name, &pointer, &fixed, octets.as_slice()]) {
                return;
            }
        }
    }

    fn ns_addresses(&self, reply: &mut Reply<'_>) {
        let ttl = self.view.ttl.to_be_bytes();
        let wants_v4 = self.asked.plain.qtype == rtype::A;
        for (_, address) in self.directory.servers.iter().filter(|(_, a)| a.is_ipv4() == wants_v4) {
            let octets = reverse::key(*address);
            or_truncate(reply, |r| r.push_address(Section::Answer, ttl, octets.as_slice()));
        }
    }
}

/// Where the first few SRV targets stand in the reply.
#[derive(Default)]
struct Places<'t> {
    places: [(&'t [u8], u16); REMEMBERED],
    len: usize,
}

impl<'t> Places<'t> {
    fn note(&mut self, target: &'t [u8], at: usize) {
        // A pointer has 14 bits (RFC 1035 §4.1.4).
        if at < 0x4000 && self.len < REMEMBERED && self.find(target).is_none() {
            self.places[self.len] = (target, at as u16);
            self.len += 1;
        }
    }

    fn find(&self, target: &[u8]) -> Option<[u8; 2]> {
        let (_, at) = self.places[..self.len].iter().find(|(known, _)| *known == target)?;
        Some((0xc000 | at).to_be_bytes())
    }
}
