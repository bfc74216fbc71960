//! What a plugin's `config.rs` reads its directive with: arguments of the right number and kind, with every
//! mistake noted at its word. A reader returns `None` after it noted one.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::{Address, MAX_ZONES};
use super::cause::{AddressReason, Cause};
use super::domain::Domain;
use super::mistake::{Finding, Findings};
use super::nearest;
use super::source::{Reader, Span};
use super::tree::{Line, Token};
use super::values::{HostPort, parse_duration, parse_port, split_host_port, to_duration};

/// Notes mistakes of one directive.
pub struct Checker<'a> {
    plugin: &'static str,
    zones: &'a [Domain],
    /// The folder that relative paths begin in; empty without `root`.
    root: &'a Path,
    reader: &'a dyn Reader,
    findings: &'a mut Findings,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        plugin: &'static str,
        zones: &'a [Domain],
        root: &'a Path,
        reader: &'a dyn Reader,
        findings: &'a mut Findings,
    ) -> Self {
        Self { plugin, zones, root, reader, findings }
    }

    /// The zones of the server block, in the order of its addresses.
    pub fn zones(&self) -> &'a [Domain] {
        self.zones
    }

    /// The file or folder that `token` names, below the block's `root` if it is relative.
    pub fn path(&self, token: &Token) -> PathBuf {
        self.below_root(&token.text)
    }

    /// A path below the block's `root`, if it is relative.
    pub fn below_root(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Whether there is anything at `path`.
    pub fn exists(&self, path: &Path) -> bool {
        self.reader.exists(path)
    }

    /// The file at `path`, if it can be read. The caller says what it means when it cannot.
    pub fn file(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.reader.read(path)
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, span: Span, cause: Cause) {
        self.findings.push(Finding::new(span, cause));
    }

    /// Notes a mistake with its remedy.
    pub fn mistake_with(&mut self, span: Span, cause: Cause, help: impl Into<String>) {
        self.findings.push(Finding::new(span, cause).help(help));
    }

    /// Notes something that is allowed and has no effect.
    pub fn warn(&mut self, span: Span, text: &'static str) {
        self.findings.push(Finding::warning(span, Cause::Ineffective(text)));
    }

    /// Notes that `token` is not `want`.
    pub fn not(&mut self, token: &Token, want: impl Into<String>) {
        self.mistake(token.span, Cause::Value { found: token.text.to_string(), want: want.into() });
    }

    /// Notes that CoreDNS has `what` and we do not.
    pub fn not_yet(&mut self, span: Span, what: impl Into<String>) {
        self.mistake(span, Cause::NotYet { what: what.into() });
    }

    /// The lines of the directive's block; none of them may have a block itself.
    pub fn properties<'l>(&mut self, line: &'l Line) -> &'l [Line] {
        for property in line.lines() {
            self.no_block(property);
        }
        line.lines()
    }

    /// Notes a block that does not belong.
    pub fn no_block(&mut self, line: &Line) {
        if let Some(block) = &line.block {
            self.mistake(block.open, Cause::NoBlock { name: line.name().text.to_string() });
        }
    }

    /// Notes that the plugin has no such property, and which one it may have meant.
    pub fn unknown(&mut self, line: &Line, known: &[&str]) {
        let found = &line.name().text;
        let mut finding = Finding::new(
            line.name().span,
            Cause::UnknownProperty { plugin: self.plugin, found: found.to_string() },
        );
        if let Some(near) = nearest(found, known.iter().copied()) {
            finding = finding.help(format!("did you mean `{near}`?"));
        } else if !known.is_empty() {
            finding = finding.help(format!("it has {}", known.join(", ")));
        }
        self.findings.push(finding);
    }

    /// The arguments if there are as many as `count`, which `want` puts in words.
    pub fn args<'l>(
        &mut self,
        line: &'l Line,
        count: RangeInclusive<usize>,
        want: &str,
    ) -> Option<&'l [Token]> {
        let found = line.args().len();
        if count.contains(&found) {
            return Some(line.args());
        }
        let span = line
            .args()
            .get(*count.end())
            .map_or(line.span(), |surplus| surplus.span.to(line.span()));
        self.mistake(
            span,
            Cause::Arguments { name: line.name().text.to_string(), want: want.to_owned(), found },
        );
        None
    }

    /// The only argument.
    pub fn one<'l>(&mut self, line: &'l Line, want: &str) -> Option<&'l Token> {
        self.args(line, 1..=1, want).map(|args| &args[0])
    }

    /// At least one argument.
    pub fn some<'l>(&mut self, line: &'l Line, want: &str) -> Option<&'l [Token]> {
        self.args(line, 1..=usize::MAX, want)
    }

    /// Whether there are no arguments, as it should be.
    pub fn none(&mut self, line: &Line) -> bool {
        self.args(line, 0..=0, "no arguments").is_some()
    }

    /// A whole number within `range`; `what` names it in the message.
    pub fn integer<T>(&mut self, token: &Token, what: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let text = token.text.strip_prefix('+').unwrap_or(&token.text);
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.not(
                token,
                format!("a whole number: {what} is from {} to {}", range.start(), range.end()),
            );
            return None;
        }
        let number = text.parse::<i64>().ok().and_then(|number| T::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(token, what, &format!("from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// A length of time in Go's syntax, zero or more.
    pub fn duration(&mut self, token: &Token, what: &str) -> Option<Duration> {
        let Some(nanos) = parse_duration(&token.text) else {
            let number =
                token.text.bytes().all(|byte| byte.is_ascii_digit()) && !token.text.is_empty();
            let cause =
                Cause::Value { found: token.text.to_string(), want: "a duration".to_owned() };
            let help = if number {
                format!("did you mean `{}s`?", token.text)
            } else {
                "write it like `500ms`, `5s` or `1h30m`".to_owned()
            };
            self.mistake_with(token.span, cause, help);
            return None;
        };
        let duration = to_duration(nanos);
        if duration.is_none() {
            self.out_of_range(token, what, "0s or more");
        }
        duration
    }

    /// A length of time above zero.
    pub fn positive_duration(&mut self, token: &Token, what: &str) -> Option<Duration> {
        let duration = self.duration(token, what)?;
        if duration.is_zero() {
            self.out_of_range(token, what, "more than 0s");
            return None;
        }
        Some(duration)
    }

    /// Notes that a number is outside `range`.
    pub fn out_of_range(&mut self, token: &Token, what: &str, range: &str) {
        let (what, found) = (what.to_owned(), token.text.to_string());
        self.mistake(token.span, Cause::Range { what, range: range.to_owned(), found });
    }

    /// An address without port or interface.
    pub fn ip(&mut self, token: &Token) -> Option<IpAddr> {
        let ip = token.text.parse().ok();
        if ip.is_none() {
            self.not(token, "an IP address");
        }
        ip
    }

    /// `IP`, which is port 53 of it, or `IP:PORT`.
    pub fn socket_address(&mut self, token: &Token) -> Option<SocketAddr> {
        let plain = token.text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53));
        let with_port = || {
            let (host, port) = split_host_port(&token.text)?;
            Some(SocketAddr::new(host.parse().ok()?, parse_port(port).filter(|&port| port != 0)?))
        };
        let found = plain.or_else(with_port);
        if found.is_none() {
            self.not(token, "an IP address, with or without a port");
        }
        found
    }

    /// `host:port`, where the host may be missing.
    pub fn host_port(&mut self, token: &Token) -> Option<HostPort> {
        let found = HostPort::parse(&token.text);
        if found.is_none() {
            let cause = Cause::Value {
                found: token.text.to_string(),
                want: "an address with a port".to_owned(),
            };
            self.mistake_with(
                token.span,
                cause,
                "write it like `:8080`, `127.0.0.1:8080` or `[::1]:8080`",
            );
        }
        found
    }

    /// A domain name.
    pub fn domain(&mut self, token: &Token) -> Option<Domain> {
        match Domain::parse(&token.text) {
            Ok(domain) => Some(domain),
            Err(error) => {
                let reason = AddressReason::Domain(error);
                self.mistake(token.span, Cause::Address { text: token.text.to_string(), reason });
                None
            }
        }
    }

    /// Zones: names and networks, the latter as their reverse zones. As in CoreDNS a scheme and a port may stand
    /// with them and count for nothing.
    pub fn zone_list(&mut self, tokens: &[Token]) -> Vec<Domain> {
        let mut zones = Vec::new();
        for token in tokens {
            match Address::parse(&token.text, token.span) {
                Ok(address) => zones.extend(address.zones),
                Err(reason) => self
                    .mistake(token.span, Cause::Address { text: token.text.to_string(), reason }),
            }
            if zones.len() > MAX_ZONES {
                self.mistake(token.span, Cause::TooLarge { what: "zones", most: MAX_ZONES });
                break;
            }
        }
        zones
    }

    /// The zones in the arguments, or the server block's if there are none.
    pub fn zones_or_served(&mut self, tokens: &[Token]) -> Vec<Domain> {
        if tokens.is_empty() { self.zones.to_vec() } else { self.zone_list(tokens) }
    }

    /// The zones in the arguments, or the root, which is all.
    pub fn zones_or_root(&mut self, tokens: &[Token]) -> Vec<Domain> {
        if tokens.is_empty() { vec![Domain::root()] } else { self.zone_list(tokens) }
    }

    /// One of some words, or a mistake that lists them.
    pub fn choice<T: Copy>(
        &mut self,
        token: &Token,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        self.choose(token, &token.text, what, choices)
    }

    /// As [`Checker::choice`], where the case of letters does not matter.
    pub fn choice_in_any_case<T: Copy>(
        &mut self,
        token: &Token,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        self.choose(token, &token.text.to_ascii_lowercase(), what, choices)
    }

    fn choose<T: Copy>(
        &mut self,
        token: &Token,
        found: &str,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == found) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let cause = Cause::Value {
            found: token.text.to_string(),
            want: format!("{what}: {}", names.join(", ")),
        };
        let mut finding = Finding::new(token.span, cause);
        if let Some(near) = nearest(&token.text, names) {
            finding = finding.help(format!("did you mean `{near}`?"));
        }
        self.findings.push(finding);
        None
    }
}
