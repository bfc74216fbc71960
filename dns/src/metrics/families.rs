//! The per-query families, added up over all threads when somebody scrapes.

use std::sync::{Arc, atomic::Ordering};

use prometheus::{
    core::{Collector, Desc},
    proto::{self, MetricFamily, MetricType},
};

use super::{
    Queries, Recorder, Series, SeriesId,
    counters::{
        Counter, Counters, Histogram, RCODE_COUNT, SIZE_BOUNDS, TIME_BOUNDS, TYPES, time_bound,
    },
};

const PROTOCOLS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

/// Names and help texts, in the order in which [`Families::finish`] fills them.
const NAMES: [(&str, &str); 11] = [
    (
        "coredns_dns_requests_total",
        "DNS requests per server, zone, view, protocol, address family and type.",
    ),
    (
        "coredns_dns_request_duration_seconds",
        "Time from reading a request to handing its reply to the kernel.",
    ),
    ("coredns_dns_request_size_bytes", "Size of requests."),
    ("coredns_dns_response_size_bytes", "Size of replies."),
    ("coredns_dns_do_requests_total", "DNS requests with the DO bit set."),
    ("coredns_dns_responses_total", "DNS replies per response code and plugin."),
    ("coredns_panics_total", "Panics caught while answering."),
    (
        "daymark_dns_queries_total",
        "Queries by the way they took: short (wire tables) or long (plugin chain).",
    ),
    ("daymark_dns_shed_total", "Queries dropped because a bound of the long way was hit."),
    (
        "daymark_dns_unfair_dropped_total",
        "Datagrams dropped because their source had had its share of scarce processor time.",
    ),
    ("daymark_dns_ignored_total", "Datagrams that are no queries: responses and cut headers."),
];

/// Collects what [`Recorder`]s counted.
pub(super) struct QueryFamilies {
    queries: Arc<Queries>,
    descriptions: Vec<Desc>,
}

impl QueryFamilies {
    pub(super) fn new(queries: Arc<Queries>) -> Self {
        // A registry tells collectors apart by their descriptions; labels play no part in that.
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default()).ok()
        };
        QueryFamilies { queries, descriptions: NAMES.into_iter().filter_map(describe).collect() }
    }
}

impl Collector for QueryFamilies {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.queries.series.lock().all.clone();
        let recorders = self.queries.recorders.lock().clone();
        let mut families = Families::default();
        for (index, labels) in series.iter().enumerate() {
            let id = SeriesId(index as u16);
            let values: Vec<&Counters> = recorders.iter().filter_map(|r| r.values(id)).collect();
            if !values.is_empty() {
                families.add(labels, &values);
            }
        }
        families.finish(&self.queries, &recorders)
    }
}

#[derive(Default)]
struct Families {
    requests: Vec<proto::Metric>,
    dnssec_ok: Vec<proto::Metric>,
    responses: Vec<proto::Metric>,
    query_size: Vec<proto::Metric>,
    reply_size: Vec<proto::Metric>,
    duration: Vec<proto::Metric>,
}

impl Families {
    fn add(&mut self, series: &Series, values: &[&Counters]) {
        let base = [("server", &*series.server), ("view", &*series.view), ("zone", &*series.zone)];
        let with = |more: &[(&str, &str)]| labels(&base, more);
        let total =
            |pick: &dyn Fn(&Counters) -> &Counter| values.iter().map(|v| pick(v).get()).sum();
        for (protocol, proto) in PROTOCOLS.iter().enumerate() {
            for (number, family) in FAMILIES.iter().enumerate() {
                for (index, rtype) in
                    TYPES.iter().map(|(_, name)| *name).chain(["other"]).enumerate()
                {
                    let count = total(&|v| &v.requests[protocol][number][index]);
                    let labels = with(&[("proto", proto), ("family", family), ("type", rtype)]);
                    counted(&mut self.requests, count, labels);
                }
            }
            let sizes = [
                (&mut self.query_size, values.iter().map(|v| &v.query_size[protocol]).collect()),
                (&mut self.reply_size, values.iter().map(|v| &v.reply_size[protocol]).collect()),
            ];
            for (out, histograms) in sizes {
                let histograms: Vec<&Histogram<_>> = histograms;
                let bound = |index: usize| SIZE_BOUNDS[index] as f64;
                out.extend(histogram(&histograms, 1.0, bound, with(&[("proto", proto)])));
            }
        }
        counted(&mut self.dnssec_ok, total(&|v| &v.dnssec_ok), with(&[]));
        for (by_chain, plugin) in ["", series.plugin.as_str()].into_iter().enumerate() {
            for code in 0..RCODE_COUNT {
                let count = total(&|v| &v.responses[by_chain][code]);
                let labels = with(&[("rcode", rcode_label(code)), ("plugin", plugin)]);
                counted(&mut self.responses, count, labels);
            }
        }
        let durations: Vec<&Histogram<_>> = values.iter().map(|v| &v.duration).collect();
        self.duration.extend(histogram(&durations, 1e9, time_bound, with(&[])));
    }

    fn finish(self, queries: &Queries, recorders: &[Arc<Recorder>]) -> Vec<MetricFamily> {
        let (counter, histogram) = (MetricType::COUNTER, MetricType::HISTOGRAM);
        let sum = |pick: fn(&Recorder) -> &Counter| recorders.iter().map(|r| pick(r).get()).sum();
        let way = |name: &str, value: u64| with_value(value, labels(&[("way", name)], &[]));
        let ways = vec![way("short", sum(|r| &r.short)), way("long", sum(|r| &r.long))];
        let lone = |value| vec![with_value(value, Vec::new())];
        let values = [
            (counter, self.requests),
            (histogram, self.duration),
            (histogram, self.query_size),
            (histogram, self.reply_size),
            (counter, self.dnssec_ok),
            (counter, self.responses),
            (counter, lone(queries.panics.load(Ordering::Relaxed))),
            (counter, ways),
            (counter, lone(sum(|r| &r.shed))),
            (counter, lone(sum(|r| &r.unfair))),
            (counter, lone(sum(|r| &r.ignored))),
        ];
        NAMES
            .into_iter()
            .zip(values)
            .map(|((name, help), (kind, metrics))| (name, help, kind, metrics))
            .filter(|(.., metrics)| !metrics.is_empty())
            .map(|(name, help, kind, metrics)| family(name, help, kind, metrics))
            .collect()
    }
}

/// A family out of its parts.
pub(crate) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: Vec<proto::Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

/// Label pairs in the order of their names.
pub(crate) fn labels(base: &[(&str, &str)], more: &[(&str, &str)]) -> Vec<proto::LabelPair> {
    let mut pairs: Vec<(&str, &str)> = base.iter().chain(more).copied().collect();
    pairs.sort_unstable();
    pairs
        .into_iter()
        .map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        })
        .collect()
}

/// Like client libraries, a label set shows once it was counted for the first time.
fn counted(out: &mut Vec<proto::Metric>, value: u64, labels: Vec<proto::LabelPair>) {
    if value > 0 {
        out.push(with_value(value, labels));
    }
}

/// A counter's value.
pub(crate) fn with_value(value: u64, labels: Vec<proto::LabelPair>) -> proto::Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut metric = proto::Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

/// A gauge's value.
pub(crate) fn with_gauge(value: f64, labels: Vec<proto::LabelPair>) -> proto::Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    let mut metric = proto::Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram<const N: usize>(
    parts: &[&Histogram<N>],
    unit: f64,
    bound: impl Fn(usize) -> f64,
    labels: Vec<proto::LabelPair>,
) -> Option<proto::Metric> {
    debug_assert!(N == TIME_BOUNDS + 1 || N == SIZE_BOUNDS.len() + 1);
    let (mut cumulative, mut buckets) = (0, Vec::with_capacity(N - 1));
    for index in 0..N {
        cumulative += parts.iter().map(|part| part.buckets[index].get()).sum::<u64>();
        if index + 1 < N {
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(cumulative);
            bucket.set_upper_bound(bound(index));
            buckets.push(bucket);
        }
    }
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(cumulative);
    histogram.set_sample_sum(parts.iter().map(|p| p.sum.get()).sum::<u64>() as f64 / unit);
    histogram.set_bucket(buckets);
    let mut metric = proto::Metric::from_label(labels);
    metric.set_histogram(histogram);
    (cumulative > 0).then_some(metric)
}

/// Names of response codes as miekg/dns, and so CoreDNS's `rcode` label, has them.
pub fn rcode_label(code: usize) -> &'static str {
    const NAMES: [&str; RCODE_COUNT] = [
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
        "12",
        "13",
        "14",
        "15",
        "BADVERS",
        "BADKEY",
        "BADTIME",
        "BADMODE",
        "BADNAME",
        "BADALG",
        "BADTRUNC",
        "BADCOOKIE",
    ];
    NAMES[code.min(RCODE_COUNT - 1)]
}
