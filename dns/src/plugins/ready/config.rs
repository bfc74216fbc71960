//! `ready [ADDRESS]`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;
use crate::corefile::values::HostPort;

/// The port without an address in the directive.
pub const DEFAULT_PORT: u16 = 8181;

const PROPERTIES: &[&str] = &["monitor"];

/// The settings of `ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `/ready` is served.
    pub address: HostPort,
    /// Until when plugins are asked.
    pub monitor: Monitor,
}

/// Until when a plugin is asked whether it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// Until it once was.
    UntilReady,
    /// Always.
    Continuously,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let mut config = Config { address: HostPort::any(DEFAULT_PORT), monitor: Monitor::UntilReady };
    if let Some([token]) = cx.args(line, 0..=1, "at most one argument, the address") {
        config.address = cx.host_port(token)?;
    }
    for property in cx.properties(line) {
        match &*property.name().text {
            "monitor" => {
                let modes =
                    [("until-ready", Monitor::UntilReady), ("continuously", Monitor::Continuously)];
                let token = cx.one(property, "one argument, until-ready or continuously");
                if let Some(monitor) =
                    token.and_then(|token| cx.choice(token, "a way to monitor", &modes))
                {
                    config.monitor = monitor;
                }
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}
