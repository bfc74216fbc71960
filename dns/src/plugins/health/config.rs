//! `health [ADDRESS]`.

use std::time::Duration;

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;
use crate::corefile::values::HostPort;

/// The port without an address in the directive.
pub const DEFAULT_PORT: u16 = 8080;

const PROPERTIES: &[&str] = &["lameduck"];

/// The settings of `health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `/health` is served.
    pub address: HostPort,
    /// How long the server goes on answering after it was asked to stop; 0 without `lameduck`.
    pub lameduck: Duration,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let mut config = Config { address: HostPort::any(DEFAULT_PORT), lameduck: Duration::ZERO };
    if let Some([token]) = cx.args(line, 0..=1, "at most one argument, the address") {
        config.address = cx.host_port(token)?;
    }
    for property in cx.properties(line) {
        match &*property.name().text {
            "lameduck" => {
                let token = cx.one(property, "one argument, a duration");
                config.lameduck =
                    token.and_then(|token| cx.duration(token, "lameduck")).unwrap_or_default();
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}
