//! The cells of the matrix, and the rules that say what is expected of them.

use std::fmt;

use anyhow::Context;
use serde::{Deserialize, Deserializer};

use super::probe::Probe;

/// Where packets come from or go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Pod,
    Neighbour,
    Remote,
    Node,
    Far,
    Outside,
}

impl Place {
    const ALL: [Place; 6] =
        [Place::Pod, Place::Neighbour, Place::Remote, Place::Node, Place::Far, Place::Outside];

    /// As the lab calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::Pod => "pod",
            Place::Neighbour => "neighbour",
            Place::Remote => "remote",
            Place::Node => "node/n1",
            Place::Far => "node/n2",
            Place::Outside => "outside",
        }
    }

    /// The node that it is on.
    pub(crate) fn node(self) -> Place {
        match self {
            Place::Pod | Place::Neighbour | Place::Node => Place::Node,
            Place::Remote | Place::Far => Place::Far,
            Place::Outside => Place::Outside,
        }
    }
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) routing: &'static str,
    pub(crate) ipv4: bool,
    pub(crate) probe: Probe,
    pub(crate) source: Place,
    pub(crate) target: Place,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.ipv4 { "IPv4" } else { "IPv6" };
        let Cell { routing, probe, source, target, .. } = self;
        write!(f, "{routing} {family} {probe:?} {source:?} to {target:?}")
    }
}

/// What the target is to see as source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sees {
    Own,
    Node,
    Gateway,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default, deserialize_with = "one_or_more")]
    routing: Vec<String>,
    ipv4: Option<bool>,
    #[serde(default, deserialize_with = "one_or_more")]
    protocol: Vec<Probe>,
    #[serde(default, deserialize_with = "one_or_more")]
    source: Vec<Place>,
    #[serde(default, deserialize_with = "one_or_more")]
    target: Vec<Place>,
    pub(crate) sees: Option<Sees>,
    pub(crate) impossible: Option<String>,
}

impl Rule {
    pub(crate) fn fits(&self, cell: &Cell) -> bool {
        fn any<T: PartialEq>(wanted: &[T], found: &T) -> bool {
            wanted.is_empty() || wanted.contains(found)
        }
        any(&self.routing, &cell.routing.to_owned())
            && self.ipv4.is_none_or(|ipv4| ipv4 == cell.ipv4)
            && any(&self.protocol, &cell.probe)
            && any(&self.source, &cell.source)
            && any(&self.target, &cell.target)
    }
}

fn one_or_more<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        One(T),
        More(Vec<T>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::More(all) => all,
    })
}

/// The rules of the file.
pub(crate) fn rules() -> anyhow::Result<Vec<Rule>> {
    let file = daymark_tests::peers::repository().join("tests/pod_network/matrix.yaml");
    let text = std::fs::read_to_string(&file).context("reading the matrix")?;
    serde_saphyr::from_str(&text).context("the matrix")
}

/// Every cell of one way of routing.
pub(crate) fn cells(routing: &'static str) -> Vec<Cell> {
    let mut cells = Vec::new();
    for ipv4 in [true, false] {
        for probe in Probe::ALL {
            for source in Place::ALL {
                for target in Place::ALL {
                    cells.push(Cell { routing, ipv4, probe, source, target });
                }
            }
        }
    }
    cells
}
