//! `rewrite [continue|stop] FIELD ...`, on its line or in braces.

mod edns;
mod names;

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::renaming::{Match, Renaming, Replacement};
use super::rule::{Action, Rule};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::pattern::Pattern;
use crate::corefile::tree::{Line, Token};
use crate::wire::{mnemonics, text};

/// Seconds that a TTL without an upper bound may have (RFC 2181 §8).
const MAX_TTL: u32 = i32::MAX as u32;

/// The settings of all `rewrite` directives of a server block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one, in the order of the file.
    pub(super) rules: Vec<Rule>,
}

impl Config {
    /// Takes in the rules of a further directive.
    pub(crate) fn extend(&mut self, more: Config) {
        self.rules.extend(more.rules);
    }
}

/// How a rule finds its names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

const HOWS: [(&str, How); 5] = [
    ("exact", How::Exact),
    ("prefix", How::Prefix),
    ("suffix", How::Suffix),
    ("substring", How::Substring),
    ("regex", How::Regex),
];

/// Reads one directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let words = words(line, cx);
    let (goes_on, rest) = match words.split_first() {
        Some((first, rest)) if first.text.eq_ignore_ascii_case("continue") => (true, rest),
        Some((first, rest)) if first.text.eq_ignore_ascii_case("stop") => (false, rest),
        _ => (false, &words[..]),
    };
    let fields = [
        ("name", Field::Name),
        ("type", Field::Type),
        ("class", Field::Class),
        ("ttl", Field::Ttl),
        ("rcode", Field::Rcode),
        ("cname", Field::Cname),
        ("edns0", Field::Edns),
        ("answer", Field::Answer),
    ];
    let Some((field, args)) = rest.split_first() else {
        let want = "what to rewrite: name, type, class, ttl, rcode, cname or edns0".to_owned();
        let (name, found) = (line.name().text.to_string(), words.len());
        cx.mistake(line.span(), Cause::Arguments { name, want, found });
        return None;
    };
    let args = Args { field, words: args };
    let action = match cx.choice(&lower(field), "what can be rewritten", &fields)? {
        Field::Name => names::rule(&args, cx).map(Action::Name),
        Field::Type => swap(&args, cx, "a type", mnemonics::rtype).map(|(a, b)| Action::Type(a, b)),
        Field::Class => {
            swap(&args, cx, "a class", mnemonics::class).map(|(a, b)| Action::Class(a, b))
        }
        Field::Ttl => ttl(&args, cx),
        Field::Rcode => rcode(&args, cx),
        Field::Cname => cname(&args, cx),
        Field::Edns => edns::rule(&args, cx).map(Action::Edns),
        Field::Answer => {
            let cause = Cause::Conflict("`answer` stands in a rule for a name");
            cx.mistake_with(field.span, cause, "write `rewrite name ... answer ...`");
            None
        }
    };
    Some(Config { rules: vec![Rule { goes_on, action: action? }] })
}

#[derive(Clone, Copy)]
enum Field {
    Name,
    Type,
    Class,
    Ttl,
    Rcode,
    Cname,
    Edns,
    Answer,
}

/// The words behind a field.
struct Args<'a> {
    field: &'a Token,
    words: &'a [Token],
}

impl<'a> Args<'a> {
    /// The words if there are as many as `count`, which `want` puts in words.
    fn of(
        &self,
        count: RangeInclusive<usize>,
        want: &str,
        cx: &mut Checker<'_>,
    ) -> Option<&'a [Token]> {
        let found = self.words.len();
        if count.contains(&found) {
            return Some(self.words);
        }
        let surplus = self.words.get(*count.end());
        let last = self.words.last().unwrap_or(self.field).span;
        let span = surplus.map_or(self.field.span.to(last), |surplus| surplus.span.to(last));
        let name = format!("rewrite {}", self.field.text);
        cx.mistake(span, Cause::Arguments { name, want: want.to_owned(), found });
        None
    }
}

/// The words of a rule: those on the directive's line, and where that has none or one, those in its block too.
fn words(line: &Line, cx: &mut Checker<'_>) -> Vec<Token> {
    let mut words = line.args().to_vec();
    if words.len() >= 2 {
        cx.no_block(line);
        return words;
    }
    for inner in line.lines() {
        cx.no_block(inner);
        words.extend(inner.tokens.iter().cloned());
    }
    words
}

/// The word in lower case: where CoreDNS takes any case.
fn lower(token: &Token) -> Token {
    Token { text: token.text.to_ascii_lowercase().into(), ..token.clone() }
}

/// Text in lower case with a dot at its end, which is what CoreDNS compares with names.
fn normalized(token: &Token) -> String {
    text::absolute(&token.text).to_ascii_lowercase()
}

/// Which names: a word for how, and one for what.
fn matching(how: Option<&Token>, what: &Token, cx: &mut Checker<'_>) -> Option<Match> {
    let how = match how {
        Some(how) => cx.choice(&lower(how), "a way to match a name", &HOWS)?,
        None => How::Exact,
    };
    Some(match how {
        How::Exact => Match::Exact(normalized(what)),
        How::Prefix => Match::Prefix(normalized(what)),
        How::Suffix => Match::Suffix(normalized(what)),
        How::Substring => Match::Substring(normalized(what)),
        How::Regex => Match::Regex(Pattern::parse(what, cx)?),
    })
}

fn swap(
    args: &Args<'_>,
    cx: &mut Checker<'_>,
    want: &str,
    number: fn(&str) -> Option<u16>,
) -> Option<(u16, u16)> {
    let words = args.of(2..=2, "two arguments, what to change and into what", cx)?;
    let mut read = |token: &Token| {
        let found = number(&token.text.to_ascii_uppercase());
        if found.is_none() {
            cx.not(token, want);
        }
        found
    };
    let (from, to) = (read(&words[0]), read(&words[1]));
    Some((from?, to?))
}

fn ttl(args: &Args<'_>, cx: &mut Checker<'_>) -> Option<Action> {
    let words = args.of(2..=3, "perhaps a way to match, a name, and a TTL", cx)?;
    let [how @ .., name, bounds] = words else { return None };
    let names = matching(how.first(), name, cx);
    let (least, most) = ttl_bounds(bounds, cx)?;
    Some(Action::Ttl { names: names?, least, most })
}

/// `N`, `MIN-MAX`, `MIN-` or `-MAX`.
fn ttl_bounds(token: &Token, cx: &mut Checker<'_>) -> Option<(u32, u32)> {
    let number = |text: &str| {
        text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse::<u32>().ok())?
    };
    let bounds = match token.text.split_once('-') {
        None => number(&token.text).map(|ttl| (ttl, ttl)),
        Some(("", "")) => None,
        Some((least, most)) => {
            let least = if least.is_empty() { Some(0) } else { number(least) };
            let most = if most.is_empty() { Some(MAX_TTL) } else { number(most) };
            least.zip(most).filter(|(least, most)| least <= most)
        }
    };
    if bounds.is_none() {
        let want = "a TTL in seconds, or bounds for one: `30`, `30-300`, `30-`, `-300`";
        cx.not(token, want);
    }
    bounds
}

fn rcode(args: &Args<'_>, cx: &mut Checker<'_>) -> Option<Action> {
    let words = args.of(3..=4, "perhaps a way to match, a name, and two response codes", cx)?;
    let [how @ .., name, old, new] = words else { return None };
    let names = matching(how.first(), name, cx);
    let mut code = |token: &Token| {
        let number = token.text.parse().ok().filter(|number: &u16| *number <= 23);
        let found = number.or_else(|| mnemonics::rcode(&token.text.to_ascii_uppercase()));
        if found.is_none() {
            cx.not(token, "a response code, by its name or its number up to 23");
        }
        found
    };
    let (old, new) = (code(old), code(new));
    Some(Action::Rcode { names: names?, old: old?, new: new? })
}

fn cname(args: &Args<'_>, cx: &mut Checker<'_>) -> Option<Action> {
    let words = args.of(2..=3, "perhaps a way to match, a target, and another target", cx)?;
    let [how @ .., from, to] = words else { return None };
    let how = match how.first() {
        Some(how) => cx.choice(&lower(how), "a way to match a target", &HOWS)?,
        None => How::Exact,
    };
    let (start, target) = (from.text.to_ascii_lowercase(), to.text.to_ascii_lowercase());
    if start.is_empty() || target.is_empty() {
        cx.not(if start.is_empty() { from } else { to }, "a name");
        return None;
    }
    let renaming = |from, to: &str| Renaming { from, to: Replacement::text(to) };
    let renaming = match how {
        How::Exact => {
            names::must_be_name(to, &normalized(to), cx)?;
            renaming(Match::Exact(normalized(from)), &normalized(to))
        }
        How::Prefix => renaming(Match::Prefix(start), &target),
        How::Suffix => renaming(Match::Suffix(start), &target),
        How::Substring => renaming(Match::Substring(start), &target),
        How::Regex => {
            if has_capital_escape(&from.text) {
                let cause = Cause::Conflict("patterns of `rewrite cname` are read in lower case");
                let help = "`\\S` would mean `\\s`; write a bracket expression such as `[^ ]`";
                cx.mistake_with(from.span, cause, help);
                return None;
            }
            let pattern = Pattern::parse(&lower(from), cx)?;
            let groups = pattern.0.captures_len() - 1;
            Renaming { from: Match::Regex(pattern), to: Replacement::with_groups(&target, groups) }
        }
    };
    Some(Action::Cname(Arc::new(renaming)))
}

/// Whether an escape of the pattern means something else in lower case.
fn has_capital_escape(pattern: &str) -> bool {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && letters.next().is_some_and(|escaped| escaped.is_ascii_uppercase()) {
            return true;
        }
    }
    false
}
