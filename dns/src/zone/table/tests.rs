//! When a table follows: not while the first lists come in, at once afterwards.

use daymark_cluster::{
    Event, Kind, KindSet, ObjectName, Service, ServiceKind, Writer, event::Object,
};

use super::*;
use crate::zone::view::{Zone, ZoneKind};

const KINDS: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Namespace];

struct Rig {
    writer: Writer,
    table: Table,
    _following: daymark_cluster::store::Subscription,
}

impl Rig {
    fn new() -> Self {
        let writer = Writer::new(KINDS.into_iter().collect::<KindSet>());
        let view = View::new(vec![Zone::new("cluster.local", ZoneKind::Cluster).unwrap()]);
        let (table, follower) = Table::new(view);
        let following = writer.reader().follow(follower);
        Rig { writer, table, _following: following }
    }

    fn service(&mut self, name: &str, address: &str) {
        let service = Service {
            name: ObjectName::new("shop", name),
            kind: ServiceKind::Cluster(Box::new([address.parse().unwrap()])),
            ports: Arc::default(),
            externals: Box::default(),
            labels: Box::default(),
        };
        self.writer
            .apply([Event::Apply { object: Object::Service(Arc::new(service)), version: 0 }]);
    }

    fn address(&self, key: &[u8]) -> Option<[u8; 4]> {
        let directory = self.table.load();
        directory.service(key).and_then(|group| group.node(b"")?.v4().first().copied())
    }

    fn synced(&self) -> bool {
        self.table.load().synced
    }
}

const WEB: &[u8] = b"\x03web\x04shop";

#[test]
fn the_first_lists_are_compiled_when_no_more_is_coming() {
    let mut rig = Rig::new();
    rig.writer.apply(KINDS.map(Event::ListStart));
    rig.service("web", "10.96.0.1");
    rig.service("web", "10.96.0.2");
    rig.writer.apply([Event::ListDone(Kind::Service), Event::ListDone(Kind::Namespace)]);
    assert_eq!(rig.address(WEB), None, "its slices are still coming in");
    rig.writer.apply([Event::ListDone(Kind::EndpointSlice)]);
    assert_eq!((rig.address(WEB), rig.synced()), (Some([10, 96, 0, 2]), true));
}

#[test]
fn a_first_list_that_breaks_off_holds_nothing_up() {
    let mut rig = Rig::new();
    rig.writer.apply(KINDS.map(Event::ListStart));
    rig.service("web", "10.96.0.1");
    rig.writer.apply([Event::ListDone(Kind::Service), Event::ListDone(Kind::Namespace)]);
    rig.writer.apply([Event::ListFailed(Kind::EndpointSlice)]);
    assert_eq!((rig.address(WEB), rig.synced()), (Some([10, 96, 0, 1]), false));
    rig.service("web", "10.96.0.2");
    assert_eq!(rig.address(WEB), Some([10, 96, 0, 2]), "a change shows while there is no list");
}

#[test]
fn a_first_list_that_stalls_holds_nothing_up_once_nobody_waits_for_it() {
    let mut rig = Rig::new();
    rig.writer.apply(KINDS.map(Event::ListStart));
    rig.service("web", "10.96.0.1");
    rig.writer.apply([Event::ListDone(Kind::Service), Event::ListDone(Kind::Namespace)]);
    assert_eq!(rig.address(WEB), None);
    rig.writer.reader().stop_waiting();
    assert_eq!((rig.address(WEB), rig.synced()), (Some([10, 96, 0, 1]), false));
    rig.service("web", "10.96.0.2");
    assert_eq!(rig.address(WEB), Some([10, 96, 0, 2]), "a change shows while the list stalls");
    rig.writer.apply([Event::ListDone(Kind::EndpointSlice)]);
    assert!(rig.synced());
}

#[test]
fn a_later_list_holds_nothing_up() {
    let mut rig = Rig::new();
    rig.writer.apply(KINDS.map(Event::ListStart));
    rig.writer.apply(KINDS.map(Event::ListDone));
    rig.service("web", "10.96.0.1");
    rig.writer.apply([Event::ListStart(Kind::Service)]);
    rig.service("web", "10.96.0.2");
    assert_eq!(rig.address(WEB), Some([10, 96, 0, 2]));
    rig.writer.apply([Event::ListFailed(Kind::Service)]);
    assert_eq!(rig.address(WEB), Some([10, 96, 0, 2]));
}
