//! What the plugins' READMEs show is true.

use super::cases::load;
use super::plugins::PLUGINS;
use crate::corefile::source::Memory;

/// The order of a README's sections.
const SECTIONS: [&str; 7] =
    ["Name", "Description", "Syntax", "Examples", "Metrics", "Bugs", "See also"];

#[test]
fn every_example_of_a_readme_is_a_corefile_that_works() {
    for (name, _, readme) in PLUGINS {
        let mut examples = 0;
        for block in readme.split("```corefile\n").skip(1) {
            let (text, _) = block.split_once("```").expect("the example ends");
            let loaded = load(text, Memory::default());
            assert!(
                loaded.is_ok(),
                "{name}: {text}\n{:?}",
                loaded.err().map(|mistakes| mistakes.to_string())
            );
            examples += 1;
        }
        assert!(examples > 0, "{name} has no example");
    }
}

#[test]
fn every_readme_has_its_sections_in_one_order() {
    for (name, _, readme) in PLUGINS {
        let found: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let mut rest = SECTIONS.iter();
        for section in &found {
            assert!(
                rest.any(|known| known == section),
                "{name}: {section} is unknown or out of place"
            );
        }
        for must in ["Name", "Description", "Syntax", "Examples"] {
            assert!(found.contains(&must), "{name} has no section {must}");
        }
    }
}
