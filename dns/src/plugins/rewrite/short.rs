//! Rules that the short way can follow: whole names and whole labels at the end of names, turned back in
//! the reply.
//!
//! Where such a rule is for a name, the short way looks its new name up and answers under the name that
//! was asked. That is what the long way does as long as the reply has addresses of that name and
//! nothing else; for anything else the long way answers.

use super::{
    config::Config,
    renaming::{Match, Piece},
    rule::{Action, NameRule},
};
use crate::wire::name::{FoldedName, MAX_NAME, count_labels, from_text};

/// The rules of one block, in order; the first that is for a name counts.
pub struct Renames(Vec<Rename>);

struct Rename {
    from: From,
    /// Wire form; without its root where it takes the place of the last labels.
    to: Vec<u8>,
    /// Whether the reply is turned back to the name that was asked, and no more is done with it.
    turns_back: bool,
}

enum From {
    /// This name, in wire form.
    Exact(Vec<u8>),
    /// Names below this one, in wire form with its number of labels.
    Below(Vec<u8>, usize),
}

/// What the rules make of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renamed {
    /// None is for it.
    No,
    /// It is another one now.
    Yes,
    /// The long way has to say.
    Unsure,
}

impl Renames {
    /// The rules of `config`, if the short way can follow all of them.
    pub fn of(config: &Config) -> Option<Self> {
        let rename = |rule: &super::rule::Rule| match &rule.action {
            Action::Name(name) if !rule.goes_on => Rename::of(name),
            _ => None,
        };
        config.rules.iter().map(rename).collect::<Option<_>>().map(Renames)
    }

    /// What becomes of `name`; a new one is put into `into`. Neither allocates nor locks.
    pub fn apply(&self, name: &FoldedName, into: &mut FoldedName) -> Renamed {
        // Rules look at text, where a dot within a label looks like others. (It may also be a length.)
        if name.wire().contains(&b'.') {
            return Renamed::Unsure;
        }
        for rule in &self.0 {
            let kept = match &rule.from {
                From::Exact(from) => (from == name.wire()).then_some(0),
                From::Below(from, labels) => {
                    name.labels_above(from, *labels).filter(|above| *above > 0)
                }
            };
            let Some(kept) = kept else { continue };
            let before = name.span(0, kept);
            let mut wire = [0; MAX_NAME + 1];
            let length = before.len() + rule.to.len();
            if !rule.turns_back || length > MAX_NAME {
                return Renamed::Unsure;
            }
            wire[..before.len()].copy_from_slice(before);
            wire[before.len()..length].copy_from_slice(&rule.to);
            return match into.read(&wire, 0) {
                Some(_) => Renamed::Yes,
                None => Renamed::Unsure,
            };
        }
        Renamed::No
    }
}

impl Rename {
    fn of(rule: &NameRule) -> Option<Self> {
        let [Piece::Text(to)] = &rule.renaming.to.0[..] else { return None };
        let turns_back = rule.auto && rule.answers.is_empty();
        let (from, to) = match &rule.renaming.from {
            Match::Exact(from) => (From::Exact(plain(from)?), plain(to)?),
            Match::Suffix(from) => {
                let from = plain(from.strip_prefix('.')?)?;
                let labels = count_labels(&from);
                (From::Below(from, labels), plain(to.strip_prefix('.')?)?)
            }
            Match::Prefix(_) | Match::Substring(_) | Match::Regex(_) => return None,
        };
        Some(Rename { from, to, turns_back })
    }
}

/// The wire form of a name without escapes, which ends with a dot.
fn plain(text: &str) -> Option<Vec<u8>> {
    let letters = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let usual = |octet: u8| letters(octet) || matches!(octet, b'-' | b'_' | b'.');
    (text.ends_with('.') && text.bytes().all(usual)).then(|| from_text(text))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        corefile::{check::Environment, load_text, source::Memory},
        plugins::PluginConfig,
    };

    fn renames(rules: &str) -> Option<Renames> {
        let machine = Memory::default();
        let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
        let text = format!(". {{\n{rules}\nwhoami\n}}\n");
        let checked = load_text("Corefile", text, &environment).expect("a good Corefile");
        let plugins = checked.servers.into_iter().flat_map(|server| server.plugins);
        let mut configs = plugins.filter_map(|plugin| match plugin {
            PluginConfig::Rewrite(config) => Some(config),
            _ => None,
        });
        Renames::of(&configs.next().expect("a rewrite"))
    }

    fn applied(rules: &Renames, name: &str) -> (Renamed, Vec<u8>) {
        let (mut asked, mut into) = (FoldedName::default(), FoldedName::default());
        asked.read(&from_text(name).expect("a name"), 0).expect("a name");
        let renamed = rules.apply(&asked, &mut into);
        (renamed, into.wire().to_vec())
    }

    #[test]
    fn the_first_rule_for_a_name_renames_it() {
        let rules = renames(
            "rewrite name exact a.test. web.shop.svc.cluster.local.\n\
             rewrite name suffix .corp.test. .example.com. answer auto\n\
             rewrite name suffix .test. .example.org. answer auto\n\
             rewrite name suffix .left.net. .example.net.",
        )
        .expect("rules for the short way");
        for (name, want) in [
            ("a.test.", Some("web.shop.svc.cluster.local.")),
            ("A.test.", Some("web.shop.svc.cluster.local.")),
            ("x.a.test.", Some("x.a.example.org.")),
            ("www.corp.test.", Some("www.example.com.")),
            ("corp.test.", Some("corp.example.org.")),
            ("www.xcorp.test.", Some("www.xcorp.example.org.")),
            ("test.", None),
            ("www.example.com.", None),
        ] {
            let (renamed, wire) = applied(&rules, name);
            match want {
                Some(want) => {
                    assert_eq!((renamed, wire), (Renamed::Yes, from_text(want).unwrap()), "{name}");
                }
                None => assert_eq!(renamed, Renamed::No, "{name}"),
            }
        }
        // Its answers keep the new name.
        assert_eq!(applied(&rules, "www.left.net.").0, Renamed::Unsure);
        let long = "a".repeat(63);
        let name = format!("{long}.{long}.{long}.{}.corp.test.", "a".repeat(46));
        assert_eq!(applied(&rules, &name).0, Renamed::Unsure, "46 is the octet of a dot");
        let name = format!("{long}.{long}.{long}.{}.corp.test.", "a".repeat(50));
        assert_eq!(applied(&rules, &name).0, Renamed::Unsure, "too long once renamed");
    }

    #[test]
    fn other_rules_are_for_the_long_way() {
        for rule in [
            "rewrite name regex (.*)\\.a\\.test\\. {1}.b.test.",
            "rewrite name prefix a b",
            "rewrite name substring a b",
            "rewrite name suffix corp.test. example.com. answer auto",
            "rewrite continue name exact a.test. b.test.",
            "rewrite type ANY HINFO",
            "rewrite ttl exact a.test. 5",
            "rewrite name exact a.test. b.test.\nrewrite edns0 nsid set",
        ] {
            assert!(renames(rule).is_none(), "{rule}");
        }
    }
}
