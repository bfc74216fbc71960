//! `local [{ localhost_prefix on|off }]`.

use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// The settings of `local`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether names that begin with `localhost.` are this machine too.
    pub prefix: bool,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.none(line);
    let mut config = Config { prefix: true };
    for property in cx.properties(line) {
        match &*property.name().text {
            "localhost_prefix" => {
                let token = cx.one(property, "one argument, `on` or `off`");
                let choices = [("on", true), ("off", false)];
                let prefix = token.and_then(|token| cx.choice(token, "a switch", &choices));
                config.prefix = prefix.unwrap_or(config.prefix);
            }
            _ => cx.unknown(property, &["localhost_prefix"]),
        }
    }
    Some(config)
}
