//! Catalog zones: lists of zones, themselves zones (RFC 9432).

use std::collections::{BTreeMap, HashMap};

use hickory_proto::rr::{Name, RData, RecordType};

use super::data::{Node, ZoneData};
use crate::{corefile::domain::Domain, wire::text};

/// The schema's version that is understood (RFC 9432 §4.2.1).
const VERSION: &[u8] = b"2";

/// What a catalog zone says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Catalog {
    /// Its member zones, in the order of their labels, each zone once.
    pub members: Vec<Member>,
}

/// A member zone (RFC 9432 §4.1).
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Its unique label, folded.
    pub id: Box<[u8]>,
    /// The zone.
    pub zone: Domain,
    /// The catalog that it is handed over to (property `coo`, §4.3.1).
    pub goes_to: Option<Domain>,
}

/// Why a zone is no catalog. A broken one is not to be processed (RFC 9432 §5.1).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CatalogError {
    /// No NS record at its apex.
    #[error("the catalog has no NS record")]
    NoNs,
    /// Not exactly one record at `version`, or not that of version 2.
    #[error("the catalog does not have the one TXT record `version` with the text 2")]
    Version,
    /// A member with several PTR records.
    #[error("the catalog's member {0} has more than one PTR record")]
    Ambiguous(String),
    /// A member that is handed over to several catalogs.
    #[error("the catalog's member {0} has more than one record for the property coo")]
    Torn(String),
    /// Two members for one zone.
    #[error("the catalog has the zone {0} twice")]
    Twice(Domain),
}

impl Catalog {
    /// Reads a zone as a catalog.
    ///
    /// # Errors
    /// What it lacks or has too much.
    pub fn read(zone: &ZoneData) -> Result<Self, CatalogError> {
        let (mut named, mut version) = (false, Vec::new());
        let mut members: BTreeMap<Box<[u8]>, Name> = BTreeMap::new();
        let mut leaving: HashMap<Box<[u8]>, Option<Name>> = HashMap::new();
        for node in zone.nodes() {
            let mut labels: Vec<&[u8]> = node.key().split(|octet| *octet == 0).collect();
            // Each label is ended by a zero, the last too.
            labels.pop();
            match *labels.as_slice() {
                [] => named = node.set(RecordType::NS).is_some(),
                [b"version"] => version = texts(node),
                [b"zones", id] => match pointers(node).as_slice() {
                    [] => {}
                    [zone] => drop(members.insert(id.into(), zone.clone())),
                    _ => return Err(CatalogError::Ambiguous(shown(id))),
                },
                [b"zones", id, b"coo"] => match pointers(node).as_slice() {
                    [] => {}
                    [catalog] => drop(leaving.insert(id.into(), Some(catalog.clone()))),
                    // Counts for members alone.
                    _ => drop(leaving.insert(id.into(), None)),
                },
                _ => {}
            }
        }
        if !named {
            return Err(CatalogError::NoNs);
        }
        if version != [VERSION] {
            return Err(CatalogError::Version);
        }
        let mut catalog = Catalog::default();
        let mut seen = hashbrown::HashSet::new();
        for (id, zone) in members {
            // A name off the wire is a domain.
            let Ok(zone) = Domain::parse(&text::folded(&zone)) else { continue };
            if !seen.insert(zone.clone()) {
                return Err(CatalogError::Twice(zone));
            }
            let goes_to = match leaving.remove(&id) {
                None => None,
                Some(Some(catalog)) => Domain::parse(&text::folded(&catalog)).ok(),
                Some(None) => return Err(CatalogError::Torn(shown(&id))),
            };
            catalog.members.push(Member { id, zone, goes_to });
        }
        Ok(catalog)
    }
}

fn texts(node: Node<'_>) -> Vec<Vec<u8>> {
    let records = node.set(RecordType::TXT).into_iter().flat_map(|set| set.records());
    let text = |(_, data)| match data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    };
    records.filter_map(text).collect()
}

fn pointers(node: Node<'_>) -> Vec<Name> {
    let records = node.set(RecordType::PTR).into_iter().flat_map(|set| set.records());
    let target = |(_, data)| match data {
        RData::PTR(target) => Some(target.0),
        _ => None,
    };
    records.filter_map(target).collect()
}

fn shown(id: &[u8]) -> String {
    id.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::master;

    fn read(records: &str) -> Result<Catalog, CatalogError> {
        let text = format!("$TTL 0\n@ SOA invalid. invalid. 1 3600 600 604800 0\n{records}");
        let read = |_: &std::path::Path| Ok(text.as_bytes().to_vec());
        let origin = Name::from_ascii("catalog.test.").unwrap();
        Catalog::read(&master::load(origin, "db".as_ref(), &read).unwrap().zone)
    }

    const HEAD: &str = "@ NS invalid.\nVersion TXT \"2\"\n";

    fn with(records: &str) -> Result<Catalog, CatalogError> {
        read(&(HEAD.to_owned() + records))
    }

    #[test]
    fn members_come_with_their_labels_and_where_they_go() {
        let catalog = with(
            "b.zones PTR Example.NET.\nA.Zones PTR example.com.\ngroup.a.zones TXT x\n\
             coo.b.zones PTR other.test.\nother TXT y\nx.a.zones PTR z.\nzones PTR z.\n",
        );
        let member = |id: &str, zone: &str, goes_to: Option<&str>| Member {
            id: id.as_bytes().into(),
            zone: Domain::parse(zone).unwrap(),
            goes_to: goes_to.map(|catalog| Domain::parse(catalog).unwrap()),
        };
        let want =
            vec![member("a", "example.com", None), member("b", "example.net", Some("other.test"))];
        assert_eq!(catalog, Ok(Catalog { members: want }));
        assert_eq!(with(""), Ok(Catalog::default()));
        // Whoever is no member goes nowhere.
        assert_eq!(with("coo.a.zones PTR b.\ncoo.a.zones PTR c.\n"), Ok(Catalog::default()));
    }

    #[test]
    fn a_broken_catalog_is_none() {
        use CatalogError::{Ambiguous, NoNs, Torn, Twice, Version};
        let name = || "a".to_owned();
        assert_eq!(read("version TXT 2\n"), Err(NoNs));
        assert_eq!(read("@ NS invalid.\n"), Err(Version));
        assert_eq!(read("@ NS invalid.\nversion TXT 1\n"), Err(Version));
        assert_eq!(read("@ NS invalid.\nversion TXT 2\nversion TXT 3\n"), Err(Version));
        assert_eq!(with("a.zones PTR b.\na.zones PTR c.\n"), Err(Ambiguous(name())));
        let twice = Twice(Domain::parse("b").unwrap());
        assert_eq!(with("a.zones PTR b.\nc.zones PTR B.\n"), Err(twice));
        let torn = with("a.zones PTR b.\ncoo.a.zones PTR c.\ncoo.a.zones PTR d.\n");
        assert_eq!(torn, Err(Torn(name())));
    }
}
