//! From bytes to the store, without a network.

use daymark_cluster::{Event, Writer};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kubernetes::{
    encoding::{Encoding, Message},
    lines::Lines,
    sink::{Change, During},
};

fn sink(kind: Kind) -> Sink {
    let needs = only(&[kind]);
    Sink::new(needs, Writer::new(needs.kinds))
}

/// What the lines of a watch say, one line each.
fn decoded(chunks: &[&[u8]]) -> Vec<String> {
    let sink = sink(Kind::Service);
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for chunk in chunks {
        lines.feed(chunk, |line| {
            all.push(match line {
                Message::TooLong => "too long".to_owned(),
                Message::Whole(line) => {
                    match sink.change(Kind::Service, Encoding::Json, line, During::Watch) {
                        Ok(change) => format!("{change:?}"),
                        Err(_) => "garbled".to_owned(),
                    }
                }
            });
        });
    }
    all
}

proptest! {
    #[test]
    fn where_a_watch_is_cut_makes_no_difference(
        kinds in proptest::collection::vec(0usize..7, 0..6),
        cuts in proptest::collection::vec(0usize..1500, 0..12),
    ) {
        let samples = [
            added("a", 3, 1),
            event("MODIFIED", service("b\"ü\\n", 4, 2)),
            event("DELETED", service("a", 5, 1)),
            bookmark(6),
            end_of_list(7),
            expired(),
            json!({"type": "ADDED", "object": {"kind": 7}}),
        ];
        let text: String = kinds.iter().map(|kind| format!("{}\n", samples[*kind])).collect();
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let got = decoded(&chunks);
        prop_assert_eq!(got.len(), kinds.len());
        prop_assert_eq!(got, decoded(&[bytes]));
    }

    #[test]
    fn no_line_makes_the_decoder_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
        for kind in Kind::ALL {
            let _ = sink(kind).change(kind, Encoding::Json, &line, During::Watch);
            let _ = sink(kind).item(kind, &line);
        }
    }
}

#[test]
fn an_error_is_an_error_whatever_the_order_of_its_keys() {
    let sink = sink(Kind::Pod);
    for line in [
        r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure","code":410}}"#,
        r#"{"object":{"code":410,"metadata":{},"status":"Failure"},"type":"ERROR"}"#,
        r#"{"object":{"code":410,"metadata":{}},"type":"ERROR"}"#,
    ] {
        let change =
            sink.change(Kind::Pod, Encoding::Json, line.as_bytes(), During::Watch).unwrap();
        assert!(matches!(change, Change::Error(status) if status.code == 410), "{line}");
    }
}

#[test]
fn a_pod_that_is_being_deleted_stays_as_held_and_is_never_added() {
    let pod = |name: &str, ip: &str, leaving: bool, phase: &str| {
        let mut pod = json!({"metadata": {"name": name, "namespace": "x", "resourceVersion": "5"},
            "status": {"phase": phase, "podIPs": [{"ip": ip}]}});
        if leaving {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        pod
    };
    let sink = sink(Kind::Pod);
    let list = |pods: &[Value]| {
        let mut batch = vec![Event::ListStart(Kind::Pod)];
        for pod in pods {
            batch.extend(sink.item(Kind::Pod, pod.to_string().as_bytes()).unwrap());
        }
        batch.push(Event::ListDone(Kind::Pod));
        sink.apply(&mut batch);
    };
    let watch = |verb: &str, pod: Value| {
        let line = event(verb, pod).to_string();
        match sink.change(Kind::Pod, Encoding::Json, line.as_bytes(), During::Watch).unwrap() {
            Change::Event { event, .. } => sink.apply(&mut event.into_iter().collect()),
            other => panic!("{other:?}"),
        }
    };
    let shown = || {
        let snapshot = sink.reader().snapshot();
        let mut all: Vec<String> = snapshot
            .pods
            .iter()
            .map(|(k, pod)| format!("{}={:?}", k.name, pod.addresses))
            .collect();
        all.sort();
        all.join(" ")
    };
    list(&[pod("a", "10.1.0.1", false, "Running"), pod("b", "10.1.0.2", true, "Running")]);
    assert_eq!(shown(), "a=[10.1.0.1]", "b was never held");
    watch("MODIFIED", pod("a", "10.1.0.9", true, "Running"));
    assert_eq!(shown(), "a=[10.1.0.1]", "as it was held");
    list(&[pod("a", "10.1.0.9", true, "Running")]);
    assert_eq!(shown(), "a=[10.1.0.1]", "a relist does not sweep it");
    watch("ADDED", pod("c", "10.1.0.3", false, "Pending"));
    watch("MODIFIED", pod("c", "10.1.0.3", false, "Succeeded"));
    watch("DELETED", pod("a", "10.1.0.9", true, "Running"));
    assert_eq!(shown(), "");
}

#[test]
fn a_slice_keeps_when_its_change_was_triggered() {
    let sink = sink(Kind::EndpointSlice);
    let slice = json!({"metadata": {"name": "s", "namespace": "x", "annotations":
        {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:00:07Z"}}});
    let event = sink.item(Kind::EndpointSlice, slice.to_string().as_bytes()).unwrap();
    let Some(Event::Apply { object: daymark_cluster::event::Object::EndpointSlice(slice), .. }) =
        event
    else {
        panic!("{event:?}");
    };
    let want = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    assert_eq!(slice.triggered, Some(want));
}
