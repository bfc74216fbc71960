//! What expressions mean, and that nothing makes them panic.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::{plugin::Origin, plugins::stand_in};

fn query() -> Query {
    let client: SocketAddr = "[::ffff:10.1.2.3]:4711".parse().unwrap();
    let query = stand_in::query("Www.Example.org.", RecordType::AAAA);
    Query { size: 33, origin: Origin { client, ..query.origin }, ..query }
}

fn scope() -> Scope {
    let list = Type::List(Box::new(Type::Text));
    let variables = vec![("n".to_owned(), Type::Int), ("list".to_owned(), list)];
    Scope { variables, groups: true }
}

fn value(text: &str) -> Result<Value, String> {
    let expression = Expression::compile(text, &scope()).map_err(|error| error.to_string())?;
    let list = ["a", "b", "c"].map(Value::text);
    let variables = [Value::Int(5), Value::List(list.into())];
    let groups = |which: &str| format!("<{which}>");
    let query = query();
    let surroundings = Surroundings { query: &query, variables: &variables, groups: &groups };
    expression.evaluate(&surroundings).map_err(|error| error.to_string())
}

#[test]
fn expressions_have_the_values_that_expr_lang_gives_them() {
    for (text, wanted) in [
        // Facts about the query.
        ("name() == 'www.example.org.' && type() == 'AAAA' && class() == 'IN'", "true"),
        ("client_ip() + ':' + port() + ' ' + proto()", "10.1.2.3:4711 udp"),
        ("server_ip() + ':' + server_port()", "127.0.0.1:53"),
        ("[id(), opcode(), size(), bufsize()]", "[7 0 33 512]"),
        ("do() or metadata('a/b') != ''", "false"),
        ("incidr(client_ip(), '10.0.0.0/8') and not incidr('::1', '10.0.0.0/8')", "true"),
        ("incidr('10.255.0.1', '10.' + '0.0.0/8')", "true"),
        ("incidr('2001:db8::1', '2001:db8::/32') && incidr('1.2.3.4', '0.0.0.0/0')", "true"),
        // Precedence.
        ("1 + 2 * 3 - 4", "3"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("not true or true", "true"),
        ("not (1 == 1) == false", "true"),
        ("1 + 1 == 2 and 7 % 4 == 3", "true"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("0x10 + 0b11 + 0o7 + 1_000", "1026"),
        ("1.5e3 + .5", "1500.5"),
        ("true ? 1 : false ? 2 : 3", "1"),
        // Texts.
        ("'a\\\\b' + `\\d` + \"\\t'\"", "a\\b\\d\t'"),
        ("'abc' contains 'b' and 'abc' startsWith 'a' and 'abc' endsWith 'c'", "true"),
        ("'abc' not contains 'b'", "false"),
        ("name() matches '^www\\\\.' and not (name() matches '^ww\\\\.')", "true"),
        ("upper('a') + lower('B') + trim('  c ') + trim('xdx', 'x')", "Abcd"),
        ("trimPrefix('abab', 'ab') + trimSuffix('cdcd', 'cd')", "abcd"),
        ("replace('a-b-c', '-', '.') + replace('a-b-c', '-', '', 1)", "a.b.cab-c"),
        ("join(split('a.b.c', '.'), '+') + join(split('abc', ''), '-')", "a+b+ca-b-c"),
        ("split('a.b.c', '.', 2)", "[a b.c]"),
        ("[len('äb'), len([1, 2]), indexOf('abc', 'c'), lastIndexOf('aa', 'x')]", "[2 2 2 -1]"),
        ("'abc'[1:] + 'abc'[:-1] + 'abc'[5:]", "bcab"),
        ("name() | split('.') | len()", "4"),
        ("repeat('ab', 2) + string(1.0) + string(1e21)", "abab11e+21"),
        // Lists.
        ("type() in ['A', 'AAAA'] and type() not in list", "true"),
        ("3 in 1..3 and 2.0 in [1, 2]", "true"),
        (
            "any(list, # == 'b') && all(list, len(#) == 1) && none(list, # == 'x') && one(list, # > 'b')",
            "true",
        ),
        ("filter(list, {# != 'b'}) | map(# + '!') | join(',')", "a!,c!"),
        ("[count(list, # < 'c'), findIndex(list, # == 'c')]", "[2 2]"),
        ("find(list, # == 'x') == nil and first(list) == 'a' and last(list) == 'c'", "true"),
        ("list[0] + list[-1] + join(list[1:])", "acbc"),
        ("any(['10.0.0.0/8'], incidr('10.0.0.1', #))", "true"),
        ("max(1, n, 2) + min(1.5, 2)", "6.5"),
        ("int('42') + int(1.9) + abs(-3)", "46"),
        ("float('1.5') + round(1.5) + floor(1.9) + ceil(1.1)", "6.5"),
        // What a pattern found.
        ("group(1) + group('a')", "<1><a>"),
        ("n + 1 /* more */ // and more", "6"),
    ] {
        assert_eq!(value(text).map(|value| value.to_string()), Ok(wanted.to_owned()), "{text}");
    }
}

#[test]
fn what_can_not_be_worked_out_is_an_error_and_no_panic() {
    for text in [
        "1 % 0",
        "list[3]",
        "list[-4]",
        "int('x')",
        "incidr('x', '10.0.0.0/8')",
        "incidr('::1', 'x')",
        "repeat('a', 100000)",
        "repeat('a', -1)",
        "1..100000",
        "9223372036854775807 in 0..9223372036854775807",
        "filter(1..9999, {any(1..9999, # == 0)})",
        "first(list) + 1",
        "'aä'[:2]",
    ] {
        assert!(value(text).is_err(), "{text}: {:?}", value(text));
    }
}

#[test]
fn depth_is_bounded() {
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(Expression::compile(&deep[..9_999], &scope()).is_err());
    let long = vec!["true"; 1_500].join(" && ");
    assert!(Expression::compile(&long, &scope()).is_err());
    let some = vec!["name() == 'a'"; 150].join(" || ");
    assert_eq!(value(&some), Ok(Value::Bool(false)));
    assert!(Expression::compile(&"not ".repeat(2_000), &scope()).is_err());
}

proptest! {
    #[test]
    fn any_words_are_read_and_evaluated_without_a_panic(words in prop::collection::vec(
        prop::sample::select(vec![
            "1", "0", "-1", "'a'", "true", "nil", "n", "list", "#", "(", ")", "[", "]", "{", "}", ",",
            "+", "-", "*", "/", "%", "**", "==", "<", "in", "not", "and", "or", "matches", "contains",
            "?", ":", "|", "..", "len(", "any(", "split(", "name()", "type()", "incidr(", "group(",
            "first(", "max(", "1.5", "'('", "map(", "filter(", "int(", "string(",
        ]),
        0..12,
    )) {
        drop(value(&words.join(" ")));
    }
}
