//! `rewrite name [HOW] FROM TO [metadata] [answer ...]`.

use super::{Args, HOWS, How, lower, normalized};
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::pattern::Pattern;
use crate::corefile::tree::Token;
use crate::plugins::metadata::is_label;
use crate::plugins::rewrite::{
    renaming::{Match, Piece, Renaming, Replacement, groups_used},
    reversal::{Part, Reversal, Swap},
    rule::NameRule,
};
use crate::wire::text;

/// Reads a rule for names.
pub(super) fn rule(args: &Args<'_>, cx: &mut Checker<'_>) -> Option<NameRule> {
    let words = args.of(2..=usize::MAX, "perhaps a way to match, a name, and another name", cx)?;
    let (how, from, to, rest) = match words {
        [from, to] => (How::Exact, from, to, &[][..]),
        [how, from, to, rest @ ..] => {
            (cx.choice(&lower(how), "a way to match a name", &HOWS)?, from, to, rest)
        }
        _ => return None,
    };
    let (metadata, rest) = match rest.split_first() {
        Some((first, rest)) if &*first.text == "metadata" => (Some(first), rest),
        _ => (None, rest),
    };
    if let Some(word) = metadata.filter(|_| how != How::Regex) {
        let cause = Cause::Conflict("`metadata` stands in rules of the form `name regex` only");
        cx.mistake(word.span, cause);
        return None;
    }
    let answers = answers(rest, cx);
    let renaming = match how {
        How::Regex => by_pattern(from, to, metadata.is_some(), cx)?,
        How::Exact | How::Suffix => {
            let (start, target) = (normalized(from), normalized(to));
            // The part of a name at its end may begin with a dot.
            let trimmed = |text: &str| match how {
                How::Suffix if text.len() > 1 => text.strip_prefix('.').unwrap_or(text).to_owned(),
                _ => text.to_owned(),
            };
            must_be_name(from, &trimmed(&start), cx)?;
            must_be_name(to, &trimmed(&target), cx)?;
            let start = if how == How::Exact { Match::Exact(start) } else { Match::Suffix(start) };
            Renaming { from: start, to: Replacement::text(&target) }
        }
        How::Prefix | How::Substring => {
            let start = normalized(from);
            let start =
                if how == How::Prefix { Match::Prefix(start) } else { Match::Substring(start) };
            Renaming { from: start, to: Replacement::text(&normalized(to)) }
        }
    };
    let (auto, answers) = answers?;
    Some(NameRule { renaming, auto: auto || how == How::Exact, answers })
}

/// Notes that `name`, which `token` stands for, is no domain name.
pub(super) fn must_be_name(token: &Token, name: &str, cx: &mut Checker<'_>) -> Option<()> {
    if text::name(name).is_none() {
        cx.not(token, "a domain name");
        return None;
    }
    Some(())
}

fn by_pattern(from: &Token, to: &Token, metadata: bool, cx: &mut Checker<'_>) -> Option<Renaming> {
    let pattern = Pattern::parse(from, cx)?;
    let groups = pattern.0.captures_len() - 1;
    let to = if metadata {
        Replacement(with_labels(to, groups, cx)?)
    } else {
        enough_groups(to, groups, cx)?;
        Replacement::with_groups(&normalized(to), groups)
    };
    Some(Renaming { from: Match::Regex(pattern), to })
}

/// Notes that the replacement uses groups that the pattern does not have.
fn enough_groups(to: &Token, groups: usize, cx: &mut Checker<'_>) -> Option<()> {
    if groups_used(&to.text) > groups {
        let cause = Cause::Value {
            found: to.text.to_string(),
            want: format!("a replacement for a pattern with {groups} groups"),
        };
        cx.mistake_with(to.span, cause, "`{1}` is what the first group in parentheses finds");
        return None;
    }
    Some(())
}

/// A replacement with `{1}` for groups and `{plugin/label}` for metadata.
fn with_labels(token: &Token, groups: usize, cx: &mut Checker<'_>) -> Option<Vec<Piece>> {
    let whole = text::absolute(&token.text);
    let mut rest = &*whole;
    let mut pieces = Vec::new();
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((inner, behind)) = behind.split_once('}').filter(|_| !before.contains('}')) else {
            cx.not(token, "a replacement whose braces come in pairs");
            return None;
        };
        pieces.push(Piece::Text(before.to_ascii_lowercase()));
        pieces.push(match inner.parse::<usize>() {
            Ok(group) if group <= groups => Piece::Group(group),
            Err(_) if is_label(inner) && !inner.contains('{') => Piece::Label(inner.to_owned()),
            _ => {
                let want = format!(
                    "a replacement: {{{inner}}} is neither a label such as {{plugin/name}} nor one of {groups} groups"
                );
                cx.not(token, want);
                return None;
            }
        });
        rest = behind;
    }
    if rest.contains('}') {
        cx.not(token, "a replacement whose braces come in pairs");
        return None;
    }
    pieces.push(Piece::Text(rest.to_ascii_lowercase()));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Some(pieces)
}

/// `answer auto`, `answer name FROM TO`, `answer value FROM TO`, several of them: whether the reply's names are
/// turned back, and what else is done with it. The word `answer` may be left out but for the first.
fn answers(words: &[Token], cx: &mut Checker<'_>) -> Option<(bool, Vec<Reversal>)> {
    let kinds = [("auto", None), ("name", Some(Part::Owner)), ("value", Some(Part::Value))];
    let mut auto: Option<&Token> = None;
    let mut reversals = Vec::new();
    let mut rest = words;
    if let Some(first) = words.first().filter(|first| &*first.text != "answer") {
        cx.not(first, "`answer`, which is all that may follow a rule's two names");
        return None;
    }
    while let Some((first, behind)) = rest.split_first() {
        let (kind, behind) = match behind.split_first() {
            _ if &*first.text != "answer" => (first, behind),
            Some((kind, behind)) => (kind, behind),
            None => {
                cx.not(first, "complete: `auto`, `name FROM TO` or `value FROM TO` follows it");
                return None;
            }
        };
        rest = match cx.choice(kind, "what of an answer is rewritten", &kinds)? {
            None => {
                auto = Some(kind);
                behind
            }
            Some(part) => {
                let [from, to, behind @ ..] = behind else {
                    cx.not(kind, "complete: a pattern and a replacement follow it");
                    return None;
                };
                let pattern = Pattern::parse(from, cx)?;
                let groups = pattern.0.captures_len() - 1;
                enough_groups(to, groups, cx)?;
                let to = Replacement::with_groups(&normalized(to), groups);
                let renaming = Renaming { from: Match::Regex(pattern), to };
                reversals.push(Reversal::Swap(part, Swap::Renaming(renaming)));
                behind
            }
        };
    }
    let names = reversals.iter().any(|r| matches!(r, Reversal::Swap(Part::Owner, _)));
    if let Some(word) = auto.filter(|_| names) {
        cx.mistake(
            word.span,
            Cause::Conflict("`answer auto` and `answer name` exclude each other"),
        );
        return None;
    }
    Some((auto.is_some(), reversals))
}
