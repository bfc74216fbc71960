//! `autopath [ZONES...] FILE|@kubernetes`.

use std::path::Path;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::source::Span;
use crate::corefile::tree::{Line, Token};

/// The machine's own search path, which `@kubernetes` appends.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The settings of `autopath`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names in these are looked at.
    pub zones: Vec<Domain>,
    /// Where the search path comes from.
    pub search: Search,
    /// Where the directive stands.
    pub place: Span,
}

/// Where the search path comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// From the file that the Corefile names; the same for all clients.
    Fixed(Vec<Domain>),
    /// By the namespace of the client's pod, and behind it the machine's own.
    Kubernetes(Vec<Domain>),
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let arguments = cx.some(line, "a file like resolv.conf, or @kubernetes")?;
    let (source, zones) = arguments.split_last()?;
    let search = search(source, cx)?;
    Some(Config { zones: cx.zones_or_served(zones), search, place: line.span() })
}

fn search(token: &Token, cx: &mut Checker<'_>) -> Option<Search> {
    match token.text.strip_prefix('@') {
        Some("kubernetes") => {
            // A machine without the file has no search path.
            let text = cx.file(Path::new(RESOLV_CONF)).unwrap_or_default();
            Some(Search::Kubernetes(search_line(&String::from_utf8_lossy(&text))))
        }
        Some(_) => {
            cx.not(token, "a plugin that knows search paths: @kubernetes");
            None
        }
        // As in CoreDNS the block's `root` does not count here.
        None => match cx.file(Path::new(&*token.text)) {
            Ok(text) => Some(Search::Fixed(search_line(&String::from_utf8_lossy(&text)))),
            Err(error) => {
                let reason = format!("a file that can be read: {error}");
                let cause = Cause::Value { found: token.text.to_string(), want: reason };
                cx.mistake_with(
                    token.span,
                    cause,
                    "name a file with a `search` line, or write @kubernetes",
                );
                None
            }
        },
    }
}

/// The domains of the last `search` or `domain` line (resolv.conf(5)); what is no domain is left out.
fn search_line(text: &str) -> Vec<Domain> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let most = match words.next() {
            Some("search") => usize::MAX,
            Some("domain") => 1,
            _ => continue,
        };
        found = words.take(most).filter_map(|word| Domain::parse(word).ok()).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_line_counts() {
        let text = "nameserver 10.0.0.1\ndomain a.test b.test\n# search x\nsearch One.test. two.test .. \n";
        let found: Vec<String> = search_line(text).iter().map(Domain::to_string).collect();
        assert_eq!(found, ["one.test.", "two.test."]);
        assert_eq!(search_line("domain a.test b.test").len(), 1);
        assert!(search_line("options ndots:5").is_empty());
    }
}
