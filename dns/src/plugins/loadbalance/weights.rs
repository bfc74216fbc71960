//! The weight file: a name on a line of its own, then lines of address and weight (1 to 255).

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use hickory_proto::rr::{Name, Record};

use crate::corefile::domain::Domain;

/// Weights by name. An address without one weighs 1.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Weights {
    names: HashMap<Domain, Vec<(IpAddr, u8)>>,
}

/// A line of a weight file that says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct WeightError {
    line: usize,
    what: &'static str,
}

impl Weights {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is neither a name, an address with its weight, a comment nor empty.
    pub fn parse(text: &str) -> Result<Self, WeightError> {
        let mut weights = Weights::default();
        let mut current = None;
        for (index, line) in text.lines().enumerate() {
            let error = |what| WeightError { line: index + 1, what };
            let words: Vec<&str> =
                line.split('#').next().unwrap_or_default().split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [address] if address.parse::<IpAddr>().is_ok() => {
                    return Err(error("an address without its weight"));
                }
                [name] => {
                    let name = Domain::parse(name).map_err(|_| error("not a domain name"))?;
                    weights.names.entry(name.clone()).or_default();
                    current = Some(name);
                }
                [address, weight] => {
                    let address = address.parse().map_err(|_| error("not an IP address"))?;
                    let weight = weight.parse().ok().filter(|weight| *weight > 0);
                    let weight = weight.ok_or(error("a weight is a number from 1 to 255"))?;
                    let name = current.as_ref().and_then(|name| weights.names.get_mut(name));
                    name.ok_or(error("an address before any name"))?.push((address, weight));
                }
                _ => return Err(error("more than an address and its weight")),
            }
        }
        Ok(weights)
    }

    /// Moves one address to the front, each chosen as often as its share of the weights.
    /// `random` is any number, equally likely.
    pub fn put_one_first(&self, owner: &Name, addresses: &mut [Record], random: u32) {
        let known = Domain::parse(&owner.to_ascii()).ok();
        let known = known.and_then(|name| self.names.get(&name)).map_or(&[][..], Vec::as_slice);
        let weight = |record: &Record| {
            let address = super::address(record);
            let entry = known.iter().find(|(listed, _)| Some(*listed) == address);
            entry.map_or(1, |(_, weight)| u64::from(*weight))
        };
        let total: u64 = addresses.iter().map(weight).sum();
        if total == 0 {
            return;
        }
        let mut left = u64::from(random) % total;
        let chosen = addresses.iter().position(|record| {
            let weight = weight(record);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        if let Some(chosen) = chosen {
            addresses.swap(0, chosen);
        }
    }
}

/// Reads `file` now and again every `period` (never, if that is 0) while the weights are in use. A
/// file that can't be read leaves the last good weights.
pub fn follow(file: &Path, period: Duration) -> Arc<ArcSwap<Weights>> {
    let weights = Arc::new(ArcSwap::from_pointee(Weights::default()));
    read_into(&weights, file);
    if !period.is_zero() {
        let (weak, file) = (Arc::downgrade(&weights), PathBuf::from(file));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(weights) = weak.upgrade() else { return };
                read_into(&weights, &file);
            }
        });
    }
    weights
}

fn read_into(weights: &ArcSwap<Weights>, file: &Path) {
    let place = file.display();
    match std::fs::read_to_string(file) {
        Ok(text) => match Weights::parse(&text) {
            Ok(read) => weights.store(Arc::new(read)),
            Err(error) => {
                tracing::error!(target: "plugin/loadbalance", "{place}: {error}; the last good weights stay");
            }
        },
        Err(error) => {
            tracing::warn!(target: "plugin/loadbalance", "can't read the weight file {place}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{RData, rdata::A};

    use super::*;

    fn record(last: u8) -> Record {
        let name = Name::from_ascii("www.example.org.").unwrap();
        Record::from_rdata(name, 5, RData::A(A([10, 0, 0, last].into())))
    }

    #[test]
    fn an_address_comes_first_as_often_as_it_weighs() {
        let text = "www.Example.org # ours\n10.0.0.1 3\n10.0.0.2 1\n";
        let weights = Weights::parse(text).unwrap();
        let owner = Name::from_ascii("WWW.example.org.").unwrap();
        let mut first = [0; 4];
        for random in 0..400 {
            let mut records = [record(1), record(2), record(3)];
            weights.put_one_first(&owner, &mut records, random);
            let RData::A(a) = &records[0].data else { panic!("an A record") };
            first[usize::from(a.0.octets()[3])] += 1;
        }
        assert_eq!(first, [0, 240, 80, 80]);
    }

    #[test]
    fn what_is_no_weight_is_refused_with_its_line() {
        for (text, line) in [
            ("10.0.0.1 3", 1),
            ("a.org\n10.0.0.1 0", 2),
            ("a.org\n10.0.0.1 256", 2),
            ("a.org\n10.0.0.300 1", 2),
            ("a.org\n\n10.0.0.1 1 1", 3),
            ("a.org\n10.0.0.1", 2),
            ("a..org", 1),
        ] {
            assert_eq!(Weights::parse(text).map_err(|e| e.line), Err(line), "{text:?}");
        }
    }
}
