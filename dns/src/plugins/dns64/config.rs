//! `dns64 [PREFIX] [{ prefix PREFIX, translate_all, allow_ipv4 }]`.

use std::net::Ipv6Addr;

use ipnetwork::Ipv6Network;

use super::prefix::Prefix;
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::tree::{Line, Token};

/// The well-known prefix, 64:ff9b::/96 (RFC 6052 §2.1).
const WELL_KNOWN: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// The settings of `dns64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Where IPv4 addresses are put.
    pub prefix: Prefix,
    /// Whether names that have IPv6 addresses are translated too.
    pub translate_all: bool,
    /// Whether clients that ask over IPv4 get translated addresses.
    pub allow_ipv4: bool,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let well_known = Prefix::new(WELL_KNOWN, 96)?;
    let mut config = Config { prefix: well_known, translate_all: false, allow_ipv4: false };
    if let Some([token]) = cx.args(line, 0..=1, "nothing, or a prefix") {
        config.prefix = prefix(token, cx).unwrap_or(config.prefix);
        if let Some(block) = &line.block {
            let cause =
                Cause::Conflict("a prefix on the directive's line leaves no room for a block");
            cx.mistake_with(block.open, cause, "write `prefix` in the block, as CoreDNS wants it");
            return None;
        }
    }
    for property in cx.properties(line) {
        match &*property.name().text {
            "prefix" => {
                let token = cx.one(property, "one argument, a prefix");
                config.prefix = token.and_then(|token| prefix(token, cx)).unwrap_or(config.prefix);
            }
            "translate_all" => config.translate_all |= cx.none(property),
            "allow_ipv4" => config.allow_ipv4 |= cx.none(property),
            _ => cx.unknown(property, &["prefix", "translate_all", "allow_ipv4"]),
        }
    }
    Some(config)
}

fn prefix(token: &Token, cx: &mut Checker<'_>) -> Option<Prefix> {
    let network = token.text.parse::<Ipv6Network>().ok().filter(|_| token.text.contains('/'));
    let prefix = network.and_then(|network| Prefix::new(network.network(), network.prefix()));
    if prefix.is_none() {
        cx.not(token, "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, such as `64:ff9b::/96`");
    }
    prefix
}
