//! The grammar: tokens, blocks, imports, snippets, variables.

use super::cases::{check_plugin, good, judge, load, parse_row};
use crate::corefile::source::Memory;
use crate::plugins::PluginConfig;

#[test]
fn every_corefile_of_the_grammar_table_is_accepted_or_refused_as_it_says() {
    let mut failures = Vec::new();
    let cases: Vec<_> = include_str!("grammar.txt").split("=== ").skip(1).collect();
    for case in &cases {
        let (head, body) = case.split_once('\n').expect("a case has a body");
        let (name, want) = parse_row(head);
        let mut parts = body.split("--- ");
        let text = parts.next().expect("split gives one part");
        let mut machine = Memory::default();
        for part in parts {
            let (head, body) = part.split_once('\n').expect("a part has a body");
            machine = match head.split_once(' ').expect("a part has a kind") {
                ("file", path) => machine.file(path, body),
                ("env", pair) => {
                    let (name, value) = pair.split_once('=').expect("a variable has a value");
                    machine.var(name, value)
                }
                (kind, _) => panic!("{kind}"),
            };
        }
        failures.extend(judge(name, &load(text, machine), &want));
    }
    assert!(cases.len() >= 60, "{}", cases.len());
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_address_of_the_table_is_accepted_or_refused_as_it_says() {
    // A row stands in the place of a block's addresses, which no context can say.
    let failures: Vec<_> = include_str!("addresses.txt")
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'))
        .filter_map(|row| {
            let (address, want) = parse_row(row);
            judge(row, &load(&format!("{address} {{\nwhoami\n}}\n"), Memory::default()), &want)
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn plugins_that_are_unknown_or_not_there_yet_are_told_apart() {
    check_plugin(
        "- kubernets -> did you mean `kubernetes`?\n\
         - unbound -> there is no plugin called `unbound`\n\
         - Cache -> did you mean `cache`?\n\
         -! route53 a b -> the plugin `route53` is not available in Daymark yet\n\
         -! azure a -> the plugin `azure` is not available\n\
         -! etcd -> the plugin `etcd` is not available\n",
    );
}

#[test]
fn imports_and_the_corefile_make_the_digest() {
    let text = "import blocks\n";
    let read = |blocks: &str| {
        load(text, Memory::default().file("blocks", blocks)).expect("both are right")
    };
    let (one, other) = (read(". {\nwhoami\n}\n"), read(". {\nwhoami\n}\n# more\n"));
    assert_eq!(one.digest.len(), 128);
    assert_ne!(one.digest, other.digest);
    assert_eq!(one.digest, read(". {\nwhoami\n}\n").digest);
    let names: Vec<_> = one.files.iter().map(|(_, file)| &*file.name).collect();
    assert_eq!(names, ["Corefile", "blocks"]);
}

#[test]
fn files_of_a_pattern_are_read_in_the_order_of_their_names() {
    let machine = Memory::default()
        .file("conf/b.conf", "b {\nwhoami\n}\n")
        .file("conf/a.conf", "a {\nwhoami\n}\n");
    let checked = load("import conf/*.conf\n", machine).expect("both are right");
    let zones: Vec<_> =
        checked.servers.iter().map(|server| server.addresses[0].zones[0].to_string()).collect();
    assert_eq!(zones, ["a.", "b."]);
}

#[test]
fn a_pattern_without_files_is_a_warning() {
    let checked = load("import none/*.conf\n. {\nwhoami\n}\n", Memory::default())
        .expect("it is only a warning");
    let warnings: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["no file matches `none/*.conf`"]);
}

#[test]
fn plugins_run_in_their_own_order_and_several_forwards_in_that_of_the_file() {
    let checked = good(". {\nforward a.org 10.0.0.1\nforward . 10.0.0.2\ncache\nlog\nerrors\n}\n");
    let names: Vec<_> = checked.servers[0].plugins.iter().map(PluginConfig::name).collect();
    assert_eq!(names, ["errors", "log", "cache", "forward", "forward"]);
    let zones: Vec<_> = checked.servers[0].plugins.iter().filter_map(from).collect();
    assert_eq!(zones, ["a.org.", "."]);
}

fn from(plugin: &PluginConfig) -> Option<&str> {
    match plugin {
        PluginConfig::Forward(config) => Some(config.from.as_str()),
        _ => None,
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text =
        ". {\ncahce\nkubernetes cluster.local {\nttl 9999\npodz verified\n}\nwhoami }\n.:99999 {\n";
    let mistakes = load(text, Memory::default()).expect_err("it is full of mistakes");
    let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.place().1).collect();
    assert_eq!(lines, [2, 4, 5, 7, 8, 8]);
}

#[test]
fn no_more_than_fifty_mistakes_are_told() {
    let mistakes = load(&format!(". {{\n{}}}\n", "nonsense\n".repeat(5000)), Memory::default())
        .expect_err("nonsense");
    assert_eq!(mistakes.iter().count(), 50);
    assert!(mistakes.to_string().starts_with("Corefile has 5000 mistakes"));
}
