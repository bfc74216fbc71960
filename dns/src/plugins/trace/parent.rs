//! The span that a client's HTTP request belongs to: B3, which Zipkin's libraries send, and W3C's Trace
//! Context, which OpenTelemetry's send.

use http::HeaderMap;

use super::span::{Parent, TraceId};

/// The span in these fields, if there is one that can be read. B3 counts before Trace Context, one
/// field for all before one for each.
pub fn of(fields: &HeaderMap) -> Option<Parent> {
    let field = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    field("b3").and_then(b3).or_else(|| several_b3(field)).or_else(|| {
        let context = field("traceparent")?;
        trace_context(context)
    })
}

/// `TRACE-SPAN[-SAMPLED[-PARENT]]`.
fn b3(text: &str) -> Option<Parent> {
    let mut parts = text.split('-');
    let (trace, span) = (trace_id(parts.next()?)?, number(parts.next()?)?);
    let sampled = match parts.next() {
        None => None,
        Some(word) => Some(sampled(word)?),
    };
    Some(Parent { trace, span, sampled })
}

fn several_b3<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<Parent> {
    let (trace, span) = (trace_id(field("x-b3-traceid")?)?, number(field("x-b3-spanid")?)?);
    let debug = field("x-b3-flags") == Some("1");
    let sampled = match field("x-b3-sampled") {
        _ if debug => Some(true),
        None | Some("") => None,
        Some(word) => Some(sampled(word)?),
    };
    Some(Parent { trace, span, sampled })
}

/// `00-TRACE-SPAN-FLAGS` (W3C Trace Context §3.2).
fn trace_context(text: &str) -> Option<Parent> {
    let mut parts = text.split('-');
    let version = parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
    let trace = trace_id(parts.next().filter(|trace| trace.len() == 32)?)?;
    let span = number(parts.next()?)?;
    let flags = parts.next().filter(|flags| flags.len() == 2)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    // The first version has nothing behind the flags; what later ones have there is theirs.
    (version != "00" || parts.next().is_none()).then_some(())?;
    Some(Parent { trace, span, sampled: Some(flags & 1 == 1) })
}

fn sampled(word: &str) -> Option<bool> {
    match word {
        "1" | "d" | "true" | "True" | "TRUE" => Some(true),
        "0" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn trace_id(text: &str) -> Option<TraceId> {
    let (high, low) = match text.len() {
        16 => ("0", text),
        32 => (text.get(..16)?, text.get(16..)?),
        _ => return None,
    };
    let trace = TraceId { high: hexadecimal(high)?, low: hexadecimal(low)? };
    (trace.high | trace.low != 0).then_some(trace)
}

fn number(text: &str) -> Option<u64> {
    hexadecimal(text).filter(|number| text.len() == 16 && *number != 0)
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";

    fn read(fields: &[(&'static str, &str)]) -> Option<(String, u64, Option<bool>)> {
        let mut all = HeaderMap::new();
        for (name, value) in fields {
            all.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        of(&all).map(|parent| (parent.trace.to_string(), parent.span, parent.sampled))
    }

    #[test]
    fn clients_tell_their_span_in_any_of_three_ways() {
        let found = |sampled| Some((TRACE.to_owned(), 0xa2fb_4a1d_1a96_d312, sampled));
        let one = format!("{TRACE}-a2fb4a1d1a96d312");
        assert_eq!(read(&[("b3", &one)]), found(None));
        assert_eq!(read(&[("b3", &format!("{one}-0"))]), found(Some(false)));
        assert_eq!(read(&[("b3", &format!("{one}-d-05e3ac9a4f6e3b90"))]), found(Some(true)));
        let both = [("x-b3-traceid", TRACE), ("x-b3-spanid", "a2fb4a1d1a96d312")];
        assert_eq!(read(&both), found(None));
        assert_eq!(read(&[&both[..], &[("x-b3-sampled", "1")]].concat()), found(Some(true)));
        assert_eq!(read(&[&both[..], &[("x-b3-flags", "1")]].concat()), found(Some(true)));
        assert_eq!(read(&[("traceparent", &format!("00-{one}-01"))]), found(Some(true)));
        assert_eq!(read(&[("traceparent", &format!("01-{one}-00-more"))]), found(Some(false)));
        let short = [("x-b3-traceid", "48485a3953bb6124"), ("x-b3-spanid", "00000000000000ff")];
        assert_eq!(read(&short), Some(("48485a3953bb6124".to_owned(), 255, None)));
    }

    proptest! {
        #[test]
        fn any_field_is_a_span_or_none(text in "[0-9a-fA-Fé+-]{0,60}", octets: Vec<u8>) {
            for name in ["b3", "x-b3-traceid", "traceparent"] {
                for value in [text.as_bytes(), &octets] {
                    let mut all = HeaderMap::new();
                    all.insert("x-b3-spanid", HeaderValue::from_static("00000000000000ff"));
                    if let Ok(value) = HeaderValue::from_bytes(value) {
                        all.insert(name, value);
                    }
                    if let Some(parent) = of(&all) {
                        prop_assert!(parent.span != 0);
                        prop_assert!(parent.trace.high | parent.trace.low != 0);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_span_is_passed_over() {
        let zero = "00000000000000000000000000000000-a2fb4a1d1a96d312";
        for (name, value) in [
            ("b3", "1"),
            ("b3", ""),
            ("b3", TRACE),
            ("b3", zero),
            ("b3", "é63ac35c9f6413ad48485a3953bb612-a2fb4a1d1a96d312"),
            ("b3", "463ac35c9f6413ad-a2fb4a1d1a96d312-x"),
            ("b3", "+63ac35c9f6413ad-a2fb4a1d1a96d312"),
            ("x-b3-traceid", TRACE),
            ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312"),
            ("traceparent", "ff-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-01"),
            ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-01-x"),
            ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-0000000000000000-01"),
        ] {
            assert_eq!(read(&[(name, value)]), None, "{name}: {value}");
        }
    }
}
