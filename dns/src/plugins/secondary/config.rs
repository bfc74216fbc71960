//! `secondary [ZONES...] { transfer from ADDRESS..., catalog [ZONES...], fallthrough [ZONES...] }`.

use std::net::SocketAddr;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The settings of all `secondary` directives of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The zones.
    pub zones: Vec<Zone>,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
}

/// A zone from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: Domain,
    /// Where it comes from, in the order in which they are tried.
    pub primaries: Vec<SocketAddr>,
    /// If it is a catalog: the zones that its members are to be in, or none for all.
    pub catalog: Option<Vec<Domain>>,
}

impl Config {
    /// Takes in another directive. As in CoreDNS `fallthrough` is one for all.
    pub(crate) fn absorb(&mut self, more: Self) {
        self.zones.extend(more.zones);
        if !more.fallthrough.is_empty() {
            self.fallthrough = more.fallthrough;
        }
    }
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let zones = cx.zones_or_served(line.args());
    let (mut primaries, mut fallthrough, mut has_transfer) = (Vec::new(), Vec::new(), false);
    let mut catalog: Option<Vec<Domain>> = None;
    for property in cx.properties(line) {
        match &*property.name().text {
            "transfer" => {
                has_transfer = true;
                let arguments = cx.some(property, "`from` and one or more addresses");
                let Some([from, addresses @ ..]) = arguments else { continue };
                if &*from.text != "from" || addresses.is_empty() {
                    let want = "`from`, and one or more addresses behind it";
                    cx.not(from, want);
                    continue;
                }
                primaries.extend(addresses.iter().filter_map(|token| cx.socket_address(token)));
            }
            "catalog" => {
                let more = cx.zone_list(property.args());
                catalog = Some(match catalog {
                    // One of them takes all members.
                    Some(zones) if zones.is_empty() || more.is_empty() => Vec::new(),
                    Some(zones) => [zones, more].concat(),
                    None => more,
                });
            }
            "fallthrough" => fallthrough = cx.zones_or_root(property.args()),
            _ => cx.unknown(property, &["transfer", "catalog", "fallthrough"]),
        }
    }
    if !has_transfer {
        let cause = Cause::Conflict("`secondary` needs somebody to get its zones from");
        cx.mistake_with(line.span(), cause, "write `transfer from` and addresses in its block");
        return None;
    }
    let zone = |name| Zone { name, primaries: primaries.clone(), catalog: catalog.clone() };
    Some(Config { zones: zones.into_iter().map(zone).collect(), fallthrough })
}
