//! What people read when a Corefile has mistakes.

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::cases::load;
use crate::corefile::check::Environment;
use crate::corefile::mistake::{Mistake, Report};
use crate::corefile::source::Memory;
use crate::corefile::{load as load_path, mistake::Mistakes};

fn report(mistakes: Mistakes) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::none()).with_width(100);
    handler
        .render_report(&mut text, &Report::from(mistakes))
        .expect("writing to a String cannot fail");
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn refused(text: &str) -> Mistakes {
    load(text, Memory::default()).expect_err("the Corefile has mistakes")
}

#[test]
fn every_mistake_shows_its_line_and_its_remedy() {
    let text = "\
.:53 {
    kubernets cluster.local
    cache 5s
    health {
        lameduck 5
    }
    route53 name a b
}
.:53 {
    whoami
}
";
    assert_eq!(report(refused(text)), include_str!("report.txt"));
}

#[test]
fn a_log_line_has_place_message_and_remedy() {
    assert_eq!(
        refused(". {\n    forward . 127.0.0.1 {\n        polcy random\n    }\n}\n").to_string(),
        "Corefile has a mistake\nCorefile:3:9: `forward` has no property `polcy` (did you mean `policy`?)"
    );
}

#[test]
fn a_mistake_in_an_imported_file_shows_that_file() {
    let machine = Memory::default().file("conf/zones", "b {\n\twhoamy\n}\n");
    let mistakes = load("import conf/zones\n", machine).expect_err("there is no such plugin");
    let places: Vec<_> = mistakes.iter().map(Mistake::place).collect();
    assert_eq!(places, [("conf/zones", 2, 2)]);
}

#[test]
fn what_clashes_with_another_file_names_that_place() {
    let machine = Memory::default().file("other", "a {\nwhoami\n}\n");
    let mistakes =
        load("a {\nwhoami\n}\nimport other\n", machine).expect_err("the zone is served twice");
    let remedy = mistakes.iter().next().and_then(|mistake| mistake.remedy().map(str::to_owned));
    assert_eq!(remedy.as_deref(), Some("served here first: Corefile:1:1"));
}

#[test]
fn columns_count_characters() {
    let mistakes = refused(". {\n    log . \"ü\" { \n clas\n }\n    whoami \"ü\" x\n}\n");
    let places: Vec<_> =
        mistakes.iter().map(|mistake| (mistake.place().1, mistake.place().2)).collect();
    assert_eq!(places, [(3, 2), (5, 12)]);
}

#[test]
fn a_corefile_that_cannot_be_read_is_named() {
    let machine = Memory::default();
    let environment = Environment { reader: &machine, default_port: 53, extensions: &[] };
    let mistakes = load_path("/etc/coredns/Corefile".as_ref(), &environment)
        .expect_err("there is no such file");
    let text = mistakes.to_string();
    assert!(text.contains("cannot read /etc/coredns/Corefile: entity not found"), "{text}");
}
