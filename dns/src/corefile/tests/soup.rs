//! Anything at all as a Corefile: no panic, no end of time or memory.

use proptest::prelude::*;

use super::cases::load;
use crate::corefile::source::Memory;

/// Words that mean something to the parser or a plugin.
const WORDS: &[&str] = &[
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    " ",
    ",",
    "\"",
    "\\\"",
    "#",
    "import",
    "(a)",
    "(b)",
    "a",
    "b",
    "*",
    "file",
    "{$V}",
    "{%V%}",
    "{$",
    ".",
    ".:53",
    "tls://x",
    "10.0.0.0/9",
    "2001:db8::/33",
    "::",
    ":",
    "rewrite",
    "continue",
    "name",
    "regex",
    "answer",
    "template IN A",
    "match",
    "view",
    "expr",
    "name() == ",
    "{{ .Name }}",
    "kubernetes",
    "forward",
    "cache",
    "hosts",
    "log",
    "errors",
    "bind",
    "reload",
    "loadbalance",
    "prometheus",
    "labels",
    "in",
    "(",
    ")",
    "success",
    "denial",
    "serve_stale",
    "verify",
    "prefetch",
    "%",
    "10%",
    "0",
    "-1",
    "5s",
    "99999999999999999999",
    "consolidate",
    "class",
    "{name}",
    "{/x}",
    "127.0.0.1",
    "::1%lo",
    "tls://1.1.1.1%x",
    "/etc/resolv.conf",
    "health_check",
    "domain",
    "ttl",
    "pods",
    "é",
    "\u{feff}",
    "fallthrough",
    "zonal",
    "next",
    "NXDOMAIN",
    "except",
    "weighted",
    "prefer",
];

fn machine() -> Memory {
    Memory::default()
        .file("file", "import a\nimport file\nwhoami }\n")
        .file("a", "{ \"")
        .var("V", "} {$V} {")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn words_in_any_order_give_servers_or_mistakes(words in prop::collection::vec((prop::sample::select(WORDS), any::<bool>()), 0..60)) {
        let text: String = words.into_iter().flat_map(|(word, space)| [word, if space { " " } else { "" }]).collect();
        if let Err(mistakes) = load(&text, machine()) {
            prop_assert!(mistakes.iter().count() >= 1);
            prop_assert!(!mistakes.to_string().is_empty());
        }
    }

    #[test]
    fn text_of_any_kind_gives_servers_or_mistakes(text in any::<String>()) {
        let _: Result<_, _> = load(&text, machine());
    }

    #[test]
    fn a_plugin_with_any_arguments_gives_settings_or_mistakes(
        plugin in prop::sample::select(&["kubernetes", "forward", "cache", "hosts", "log", "errors", "bind", "health", "reload"][..]),
        property in prop::sample::select(WORDS),
        args in prop::collection::vec("[ -~é]{0,12}", 0..6),
    ) {
        let args = args.join(" ");
        let _: Result<_, _> = load(&format!(". {{\n{plugin} {args}\n{plugin} {{\n{property} {args}\n}}\n}}\n"), machine());
    }
}

#[test]
fn a_file_of_braces_does_not_nest_without_bound() {
    let mistakes =
        load(&"a {\n".repeat(100_000), Memory::default()).expect_err("the braces never close");
    assert!(mistakes.to_string().contains("levels of braces"));
}

#[test]
fn snippets_that_double_each_other_are_stopped() {
    let mut text = String::from("(s0) {\nwhoami\n}\n");
    for level in 1..40 {
        text += &format!("(s{level}) {{\nimport s{}\nimport s{}\n}}\n", level - 1, level - 1);
    }
    text += ". {\nimport s39\n}\n";
    let mistakes = load(&text, Memory::default()).expect_err("2^39 imports");
    assert!(mistakes.to_string().contains("more than 10000 imported snippets"), "{mistakes}");
}

#[test]
fn files_that_double_each_other_are_stopped() {
    let machine = (1..40).fold(Memory::default().file("f0", "# nothing\n"), |machine, level| {
        machine.file(format!("f{level}"), format!("import f{}\nimport f{}\n", level - 1, level - 1))
    });
    let mistakes = load("import f39\n", machine).expect_err("2^39 imports");
    assert!(mistakes.to_string().contains("more than 100000 imported files"), "{mistakes}");
}

#[test]
fn a_million_words_are_the_bound() {
    let mistakes = load(&format!(". {{\n{}}}\n", "log\n".repeat(1_000_001)), Memory::default())
        .expect_err("too many");
    assert!(mistakes.to_string().contains("more than 1000000 words"), "{mistakes}");
}

#[test]
fn networks_cannot_stand_for_zones_without_bound() {
    let mistakes = load(&format!("{} {{\n}}\n", "10.0.0.0/9 ".repeat(600)), Memory::default())
        .expect_err("too many");
    assert!(mistakes.to_string().contains("more than 65536 zones"), "{mistakes}");
}
