//! JSON and protobuf have one meaning: whatever an object is like, both make the same of it.

use daymark_cluster::Writer;
use proptest::prelude::*;
use serde_json::Map;

use super::{
    messages::{event_message, frame},
    *,
};
use crate::kubernetes::{
    encoding::{Encoding, Message, Splitter},
    sink::{Change, During},
};

/// The kinds that protobuf has.
pub(super) const KINDS: [Kind; 5] =
    [Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::Pod, Kind::Node];

/// Texts that mean something in one field or another, and some that do not.
const TEXTS: [&str; 27] = [
    "",
    "web",
    "10.0.0.7",
    "010.0.0.7",
    "fd00::7",
    "10.244.1.7/24",
    "fd00:10:244::/64",
    "10.244.1.0/33",
    "::ffff:10.0.0.8",
    "None",
    "ClusterIP",
    "ExternalName",
    "x.example.com.",
    "TCP",
    "UDP",
    "SCTP",
    "tcp",
    "IPv4",
    "IPv6",
    "FQDN",
    "PreferDualStack",
    "Running",
    "Succeeded",
    "InternalIP",
    "Zone-Ä",
    "b\"\\\n",
    "2026-01-01T00:00:00Z",
];

/// Choices made beforehand, so that a failing case shrinks.
pub(super) struct Dice(pub(super) Vec<u8>);

/// What a field may have for a value.
type Make = fn(&mut Dice) -> Value;

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        usize::from(self.0.pop().unwrap_or(0)) % sides
    }

    fn text(&mut self) -> Value {
        TEXTS[self.throw(TEXTS.len())].into()
    }

    fn number(&mut self) -> Value {
        [0, 80, 65_535, 65_536, -1, i64::from(i32::MAX)][self.throw(6)].into()
    }

    fn flag(&mut self) -> Value {
        [Value::Null, true.into(), false.into()][self.throw(3)].clone()
    }

    fn some(&mut self, mut each: impl FnMut(&mut Self) -> Value) -> Value {
        match self.throw(4) {
            0 => Value::Null,
            length => (1..length).map(|_| each(self)).collect(),
        }
    }

    /// An object with some of these fields.
    fn object(&mut self, fields: &[(&str, Make)]) -> Value {
        let mut object = Map::new();
        for (name, make) in fields {
            if self.throw(4) != 0 {
                object.insert((*name).to_owned(), make(self));
            }
        }
        object.into()
    }

    fn pairs(&mut self) -> Value {
        self.object(&[
            ("kubernetes.io/service-name", Self::text),
            ("multicluster.kubernetes.io/service-name", Self::text),
            ("multicluster.kubernetes.io/source-cluster", Self::text),
            ("endpoints.kubernetes.io/last-change-trigger-time", Self::text),
            ("topology.kubernetes.io/zone", Self::text),
            ("k8s.io/initial-events-end", |dice| ["true", "false"][dice.throw(2)].into()),
        ])
    }

    fn metadata(&mut self) -> Value {
        self.object(&[
            ("name", Self::text),
            ("namespace", Self::text),
            ("resourceVersion", |dice| {
                ["", "7", "x", "18446744073709551615"][dice.throw(4)].into()
            }),
            ("deletionTimestamp", |dice| {
                [Value::Null, "2026-01-01T00:00:00Z".into()][dice.throw(2)].clone()
            }),
            ("labels", Self::pairs),
            ("annotations", Self::pairs),
        ])
    }

    fn port(&mut self) -> Value {
        self.object(&[("name", Self::text), ("protocol", Self::text), ("port", Self::number)])
    }

    fn endpoint(&mut self) -> Value {
        self.object(&[
            ("addresses", |dice| dice.some(Self::text)),
            ("conditions", |dice| dice.object(&[("ready", Self::flag)])),
            ("hostname", Self::text),
            ("targetRef", |dice| dice.object(&[("name", Self::text)])),
            ("zone", Self::text),
        ])
    }

    fn spec(&mut self) -> Value {
        self.object(&[
            ("type", Self::text),
            ("clusterIP", Self::text),
            ("clusterIPs", |dice| dice.some(Self::text)),
            ("externalName", Self::text),
            ("externalIPs", |dice| dice.some(Self::text)),
            ("ipFamilies", |dice| dice.some(Self::text)),
            ("ipFamilyPolicy", Self::text),
            ("ports", |dice| dice.some(Self::port)),
        ])
    }

    fn ranges(&mut self) -> Value {
        self.object(&[("podCIDR", Self::text), ("podCIDRs", |dice| dice.some(Self::text))])
    }

    fn balanced(&mut self) -> Value {
        let ingress: Make =
            |dice| dice.some(|dice| dice.object(&[("ip", Self::text), ("hostname", Self::text)]));
        let balancer = self.object(&[("ingress", ingress)]);
        [Value::Null, serde_json::json!({ "loadBalancer": balancer })][self.throw(2)].clone()
    }

    fn status(&mut self) -> Value {
        self.object(&[
            ("phase", Self::text),
            ("podIP", Self::text),
            ("podIPs", |dice| dice.some(|dice| dice.object(&[("ip", Self::text)]))),
            ("addresses", |dice| {
                dice.some(|dice| dice.object(&[("type", Self::text), ("address", Self::text)]))
            }),
        ])
    }

    pub(super) fn event(&mut self, kind: Kind) -> Value {
        let verb = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"][self.throw(5)];
        if verb == "ERROR" {
            return event(verb, failure(410, "Expired", "too old"));
        }
        let mut object = match kind {
            Kind::Service => self.object(&[("spec", Self::spec), ("status", Self::balanced)]),
            Kind::EndpointSlice => self.object(&[
                ("addressType", Self::text),
                ("ports", |dice| dice.some(Self::port)),
                ("endpoints", |dice| dice.some(Self::endpoint)),
            ]),
            Kind::Node => self.object(&[("spec", Self::ranges), ("status", Self::status)]),
            _ => self.object(&[("status", Self::status)]),
        };
        object["metadata"] = self.metadata();
        event(verb, object)
    }
}

pub(super) fn sink() -> Sink {
    let all = KINDS.into_iter().collect::<KindSet>();
    let needs = Needs {
        kinds: all,
        labels: all,
        endpoint_pods: true,
        endpoint_zones: true,
        externals: true,
    };
    Sink::new(needs, Writer::new(all))
}

fn read(kind: Kind, encoding: Encoding, message: &[u8]) -> String {
    match sink().change(kind, encoding, message, During::Watch) {
        Ok(change) => format!("{change:?}"),
        Err(error) => format!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn json_and_protobuf_say_the_same(
        kind in prop::sample::select(&KINDS[..]), dice in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let event = Dice(dice).event(kind);
        let json = read(kind, Encoding::Json, event.to_string().as_bytes());
        prop_assert!(!json.contains("line 1"), "{}: {}", json, event);
        let protobuf = read(kind, Encoding::Protobuf, &event_message(kind, &event));
        prop_assert_eq!(protobuf, json, "{}", event);
    }

    #[test]
    fn no_frame_makes_the_decoder_panic(
        dice in prop::collection::vec(any::<u8>(), 0..120),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        random in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        for kind in KINDS {
            let mut message = event_message(kind, &Dice(dice.clone()).event(kind));
            for (at, octet) in &edits {
                let at = at.index(message.len());
                message[at] = *octet;
            }
            let cut = &message[..length.index(message.len() + 1)];
            for message in [&message, cut, &random] {
                let _ = sink().change(kind, Encoding::Protobuf, message, During::Watch);
            }
        }
    }
}

#[test]
fn what_is_no_object_of_the_api_is_refused() {
    let whole = event_message(Kind::Pod, &added("a", 1, 1));
    let magic = whole.windows(4).position(|part| part == b"k8s\0").unwrap();
    let mut other = whole.clone();
    other[magic] = b'x';
    let no_object = "malformed protobuf: no object of the Kubernetes API";
    for (message, want) in [
        (other.as_slice(), no_object),
        (b"".as_slice(), no_object),
        (&[b"\x0a\x05ADDED".as_slice(), b"\x12\x06\x0a\x04k8s\0"].concat(), "Change"),
        (&[b"\x0a\x05ADDED".as_slice(), b"\x12\x0a\x0a\x08k8s\0\x1a\x02gz"].concat(), "plain"),
        (&[b"\x0a\x05ADDED".as_slice(), b"\x12\x0a\x0a\x08k8s\0\x22\x02gz"].concat(), "plain"),
        (&whole[..whole.len() - 1], "ends within a field"),
        (b"\x08\x01", "field 1 is of another type"),
    ] {
        let got = read(Kind::Pod, Encoding::Protobuf, message);
        assert!(got.contains(want) || want == "Change" && got.contains("Event"), "{got}");
    }
    // A kind that has no protobuf.
    let got = read(Kind::ServiceImport, Encoding::Protobuf, &whole);
    assert!(got.contains(no_object), "{got}");
}

#[test]
fn text_that_is_no_utf8_is_replaced_and_harms_nobody_else() {
    let event = event_message(Kind::Service, &added("abcdef", 1, 1));
    let at = event.windows(6).position(|part| part == b"abcdef").unwrap();
    let mut odd = event.clone();
    odd[at + 5] = 0xff;
    let got = read(Kind::Service, Encoding::Protobuf, &odd);
    assert!(got.contains("abcde\u{fffd}"), "{got}");
}

#[test]
fn a_list_in_frames_ends_with_its_bookmark() {
    let events = [added("a", 3, 1), bookmark(6), end_of_list(7), expired()];
    let bytes: Vec<u8> = events.iter().flat_map(|event| frame(Kind::Service, event)).collect();
    let (mut splitter, mut seen) = (Splitter::new(Encoding::Protobuf), Vec::new());
    let sink = sink();
    let each = |message: Message<'_>| {
        let Message::Whole(message) = message else { panic!("too long") };
        let (kind, encoding) = (Kind::Service, Encoding::Protobuf);
        seen.push(sink.change(kind, encoding, message, During::List).unwrap());
    };
    splitter.feed(&bytes, each).unwrap();
    assert!(matches!(&seen[0], Change::Event { event: Some(_), version: 3 }), "{seen:?}");
    assert!(matches!(&seen[1], Change::Bookmark { version: 6, ends_list: false }), "{seen:?}");
    assert!(matches!(&seen[2], Change::Bookmark { version: 7, ends_list: true }), "{seen:?}");
    assert!(matches!(&seen[3], Change::Error(status) if status.code == 410), "{seen:?}");
}
