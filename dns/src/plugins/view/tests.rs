//! Blocks of one zone, told apart by views.

use crate::corefile::{
    check::{Checked, Environment},
    load_text,
    mistake::Mistakes,
    source::Memory,
};

fn load(text: &str) -> Result<Checked, Mistakes> {
    let environment = Environment { reader: &Memory::default(), default_port: 53, extensions: &[] };
    load_text("Corefile", text.to_owned(), &environment)
}

fn block(inner: &str) -> String {
    format!("a.test {{\n{inner}\nwhoami\n}}\n")
}

fn view(name: &str) -> String {
    block(&format!("view {name} {{\nexpr true\n}}"))
}

#[test]
fn blocks_of_one_zone_may_differ_by_view() {
    for text in
        [view("a") + &view("b") + &block(""), block("") + &view("a"), view("a") + &view("a")]
    {
        let checked = load(&text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
        assert_eq!(checked.servers.len(), text.matches("whoami").count());
    }
}

#[test]
fn a_zone_without_a_view_is_served_once() {
    let twice = view("a") + &block("") + &view("b") + &block("");
    let refused = load(&twice).unwrap_err().to_string();
    assert!(refused.contains("dns://a.test.:53 is served twice"), "{refused}");
    let by_itself = "a.test a.test {\nview a {\nexpr true\n}\nwhoami\n}\n";
    assert!(load(by_itself).is_err());
}
