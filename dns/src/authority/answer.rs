//! The reply that a zone gives, with the ways that aliases go within it.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::CNAME},
};

use super::{
    data::{Node, Set, ZoneData, key_of},
    lookup::{Step, walk},
};
use crate::{
    plugin::{Answer, Query},
    wire::{name::labels, text},
};

/// Aliases followed within a zone.
const MAX_LINKS: usize = 16;

/// What a zone answers.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// RCODE.
    pub rcode: ResponseCode,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section.
    pub authorities: Vec<Record>,
    /// Additional section.
    pub additionals: Vec<Record>,
    /// The zone does not have what was asked for itself: the answer is a referral.
    pub referral: bool,
    /// There is no such name, or only names below it.
    pub missing: bool,
    /// The wildcard that stood for the name.
    pub wildcard: Option<Name>,
    /// Where an alias leads out of the zone.
    pub outside: Option<Name>,
}

/// What `zone` answers to a question for `name`, which is in it. With `signed`, DNSSEC's records come along
/// (RFC 4035 §3.1).
pub fn reply(zone: &ZoneData, name: &Name, qtype: RecordType, signed: bool) -> Reply {
    let mut writer = Writer { zone, qtype, signed, reply: Reply::default() };
    let mut seen: Vec<Name> = Vec::new();
    let mut at = name.clone();
    loop {
        seen.push(at.clone());
        let Some(target) = writer.step(&at) else { break };
        if !zone.origin().zone_of(&target) {
            writer.reply.outside = Some(target);
            break;
        }
        if seen.len() > MAX_LINKS || seen.contains(&target) {
            // A loop, or nearly one: whoever wants to goes on.
            writer.name_servers();
            break;
        }
        at = target;
    }
    writer.glue_of_answers();
    writer.reply
}

/// The answer to `query` from this zone, aliases that lead out of it followed through the whole server.
pub async fn answer(zone: &ZoneData, query: &Query) -> (Answer, Reply) {
    let mut reply = reply(zone, query.name(), query.rtype(), query.dnssec_ok());
    if let Some(target) = reply.outside.take() {
        let nested = query.with_question(target, query.rtype());
        // Without an answer the alias stands alone: the client can follow it by itself.
        match nested.ask_server().await {
            Ok(found) if matches!(found.code(), ResponseCode::NoError | ResponseCode::NXDomain) => {
                reply.rcode = found.code();
                let nothing = found.message.answers.is_empty();
                for record in found.message.answers {
                    let known =
                        |held: &Record| held.name == record.name && held.data == record.data;
                    if !reply.answers.iter().any(known) {
                        reply.answers.push(record);
                    }
                }
                if nothing || reply.rcode == ResponseCode::NXDomain {
                    // What denies the name belongs to its own zone (RFC 2308 §2.1).
                    reply.authorities = found.message.authorities;
                } else {
                    let mut writer = Writer::new(zone, query, reply);
                    writer.name_servers();
                    writer.glue_of_answers();
                    reply = writer.reply;
                }
            }
            _ => {
                let mut writer = Writer::new(zone, query, reply);
                writer.name_servers();
                reply = writer.reply;
            }
        }
    }
    if let Some(wildcard) = &reply.wildcard {
        query.metadata.set("zone/wildcard", || text::folded(wildcard));
    }
    let mut answer = Answer::with_code(query, reply.rcode);
    answer.message.metadata.authoritative = !reply.referral || !reply.answers.is_empty();
    answer.message.answers = std::mem::take(&mut reply.answers);
    answer.message.authorities = std::mem::take(&mut reply.authorities);
    answer.message.additionals = std::mem::take(&mut reply.additionals);
    (answer, reply)
}

struct Writer<'z> {
    zone: &'z ZoneData,
    qtype: RecordType,
    signed: bool,
    reply: Reply,
}

impl<'z> Writer<'z> {
    fn new(zone: &'z ZoneData, query: &Query, reply: Reply) -> Self {
        Writer { zone, qtype: query.rtype(), signed: query.dnssec_ok(), reply }
    }

    /// Answers for one name. Where it is an alias, the name that it leads to comes back.
    fn step(&mut self, name: &Name) -> Option<Name> {
        let walk = walk(self.zone, name, self.qtype)?;
        match walk.step {
            Step::Exact(node) => self.at(node, name, &walk.key, false),
            Step::Wildcard(node) => {
                self.reply.wildcard = Some(node.name());
                self.at(node, name, &walk.key, true)
            }
            Step::Cut(node) => {
                self.refer(node);
                None
            }
            Step::Subtree(node) => self.subtree(node, name),
            Step::Empty => {
                self.reply.missing = true;
                self.deny(&walk.key, None);
                None
            }
            Step::Missing => {
                self.reply.missing = true;
                self.reply.rcode = ResponseCode::NXDomain;
                self.deny(&walk.key, walk.wildcard.as_deref());
                None
            }
        }
    }

    fn at(&mut self, node: Node<'z>, name: &Name, key: &[u8], wild: bool) -> Option<Name> {
        if self.qtype == RecordType::ANY {
            for set in node.sets() {
                self.reply.answers.extend(records(set, name));
            }
            self.name_servers();
            return None;
        }
        if let Some(alias) = node.set(RecordType::CNAME).filter(|_| self.qtype != RecordType::CNAME)
        {
            self.answer(node, alias, name);
            if wild {
                self.cover(key);
            }
            return alias.records().find_map(|(_, data)| match data {
                RData::CNAME(target) => Some(target.0),
                _ => None,
            });
        }
        let Some(set) = node.set(self.qtype) else {
            self.soa();
            if self.signed {
                self.nsec(node);
                if wild {
                    self.cover(key);
                }
            }
            return None;
        };
        self.answer(node, set, name);
        let own = node.is_apex() && self.reply.answers.iter().all(|record| record.name == *name);
        if own && self.qtype == RecordType::NS {
            let servers: Vec<Name> = set.records().filter_map(|(_, data)| target(&data)).collect();
            self.addresses(self.zone.origin(), &servers);
            return None;
        }
        self.name_servers();
        if wild {
            self.cover(key);
        }
        None
    }

    /// Records of the answer, with their signatures.
    fn answer(&mut self, node: Node<'z>, set: Set<'z>, owner: &Name) {
        self.reply.answers.extend(records(set, owner));
        if self.signed && set.rtype != RecordType::RRSIG {
            self.reply.answers.extend(signatures(node, set.rtype, owner));
        }
    }

    /// The alias of a whole subtree, and that of the name in it (RFC 6672 §3.1).
    fn subtree(&mut self, node: Node<'z>, name: &Name) -> Option<Name> {
        let set = node.set(RecordType::DNAME)?;
        let owner = node.name();
        self.answer(node, set, &owner);
        let (ttl, data) = set.records().next()?;
        let RData::Unknown { rdata, .. } = data else { return None };
        let below = name.iter().len() - owner.iter().len();
        let target = labels(rdata.anything.as_slice());
        let target = name.iter().take(below).chain(target);
        // A name that would be too long does not exist (RFC 6672 §2.2).
        let Ok(target) = Name::from_labels(target) else {
            self.reply.rcode = ResponseCode::YXDomain;
            return None;
        };
        let alias = RData::CNAME(CNAME(target.clone()));
        self.reply.answers.push(Record::from_rdata(name.clone(), ttl, alias));
        if self.qtype == RecordType::CNAME {
            self.name_servers();
            return None;
        }
        Some(target)
    }

    /// A referral to the zone below (RFC 1034 §4.3.2, step 3b).
    fn refer(&mut self, cut: Node<'z>) {
        self.reply.referral = true;
        let owner = cut.name();
        let Some(set) = cut.set(RecordType::NS) else { return };
        self.reply.authorities.extend(records(set, &owner));
        if self.signed {
            match cut.set(RecordType::DS) {
                Some(ds) => {
                    self.reply.authorities.extend(records(ds, &owner));
                    self.reply.authorities.extend(signatures(cut, RecordType::DS, &owner));
                }
                // That there is none has to be shown (RFC 4035 §3.1.4.1).
                None => self.nsec(cut),
            }
        }
        let servers: Vec<Name> = set.records().filter_map(|(_, data)| target(&data)).collect();
        self.addresses(&owner, &servers);
    }

    /// The zone's NS records, which come along with its answers.
    fn name_servers(&mut self) {
        let Some(apex) = self.zone.node(&[]) else { return };
        if let Some(set) = apex.set(RecordType::NS) {
            let owner = self.zone.origin();
            self.reply.authorities.extend(records(set, owner));
            if self.signed {
                self.reply.authorities.extend(signatures(apex, RecordType::NS, owner));
            }
        }
    }

    /// The SOA record of a denial, for as long as that may be kept (RFC 2308 §3).
    fn soa(&mut self) {
        let owner = self.zone.origin();
        let mut soa = self.zone.soa_record(owner.clone());
        soa.ttl = soa.ttl.min(self.zone.soa().minimum);
        self.reply.authorities.push(soa);
        if let Some(apex) = self.zone.node(&[]).filter(|_| self.signed) {
            self.reply.authorities.extend(signatures(apex, RecordType::SOA, owner));
        }
    }

    /// That there is no such name, and no wildcard for it (RFC 4035 §3.1.3.2).
    fn deny(&mut self, key: &[u8], wildcard: Option<&[u8]>) {
        self.soa();
        self.cover(key);
        if let Some(wildcard) = wildcard {
            self.cover(wildcard);
        }
    }

    /// The NSEC record that covers a name, once.
    fn cover(&mut self, key: &[u8]) {
        if let Some(node) = self.zone.covering(key).filter(|_| self.signed) {
            self.nsec(node);
        }
    }

    fn nsec(&mut self, node: Node<'z>) {
        let owner = node.name();
        let is_there = |held: &Record| held.record_type() == RecordType::NSEC && held.name == owner;
        if self.reply.authorities.iter().any(is_there) {
            return;
        }
        if let Some(set) = node.set(RecordType::NSEC) {
            self.reply.authorities.extend(records(set, &owner));
            self.reply.authorities.extend(signatures(node, RecordType::NSEC, &owner));
        }
    }

    /// Addresses that the answers' targets have in the zone.
    fn glue_of_answers(&mut self) {
        let answers = self.reply.answers.iter();
        let named = answers.filter_map(|record| match &record.data {
            RData::NS(_) => None,
            data => target(data),
        });
        let targets: Vec<Name> = named.collect();
        self.addresses(self.zone.origin(), &targets);
    }

    /// Addresses of those of `names` that are in `within`, each once.
    fn addresses(&mut self, within: &Name, names: &[Name]) {
        let mut done: Vec<&Name> = Vec::new();
        for name in names.iter().filter(|name| within.zone_of(name)) {
            if done.contains(&name) {
                continue;
            }
            done.push(name);
            let key = key_of(name, self.zone.origin());
            let Some(node) = key.and_then(|key| self.zone.node(&key)) else { continue };
            for rtype in [RecordType::A, RecordType::AAAA] {
                let Some(set) = node.set(rtype) else { continue };
                self.reply.additionals.extend(records(set, name));
                if self.signed {
                    self.reply.additionals.extend(signatures(node, rtype, name));
                }
            }
        }
    }
}

fn records<'z>(set: Set<'z>, owner: &Name) -> impl Iterator<Item = Record> + use<'z> {
    let owner = owner.clone();
    set.records().map(move |(ttl, data)| Record::from_rdata(owner.clone(), ttl, data))
}

fn signatures<'z>(
    node: Node<'z>,
    rtype: RecordType,
    owner: &Name,
) -> impl Iterator<Item = Record> + use<'z> {
    let owner = owner.clone();
    node.signatures(rtype).map(move |(ttl, data)| Record::from_rdata(owner.clone(), ttl, data))
}

/// The name whose addresses a client is going to ask for next.
fn target(data: &RData) -> Option<Name> {
    match data {
        RData::NS(server) => Some(server.0.clone()),
        RData::MX(mx) => Some(mx.exchange.clone()),
        RData::SRV(srv) => Some(srv.target.clone()),
        RData::SVCB(svcb) => Some(svcb.target_name.clone()),
        RData::HTTPS(https) => Some(https.0.target_name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
