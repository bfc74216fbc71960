//! `loadbalance [round_robin | weighted FILE]`.

use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::corefile::checker::Checker;
use crate::corefile::tree::{Line, Token};

/// Time between two looks at the weight file when none is given.
pub const DEFAULT_RELOAD: Duration = Duration::from_secs(30);

/// The settings of `loadbalance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How the order is chosen.
    pub policy: Policy,
    /// Addresses in these networks come first, those of the first network before those of the second.
    pub prefer: Vec<IpNetwork>,
}

/// How the order of addresses in an answer is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// At random, each order as likely as the others.
    RoundRobin,
    /// At random, by weights.
    Weighted {
        /// The file with the weights.
        file: PathBuf,
        /// Time between two looks at it; 0 reads it once.
        reload: Duration,
    },
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let mut config = Config { policy: policy(line, cx)?, prefer: Vec::new() };
    for property in cx.properties(line) {
        match (&*property.name().text, &mut config.policy) {
            ("prefer", Policy::RoundRobin) => {
                for token in cx.some(property, "one or more networks").unwrap_or_default() {
                    config.prefer.extend(network(token, cx));
                }
            }
            ("reload", Policy::Weighted { reload, .. }) => {
                let token = cx.one(property, "one argument, a duration");
                *reload =
                    token.and_then(|token| cx.duration(token, "reload")).unwrap_or(DEFAULT_RELOAD);
            }
            (_, Policy::RoundRobin) => cx.unknown(property, &["prefer"]),
            (_, Policy::Weighted { .. }) => cx.unknown(property, &["reload"]),
        }
    }
    Some(config)
}

fn policy(line: &Line, cx: &mut Checker<'_>) -> Option<Policy> {
    let Some(name) = line.args().first() else { return Some(Policy::RoundRobin) };
    let weighted = cx.choice(name, "a policy", &[("round_robin", false), ("weighted", true)])?;
    if weighted {
        let args = cx.args(line, 2..=2, "`weighted` and one file")?;
        return Some(Policy::Weighted { file: cx.path(&args[1]), reload: DEFAULT_RELOAD });
    }
    cx.args(line, 1..=1, "nothing after `round_robin`").map(|_| Policy::RoundRobin)
}

fn network(token: &Token, cx: &mut Checker<'_>) -> Option<IpNetwork> {
    let network = token.text.parse().ok().filter(|_| token.text.contains('/'));
    if network.is_none() {
        cx.not(token, "a network, such as `10.0.0.0/8`");
    }
    network
}
