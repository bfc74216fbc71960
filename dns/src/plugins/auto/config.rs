//! `auto [ZONES...] { directory DIR [REGEXP TEMPLATE], reload DURATION }`.

use std::path::PathBuf;
use std::time::Duration;

use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::domain::Domain;
use crate::corefile::pattern::Pattern;
use crate::corefile::tree::{Line, Token};

/// How often the folder is looked at when nothing else is said.
const RELOAD: Duration = Duration::from_secs(60);
/// Which files are zones, and of which name, when nothing else is said.
const PATTERN: &str = r"db\.(.*)";
const TEMPLATE: &str = "{1}";

/// The settings of `auto`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names outside these are not looked at, whatever zones there are.
    pub zones: Vec<Domain>,
    /// Where the files are, at any depth.
    pub directory: PathBuf,
    /// What a file's name has somewhere in it.
    pub pattern: Pattern,
    /// The zone's name, in the form that [`regex::Captures::expand`] takes.
    pub template: String,
    /// How often the folder is looked at; 0 for never.
    pub reload: Duration,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let zones = cx.zones_or_served(line.args());
    let (mut directory, mut reload) = (None, RELOAD);
    let mut named = (Pattern::new(PATTERN).ok()?, expandable(TEMPLATE));
    for property in cx.properties(line) {
        match &*property.name().text {
            "directory" => {
                let want = "a folder, and perhaps a pattern and a zone name";
                let Some([folder, naming @ ..]) = cx.args(property, 1..=3, want) else { continue };
                let path = cx.path(folder);
                if !cx.exists(&path) {
                    cx.warn(folder.span, "there is no such folder yet");
                }
                directory = Some(path);
                match naming {
                    [] => {}
                    [pattern, template] => {
                        named = naming_of(pattern, template, cx).unwrap_or(named);
                    }
                    _ => {
                        cx.args(property, 3..=3, "a zone name behind the pattern, such as `{1}`");
                    }
                }
            }
            "reload" => {
                let token = cx.one(property, "one argument, a duration");
                reload = token.and_then(|token| cx.duration(token, "reload")).unwrap_or(reload);
            }
            "upstream" => cx.warn(property.span(), "`upstream` is no longer needed"),
            _ => cx.unknown(property, &["directory", "reload"]),
        }
    }
    let Some(directory) = directory else {
        let cause = Cause::Conflict("`auto` needs a folder with zone files");
        cx.mistake_with(line.span(), cause, "write `directory DIR` in its block");
        return None;
    };
    let (pattern, template) = named;
    Some(Config { zones, directory, pattern, template, reload })
}

fn naming_of(pattern: &Token, template: &Token, cx: &mut Checker<'_>) -> Option<(Pattern, String)> {
    let read = Pattern::parse(pattern, cx)?;
    if read.0.captures_len() < 2 {
        cx.not(
            pattern,
            "a pattern with a group in parentheses, which the zone's name is taken from",
        );
        return None;
    }
    Some((read, expandable(&template.text)))
}

/// `{1}` is written `${1}` where it is used.
fn expandable(template: &str) -> String {
    template.replace('{', "${")
}
