//! `trace [ENDPOINT-TYPE] [ENDPOINT]`.

use std::time::Duration;

use http::Uri;

use crate::corefile::{
    checker::Checker,
    tree::{Line, Token},
};

/// The service without one in the directive.
pub const SERVICE: &str = "coredns";

const PROPERTIES: &[&str] = &[
    "every",
    "service",
    "client_server",
    "datadog_analytics_rate",
    "zipkin_max_backlog_size",
    "zipkin_max_batch_size",
    "zipkin_max_batch_interval",
];
/// Most spans that may wait.
const MOST: usize = 1_000_000;

/// The settings of `trace`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What the spans are sent as.
    pub format: Format,
    /// Where they are sent.
    pub endpoint: Uri,
    /// Of so many queries one is traced; 0 for none.
    pub every: u64,
    /// Who we are.
    pub service: String,
    /// Whether a span that a client began is gone on with, not begun anew below it.
    pub client_server: bool,
    /// How much of what is sent Datadog analyses, 0 to 1.
    pub analytics_rate: f64,
    /// How spans wait.
    pub batches: Batches,
}

/// How spans wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// Most of them; at more the oldest go.
    pub backlog: usize,
    /// As many as this are not kept waiting.
    pub size: usize,
    /// Nor is any for longer than this.
    pub interval: Duration,
}

impl Default for Batches {
    fn default() -> Self {
        Batches { backlog: 1000, size: 100, interval: Duration::from_secs(1) }
    }
}

/// What spans are sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Zipkin's second version, in JSON.
    Zipkin,
    /// To Datadog's agent, version 0.4.
    Datadog,
    /// OpenTelemetry, in protobuf.
    Otlp,
}

const FORMATS: &[(&str, Format)] =
    &[("zipkin", Format::Zipkin), ("datadog", Format::Datadog), ("otlp", Format::Otlp)];

impl Format {
    /// Where spans go without an endpoint, and their path where the endpoint has none.
    const fn default_place(self) -> (&'static str, &'static str) {
        match self {
            Format::Zipkin => ("localhost:9411", "/api/v2/spans"),
            Format::Datadog => ("localhost:8126", "/v0.4/traces"),
            Format::Otlp => ("localhost:4318", "/v1/traces"),
        }
    }
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let mut config = Config {
        format: Format::Zipkin,
        endpoint: Uri::default(),
        every: 1,
        service: SERVICE.to_owned(),
        client_server: false,
        analytics_rate: 0.0,
        batches: Batches::default(),
    };
    let args = cx.args(line, 0..=2, "at most a kind of endpoint and an endpoint");
    let place = args.and_then(|args| place(line, args, cx));
    for property in cx.properties(line) {
        read(property, &mut config, cx);
    }
    let (format, endpoint) = place?;
    for property in line.lines() {
        let name = &*property.name().text;
        let of = FORMATS.iter().find(|(of, _)| name.starts_with(of));
        if of.is_some_and(|(_, of)| *of != format) {
            cx.warn(property.span(), "this says nothing about an endpoint of another kind");
        }
    }
    Some(Config { format, endpoint, ..config })
}

fn place(line: &Line, args: &[Token], cx: &mut Checker<'_>) -> Option<(Format, Uri)> {
    let (format, token) = match args {
        [] => (Format::Zipkin, None),
        // With CoreDNS this would be a host of that name, for Zipkin.
        [kind] if &*kind.text == "otlp" => (Format::Otlp, None),
        [token] => {
            if FORMATS.iter().any(|(kind, _)| *kind == &*token.text) {
                cx.warn(token.span, "without an endpoint behind it this is a host of that name");
            }
            (Format::Zipkin, Some(token))
        }
        [kind, token, ..] => {
            (cx.choice_in_any_case(kind, "a kind of endpoint", FORMATS)?, Some(token))
        }
    };
    let (default, path) = format.default_place();
    let text = token.map(|token| &*token.text).filter(|text| !text.is_empty()).unwrap_or(default);
    let lower = text.to_ascii_lowercase();
    let is_url = lower.starts_with("http://") || lower.starts_with("https://");
    let uri = match (is_url, format) {
        (true, Format::Datadog | Format::Otlp)
            if text.splitn(4, '/').nth(3).unwrap_or_default().is_empty() =>
        {
            format!("{}{path}", text.trim_end_matches('/'))
        }
        (true, _) => text.to_owned(),
        (false, _) => format!("http://{text}{path}"),
    };
    let uri = uri.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    if uri.is_none() {
        let token = token.unwrap_or(line.name());
        cx.not(token, "`HOST:PORT` or the URL of an endpoint");
    }
    Some((format, uri?))
}

fn read(property: &Line, config: &mut Config, cx: &mut Checker<'_>) {
    match &*property.name().text {
        "every" => {
            let token = cx.one(property, "one number");
            let number = token.and_then(|token| cx.integer(token, "`every`", 0..=i64::MAX));
            config.every = number.map_or(config.every, i64::unsigned_abs);
        }
        "service" => {
            if let Some(token) = cx.one(property, "one name") {
                config.service = token.text.to_string();
            }
        }
        "client_server" => match cx.args(property, 0..=1, "at most `true` or `false`") {
            Some([token]) => match parse_bool(&token.text) {
                Some(found) => config.client_server = found,
                None => cx.not(token, "`true` or `false`"),
            },
            Some(_) => config.client_server = true,
            None => {}
        },
        "datadog_analytics_rate" => match cx.args(property, 0..=1, "at most one number") {
            Some([token]) => {
                let rate = token.text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
                match rate {
                    Some(rate) => config.analytics_rate = rate,
                    None => cx.not(token, "a number from 0 to 1"),
                }
            }
            Some(_) => config.analytics_rate = 0.0,
            None => {}
        },
        "zipkin_max_backlog_size" => size(property, &mut config.batches.backlog, cx),
        "zipkin_max_batch_size" => size(property, &mut config.batches.size, cx),
        "zipkin_max_batch_interval" => interval(property, &mut config.batches.interval, cx),
        _ => cx.unknown(property, PROPERTIES),
    }
}

/// A number of spans; 0 is for the default.
fn size(property: &Line, size: &mut usize, cx: &mut Checker<'_>) {
    let Some(token) = cx.one(property, "one number") else { return };
    let number = cx.integer(token, "a number of spans", 0..=MOST as i64);
    if let Some(number) = number.filter(|number| *number != 0) {
        *size = number as usize;
    }
}

fn interval(property: &Line, interval: &mut Duration, cx: &mut Checker<'_>) {
    let Some(token) = cx.one(property, "one duration") else { return };
    match cx.duration(token, "the interval") {
        None | Some(Duration::ZERO) => {}
        Some(found) if found < Duration::from_millis(1) => {
            cx.out_of_range(token, "the interval", "1ms or more");
        }
        Some(found) => *interval = found,
    }
}

/// What Go takes for a truth value.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
