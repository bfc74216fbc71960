//! `prometheus [ADDRESS]`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;
use crate::corefile::values::{Host, HostPort};

/// The port without an address in the directive; the host is `localhost` then.
pub const DEFAULT_PORT: u16 = 9153;

const PROPERTIES: &[&str] = &["runtime_metrics", "tls"];

/// The settings of `prometheus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `/metrics` is served.
    pub address: HostPort,
    /// Whether metrics of the runtime were asked for.
    pub runtime_metrics: bool,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let address = HostPort { host: Host::Name("localhost".into()), port: DEFAULT_PORT };
    let mut config = Config { address, runtime_metrics: false };
    if let Some([token]) = cx.args(line, 0..=1, "at most one argument, the address") {
        config.address = cx.host_port(token)?;
    }
    for property in cx.properties(line) {
        match &*property.name().text {
            "runtime_metrics" => config.runtime_metrics |= cx.none(property),
            "tls" => {
                if cx.one(property, "one argument, a file").is_some() {
                    cx.not_yet(property.span(), "`tls` for metrics");
                }
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}
