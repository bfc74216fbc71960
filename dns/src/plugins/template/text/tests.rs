//! What templates make of data, as Go does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

struct Facts;

impl Data for Facts {
    fn field(&self, field: &Field) -> Value {
        let texts = |texts: &[&str]| Value::List(texts.iter().map(|t| Value::text(*t)).collect());
        match field {
            Field::Name => Value::text("a.example."),
            Field::Zone => Value::text(""),
            Field::Type => Value::text("A"),
            Field::Match => texts(&["a.example.", "a", ""]),
            Field::Groups => {
                let groups = [("0", "a.example."), ("a", "a")];
                let groups = groups.map(|(name, text)| (name.to_owned(), Value::text(text)));
                Value::Map(BTreeMap::from(groups).into())
            }
            Field::Group(name) if name == "a" => Value::text("0f"),
            Field::Variable(_) => Value::Int(-5),
            Field::QuestionType => Value::Unsigned(1),
            Field::RecursionDesired => Value::Bool(true),
            _ => Value::Nothing,
        }
    }

    fn meta(&self, label: &str) -> String {
        format!("<{label}>")
    }
}

fn fill(source: &str) -> Result<String, String> {
    let names =
        Names { groups: ["a", "b"].map(str::to_owned).into(), variables: ["v".to_owned()].into() };
    let text = Text::compile(source, &names).map_err(|error| error.to_string())?;
    text.fill(&Facts).map_err(|error| error.to_string())
}

#[test]
fn templates_are_filled_in_as_go_fills_them_in() {
    for (source, wanted) in [
        ("plain }} text", "plain }} text"),
        ("{{ .Name }} {{.Type}}{{- /* gone */ -}} x", "a.example. Ax"),
        ("a {{- 3 }} {{ 4 -}} b", "a3 4b"),
        ("{{ .Group.a }}{{ .Group.b }}", "0f<no value>"),
        ("{{ index .Match 1 }}|{{ index .Group `a` }}|{{ index .Group `x` }}|", "a|a||"),
        ("{{ parseInt .Group.a 16 8 }} {{ parseInt `0x1f` 0 64 }}", "15 31"),
        (
            "{{ .Var.v }} {{ .Question.Qtype }} {{ .Message.RecursionDesired }} {{ .Match }}",
            "-5 1 true [a.example. a ]",
        ),
        ("{{ if .Zone }}z{{ else if eq .Type `B` `A` }}y{{ else }}x{{ end }}", "y"),
        ("{{ if not .Zone }}{{ if .Name }}in{{ end }}{{ end }}", "in"),
        (
            "{{ with .Zone }}z{{ else }}none{{ end }}{{ with .Type }}{{ . }}{{ $.Name }}{{ end }}",
            "noneAa.example.",
        ),
        ("{{ range .Match }}[{{ . }}]{{ end }}", "[a.example.][a][]"),
        ("{{ range $i, $m := .Match }}{{ $i }}{{ $m }};{{ end }}", "0a.example.;1a;2;"),
        ("{{ range $k, $v := .Group }}{{ $k }}={{ $v }} {{ end }}", "0=a.example. a=a "),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ $x }}{{ end }}{{ $x }}", "32"),
        (
            "{{ and .Zone .Name }}|{{ or .Zone .Name }}|{{ and 1 2 }}|{{ or 0 `` }}|",
            "|a.example.|2||",
        ),
        (
            "{{ eq 1 1 }} {{ ne `a` `b` }} {{ lt 1 2 }} {{ ge 1 2 }} {{ eq .Question.Qtype 1 }}",
            "true true true false true",
        ),
        (
            "{{ len .Name }} {{ len .Match }} {{ print 1 2 `a` 3 }} {{ println `x` 1 }}",
            "10 3 1 2a3 x 1\n",
        ),
        (
            "{{ printf `%s-%d|%5d|%-4s|%04d|%x|%X|%q|%v|%%|%+d|%.2s` .Type 7 42 `ab` -7 255 `hi` `q` true 3 `xyz` }}",
            "A-7|   42|ab  |-007|ff|6869|\"q\"|true|%|+3|xy",
        ),
        ("{{ .Name | printf `%s%s` `x` | len }} {{ (index .Match 1) | print }}", "11 a"),
        (
            "{{ .Meta `a/b` }} {{ `c/d` | .Meta }} {{ range .Match }}{{ end }}{{ $.Meta `e/f` }}",
            "<a/b> <c/d> <e/f>",
        ),
        ("{{ \"a\\tb\\\"\" }} {{ 1.5 }} {{ 0x10 }} {{ -3 }}", "a\tb\" 1.5 16 -3"),
    ] {
        assert_eq!(fill(source), Ok(wanted.to_owned()), "{source}");
    }
}

#[test]
fn what_go_finds_out_while_filling_in_is_an_error() {
    for source in [
        "{{ index .Match 3 }}",
        "{{ index .Match -1 }}",
        "{{ parseInt `fff` 16 8 }}",
        "{{ parseInt `-1` 10 8 }}",
        "{{ parseInt `x` 10 8 }}",
        "{{ parseInt `1` 99 8 }}",
        "{{ eq 1 `a` }}",
        "{{ lt true false }}",
        "{{ len 5 }}",
        "{{ range .Name }}{{ end }}",
        "{{ printf `%d` `a` }}",
        "{{ .Meta 5 }}",
        "{{ index .Name .Name }}",
    ] {
        assert!(fill(source).is_err(), "{source}: {:?}", fill(source));
    }
}

#[test]
fn filling_in_is_bounded() {
    let ranges = "{{ range $.Match }}".repeat(12) + &"{{ end }}".repeat(12);
    assert_eq!(fill(&ranges), Err(FillError::TooLarge.to_string()));
    let deep = "{{ if 1 }}".repeat(100) + &"{{ end }}".repeat(100);
    assert!(fill(&deep).unwrap_err().contains("nested too deeply"));
    let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(1_000), ")".repeat(1_000));
    assert!(fill(&brackets).unwrap_err().contains("nested too deeply"));
}

#[test]
fn metrics_see_a_template_as_go_writes_it_out() {
    let text =
        Text::compile("x {{- /* c */}}{{   (index   .Match 1) | print}} y", &Names::default());
    assert_eq!(text.unwrap().normal(), "x{{(index .Match 1) | print}} y");
}

proptest! {
    #[test]
    fn any_words_are_read_and_filled_in_without_a_panic(words in prop::collection::vec(
        prop::sample::select(vec![
            "{{", "}}", "{{- ", " -}}", "if", "else", "end", "range", "with", ".Name", ".Match", "$x", ":=", "=",
            "|", "(", ")", ",", "index", "printf", "`%d%s`", "\"a\"", "1", "-1", "eq", "len", ".", "$", "text",
            "parseInt", "and", "/*", "*/", ".Group.a", ".Meta", "'", "\\",
        ]),
        0..14,
    )) {
        drop(fill(&words.join(" ")));
    }
}
