//! The long way: what a lookup found, as message records.

use std::net::IpAddr;

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, NS, PTR, SOA, SRV, TXT},
    },
};

use crate::{
    wire::{
        name::{FoldedName, labels},
        rtype,
    },
    zone::{
        Directory, Found, Lookup, View,
        group::Node,
        lookup::{SPECIFICATION, VERSION_TTL},
        view::ZoneKind,
    },
};

/// Sections and code of a reply to be built.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// RCODE.
    pub rcode: ResponseCode,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section.
    pub authorities: Vec<Record>,
    /// Additional section, without OPT.
    pub additionals: Vec<Record>,
}

/// The records for `lookup`; `owner` is the question's name in the client's case. `None` for an
/// alias, which needs further lookups, and for a refused transfer.
pub fn records(
    owner: &Name,
    folded: &FoldedName,
    qtype: u16,
    view: &View,
    directory: &Directory,
    lookup: &Lookup<'_>,
) -> Option<Records> {
    let zone = owner.trim_to(folded.labels() - lookup.above);
    let builder = Builder { owner, zone, view, directory, lookup };
    let mut out = Records::default();
    match lookup.found {
        Found::V4(set) => out.answers = set.iter().map(|a| builder.address((*a).into())).collect(),
        Found::V6(set) => out.answers = set.iter().map(|a| builder.address((*a).into())).collect(),
        Found::Address(address) => out.answers.push(builder.address(address)),
        Found::Srv(node) => builder.srv(node, &mut out),
        Found::Ptr(reverse) => {
            let zone = name(&[view.primary_zone()?])?;
            let target = |relative| {
                Some(builder.own(RData::PTR(PTR(
                    name(&[relative, b"\x03svc"])?.append_domain(&zone).ok()?,
                ))))
            };
            out.answers = reverse.targets().filter_map(target).collect();
        }
        Found::Version => {
            let text = String::from_utf8_lossy(SPECIFICATION).into_owned();
            let data = RData::TXT(TXT::new(vec![text]));
            out.answers.push(Record::from_rdata(owner.clone(), VERSION_TTL, data));
        }
        Found::Soa => out.answers.extend(builder.soa()),
        Found::Ns => builder.ns(&mut out),
        Found::NsAddress => {
            let wants_v4 = qtype == rtype::A;
            let addresses = directory.servers.iter().map(|(_, address)| *address);
            out.answers =
                addresses.filter(|a| a.is_ipv4() == wants_v4).map(|a| builder.address(a)).collect();
        }
        Found::NoData => out.authorities.extend(builder.soa()),
        Found::NxDomain => {
            let known = directory.synced;
            out.rcode = if known { ResponseCode::NXDomain } else { ResponseCode::ServFail };
            out.authorities.extend(builder.soa());
        }
        Found::Alias(_) | Found::Refused => return None,
    }
    Some(out)
}

/// A name out of wire pieces, fully qualified. `None` if it is too long.
pub fn name(pieces: &[&[u8]]) -> Option<Name> {
    let labels = pieces.iter().flat_map(|piece| labels(piece));
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The record for an address.
pub fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(a) => RData::A(A(a)),
        IpAddr::V6(a) => RData::AAAA(AAAA(a)),
    }
}

/// The SOA record of a zone with this name.
pub fn soa(zone: &Name, view: &View, directory: &Directory, kind: ZoneKind) -> Option<Record> {
    let serial = match kind {
        ZoneKind::ClusterSet => directory.import_serial,
        ZoneKind::Cluster | ZoneKind::Reverse => directory.serial,
    };
    let in_zone = |relative| name(&[relative])?.append_domain(zone).ok();
    let (mname, rname) = (in_zone(b"\x02ns\x03dns")?, in_zone(b"\x0ahostmaster")?);
    let data = RData::SOA(SOA::new(mname, rname, serial, 7200, 1800, 86_400, view.ttl));
    Some(Record::from_rdata(zone.clone(), view.soa_ttl(), data))
}

struct Builder<'a> {
    owner: &'a Name,
    zone: Name,
    view: &'a View,
    directory: &'a Directory,
    lookup: &'a Lookup<'a>,
}

impl Builder<'_> {
    fn own(&self, data: RData) -> Record {
        Record::from_rdata(self.owner.clone(), self.view.ttl, data)
    }

    fn address(&self, address: IpAddr) -> Record {
        self.own(address_data(address))
    }

    /// `pieces` (relative wire names) in the zone as the client spelled it.
    fn in_zone(&self, pieces: &[&[u8]]) -> Option<Name> {
        name(pieces)?.append_domain(&self.zone).ok()
    }

    fn soa(&self) -> Option<Record> {
        soa(&self.zone, self.view, self.directory, self.lookup.zone.kind)
    }

    fn srv(&self, node: Node<'_>, out: &mut Records) {
        let key = node.group().key();
        let target = |relative| self.in_zone(&[relative, key, b"\x03svc"]);
        for srv in node.srv() {
            if let Some(target) = target(srv.target) {
                out.answers.push(self.own(RData::SRV(SRV::new(0, srv.weight, srv.port, target))));
            }
        }
        for (relative, octets) in node.glue() {
            let address = match octets {
                [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
                _ => <[u8; 16]>::try_from(octets).map_or(IpAddr::from([0; 4]), IpAddr::from),
            };
            if let Some(owner) = target(relative) {
                out.additionals.push(Record::from_rdata(
                    owner,
                    self.view.ttl,
                    address_data(address),
                ));
            }
        }
    }

    fn ns(&self, out: &mut Records) {
        let mut last: &[u8] = &[];
        for (relative, address) in self.directory.servers.iter() {
            let Some(server) = self.in_zone(&[relative]) else { continue };
            if relative != last {
                out.answers.push(self.own(RData::NS(NS(server.clone()))));
            }
            last = relative;
            out.additionals.push(Record::from_rdata(server, self.view.ttl, address_data(*address)));
        }
    }
}
