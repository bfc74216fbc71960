//! `--explain`: what each block of a Corefile does, in the order in which it does it, and where that is
//! not what CoreDNS would do.

use std::{collections::BTreeSet, fmt::Write};

use daymark_dns::{
    corefile::check::{Checked, ServerConfig},
    plugins::{PluginConfig, about::about},
};

/// Where Daymark differs from CoreDNS; the tests hold it to be complete.
const DIFFERENCES: &str = include_str!("../../../tests/dns/DIFFERENCES.md");
/// The part of it about what `kubernetes` answers.
const RECORD_RULES: &str = "Record rules";
/// Plugins whose sections do not begin with their name.
const OTHERWISE_NAMED: [(&str, &str); 1] = [("own-data-is-not-cached", "cache")];

/// The explanation of a whole configuration.
pub(super) fn explained(checked: &Checked, port: u16) -> String {
    let mut text = String::new();
    let mut used = BTreeSet::new();
    for server in &checked.servers {
        block(&mut text, server, port);
        used.extend(server.plugins.iter().map(PluginConfig::name));
    }
    text.push_str("Where this is not what CoreDNS does:\n");
    for section in sections() {
        let concerns = match section.plugin() {
            Some(plugin) => used.contains(plugin),
            None => true,
        };
        if concerns {
            let _ = writeln!(text, "\n  {}", section.title);
            for line in section.lines {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    text.push('\n');
    text
}

fn block(text: &mut String, server: &ServerConfig, port: u16) {
    let served: Vec<String> = server
        .served(port)
        .map(|(scheme, zone, port)| format!("{}://{zone}:{port}", scheme.name()))
        .collect();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}", served.join(" "));
    let (chain, beside): (Vec<_>, Vec<_>) =
        server.plugins.iter().partition(|plugin| plugin.handles_queries());
    let said = |name: &str| about(name).unwrap_or_default().trim_end_matches('.').to_owned();
    for plugin in beside {
        let _ = writeln!(text, "     {}: {}", plugin.name(), said(plugin.name()));
    }
    for (number, plugin) in chain.iter().enumerate() {
        let name = plugin.name();
        let _ = writeln!(text, "  {:2} {name}: {}", number + 1, said(name));
    }
    text.push('\n');
}

/// A section of the page.
struct Section {
    part: &'static str,
    title: &'static str,
    lines: Vec<&'static str>,
}

impl Section {
    /// The plugin that it is about; `None` if that is the server as a whole.
    fn plugin(&self) -> Option<&'static str> {
        let named = OTHERWISE_NAMED.iter().find(|(title, _)| *title == self.title);
        let first = self.title.split('-').next().unwrap_or_default();
        match named {
            Some((_, plugin)) => Some(plugin),
            None if about(first).is_some() => Some(first),
            None if self.part == RECORD_RULES => Some("kubernetes"),
            None => None,
        }
    }
}

fn sections() -> Vec<Section> {
    let (mut part, mut sections) = ("", Vec::<Section>::new());
    for line in DIFFERENCES.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { part, title, lines: Vec::new() });
        } else if let Some(title) = line.strip_prefix("# ") {
            part = title;
        } else if let (Some(section), false) = (sections.last_mut(), line.is_empty()) {
            section.lines.push(line.trim_start_matches("- "));
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use daymark_dns::corefile::{check::Environment, load_text, source::Memory};

    use super::*;

    #[test]
    fn a_block_is_told_in_its_order_with_what_differs_for_its_plugins() {
        let text = ". {\n    forward . 10.0.0.1\n    cache\n    bind lo\n    errors\n}\n";
        let machine = Memory::default();
        let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
        let told = explained(&load_text("Corefile", text.to_owned(), &environment).unwrap(), 1053);
        let at = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part} in\n{told}"));
        assert!(told.starts_with("dns://.:1053\n     bind: "), "{told}");
        assert!(at(" 1 errors: ") < at(" 2 cache: ") && at(" 2 cache: ") < at(" 3 forward: "));
        assert!(at("own-data-is-not-cached") > at("Where this is not what CoreDNS does"));
        at("truncation");
        for absent in ["txt-at-an-existing-name", "\n  hosts-misses", "\n  loop"] {
            assert!(!told.contains(absent), "{absent} in\n{told}");
        }
    }
}
