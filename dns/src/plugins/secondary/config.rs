//! `secondary [ZONES...] { transfer from ADDRESS..., fallthrough [ZONES...] }`.

use std::net::SocketAddr;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::tree::Line;

/// The settings of all `secondary` directives of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Zones and where they come from, in the order in which primaries are tried.
    pub zones: Vec<(Domain, Vec<SocketAddr>)>,
    /// Names in these that are not found go to the next plugin.
    pub fallthrough: Vec<Domain>,
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
            "catalog" => cx.not_yet(property.span(), "`catalog` of `secondary`"),
            "fallthrough" => fallthrough = cx.zones_or_root(property.args()),
            _ => cx.unknown(property, &["transfer", "catalog", "fallthrough"]),
        }
    }
    if !has_transfer {
        let cause = Cause::Conflict("`secondary` needs somebody to get its zones from");
        cx.mistake_with(line.span(), cause, "write `transfer from` and addresses in its block");
        return None;
    }
    let zones = zones.into_iter().map(|zone| (zone, primaries.clone())).collect();
    Some(Config { zones, fallthrough })
}
