//! A hosts file: reading it, and noticing that it changed.

use std::{io, path::Path, time::SystemTime};

use super::entries::{Entries, parse_address};
use crate::corefile::domain::Domain;

/// Octets of the longest hosts file that is read.
const MAX_FILE: u64 = 64 << 20;

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Its modification time.
    pub modified: SystemTime,
    size: u64,
}

/// The stamp of a file.
///
/// # Errors
/// If it is not there or may not be looked at.
pub fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok(Stamp { modified: metadata.modified()?, size: metadata.len() })
}

/// Reads a file's entries, those outside `zones` left out.
///
/// # Errors
/// If it can't be read, or is longer than 64 MiB.
pub fn read(path: &Path, zones: &[Domain]) -> io::Result<Entries> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 64 MiB"));
    }
    Ok(parse(&String::from_utf8_lossy(&std::fs::read(path)?), zones))
}

/// The entries of a hosts file (hosts(5)). A line that pairs nothing is passed over: the machine's
/// own file may hold what only the C library understands.
pub fn parse(text: &str, zones: &[Domain]) -> Entries {
    let mut entries = Entries::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(parse_address) else { continue };
        for name in words.filter_map(|name| Domain::parse(name).ok()) {
            if zones.iter().any(|zone| zone.contains(&name)) {
                entries.add(address, name);
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_pair_an_address_with_names_in_the_zones() {
        let text = "# comment\n127.0.0.1 localhost a.example.org # b.example.org\n\
                    fe80::1%eth0  A.example.ORG\nnonsense x\n\n10.0.0.1\n";
        let zones = [Domain::parse("example.org").unwrap()];
        let entries = parse(text, &zones);
        let name = Domain::parse("a.example.org").unwrap();
        assert_eq!(entries.v4(&name), ["127.0.0.1".parse::<std::net::Ipv4Addr>().unwrap()]);
        assert_eq!(entries.v6(&name), ["fe80::1".parse::<std::net::Ipv6Addr>().unwrap()]);
        assert_eq!(entries.iter().count(), 2);
    }
}
