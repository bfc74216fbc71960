//! What readers of the store rely on.

use proptest::prelude::*;

use super::*;
use crate::object::{Endpoint, Service, ServiceKind};

fn service(name: &str, address: &str) -> Object {
    Object::Service(Arc::new(Service {
        name: ObjectName::new("shop", name),
        kind: ServiceKind::Cluster(Box::new([address.parse().unwrap()])),
        ports: Arc::default(),
        externals: Box::default(),
        labels: Box::default(),
    }))
}

fn slice(name: &str, owner: &str, addresses: &[&str]) -> Object {
    let endpoint = |address: &&str| Endpoint {
        address: address.parse().unwrap(),
        ready: true,
        hostname: None,
        pod: None,
        zone: None,
    };
    Object::EndpointSlice(Arc::new(EndpointSlice {
        name: ObjectName::new("shop", name),
        service: Some(owner.into()),
        import: None,
        cluster_id: None,
        ports: Arc::default(),
        endpoints: addresses.iter().map(endpoint).collect(),
        triggered: None,
        labels: Box::default(),
    }))
}

fn apply(object: Object, version: u64) -> Event {
    Event::Apply { object, version }
}

fn delete(kind: Kind, name: &str) -> Event {
    Event::Delete { key: ObjectKey { kind, name: ObjectName::new("shop", name) }, version: 0 }
}

fn all() -> KindSet {
    [Kind::Service, Kind::EndpointSlice].into_iter().collect()
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Vec<ObjectName>>>>);

impl Follow for Log {
    fn follow(&mut self, _: &Snapshot, _: &Snapshot, delta: &Delta) {
        self.0.lock().push(delta.services.clone());
    }
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let mut writer = Writer::new(all());
    writer.apply([apply(service("web", "10.0.0.2"), 12)]);
    writer.apply([apply(service("web", "10.0.0.1"), 11)]);
    let snapshot = writer.reader().snapshot();
    let state = snapshot.services.get(&ObjectName::new("shop", "web")).unwrap();
    let kind = &state.service.as_ref().unwrap().kind;
    assert_eq!(kind, &ServiceKind::Cluster(Box::new(["10.0.0.2".parse().unwrap()])));
}

#[test]
fn an_unchanged_object_makes_no_revision_but_keeps_its_new_version() {
    let mut writer = Writer::new(all());
    writer.apply([apply(service("web", "10.0.0.1"), 10)]);
    writer.apply([apply(service("web", "10.0.0.1"), 12)]);
    assert_eq!(writer.reader().snapshot().revision, 1);
    writer.apply([apply(service("web", "10.0.0.9"), 11)]);
    assert_eq!(writer.reader().snapshot().revision, 1, "version 11 is older than 12");
}

#[test]
fn a_relist_removes_what_it_did_not_name_and_reports_only_that() {
    let mut writer = Writer::new(all());
    writer.apply([apply(service("a", "10.0.0.1"), 1), apply(service("b", "10.0.0.2"), 1)]);
    let log = Log::default();
    let _subscription = writer.reader().follow(Box::new(log.clone()));
    writer.apply([
        Event::ListStart(Kind::Service),
        apply(service("b", "10.0.0.2"), 2),
        Event::ListDone(Kind::Service),
    ]);
    assert_eq!(log.0.lock().last().unwrap(), &vec![ObjectName::new("shop", "a")]);
    assert_eq!(writer.reader().snapshot().services.len(), 1);
}

#[test]
fn a_slice_that_changes_its_label_moves_to_the_other_service() {
    let mut writer = Writer::new(all());
    writer.apply([apply(slice("s", "web", &["10.1.0.1"]), 1)]);
    writer.apply([apply(slice("s", "api", &["10.1.0.1"]), 2)]);
    let snapshot = writer.reader().snapshot();
    assert!(snapshot.services.get(&ObjectName::new("shop", "web")).is_none());
    assert!(snapshot.services.get(&ObjectName::new("shop", "api")).is_some());
    writer.apply([delete(Kind::EndpointSlice, "s")]);
    assert!(writer.reader().snapshot().services.is_empty());
}

#[test]
fn the_store_is_synced_when_every_wanted_kind_was_listed() {
    let mut writer = Writer::new(all());
    let reader = writer.reader();
    writer.apply([Event::ListStart(Kind::Service), Event::ListDone(Kind::Service)]);
    assert!(!reader.synced());
    writer.apply([Event::ListStart(Kind::EndpointSlice), Event::ListDone(Kind::EndpointSlice)]);
    assert!(reader.synced());
    assert!(reader.age().is_none(), "nothing confirmed the data yet");
    writer.confirm();
    assert!(reader.age().is_some());
}

/// Notes what a reader says while a follower is being told.
struct Doubter(Reader, Arc<Mutex<Vec<bool>>>);

impl Follow for Doubter {
    fn follow(&mut self, _: &Snapshot, _: &Snapshot, _: &Delta) {
        self.1.lock().push(self.0.synced());
    }
}

#[test]
fn the_store_is_synced_only_when_its_followers_know_it() {
    let mut writer = Writer::new(all());
    let (reader, seen) = (writer.reader(), Arc::default());
    let _subscription = reader.follow(Box::new(Doubter(reader.clone(), Arc::clone(&seen))));
    writer.apply(all().iter().map(Event::ListStart));
    writer.apply(all().iter().map(Event::ListDone));
    assert!(reader.synced());
    assert_eq!(*seen.lock(), [false, false], "the greeting, and all that was listed");
}

#[test]
fn a_list_that_breaks_off_is_told_once_and_takes_nothing_away() {
    let mut writer = Writer::new(all());
    let log = Log::default();
    let _subscription = writer.reader().follow(Box::new(log.clone()));
    writer.apply([Event::ListStart(Kind::Service), apply(service("web", "10.0.0.1"), 1)]);
    assert!(writer.reader().snapshot().listing.contains(Kind::Service));
    writer.apply([Event::ListFailed(Kind::Service)]);
    writer.apply([Event::ListFailed(Kind::Service)]);
    let snapshot = writer.reader().snapshot();
    assert_eq!((snapshot.services.len(), snapshot.listing.contains(Kind::Service)), (1, false));
    assert_eq!(log.0.lock().len(), 3, "the greeting, the Service, and that no more is coming");
}

#[test]
fn a_dropped_subscription_hears_nothing_more() {
    let mut writer = Writer::new(all());
    let log = Log::default();
    drop(writer.reader().follow(Box::new(log.clone())));
    writer.apply([apply(service("web", "10.0.0.1"), 1)]);
    assert_eq!(log.0.lock().len(), 1, "only the greeting");
}

/// Rebuilds the set of Services from deltas alone.
#[derive(Clone, Default)]
struct Mirror(Arc<Mutex<std::collections::BTreeMap<ObjectName, Arc<ServiceState>>>>);

impl Follow for Mirror {
    fn follow(&mut self, _: &Snapshot, next: &Snapshot, delta: &Delta) {
        let mut mirror = self.0.lock();
        for name in &delta.services {
            match next.services.get(name) {
                Some(state) => mirror.insert(name.clone(), Arc::clone(state)),
                None => mirror.remove(name),
            };
        }
    }
}

proptest! {
    #[test]
    fn who_follows_deltas_knows_exactly_the_snapshot(
        steps in prop::collection::vec((0u8..5, 0u8..6, 0u8..6, 0u8..3), 1..80)
    ) {
        let mut writer = Writer::new(all());
        let mirror = Mirror::default();
        let _subscription = writer.reader().follow(Box::new(mirror.clone()));
        for (op, a, b, c) in steps {
            let (name, owner, address) = (format!("n{a}"), format!("n{b}"), format!("10.0.0.{c}"));
            writer.apply([match op {
                0 => apply(service(&name, &address), 0),
                1 => apply(slice(&name, &owner, &[address.as_str()]), 0),
                2 => delete(Kind::Service, &name),
                3 => delete(Kind::EndpointSlice, &name),
                _ => Event::ListStart(Kind::Service),
            }]);
            if op == 4 && a == 0 {
                writer.apply([Event::ListDone(Kind::Service)]);
            }
        }
        let snapshot = writer.reader().snapshot();
        let seen: std::collections::BTreeMap<_, _> =
            snapshot.services.iter().map(|(k, v)| (k.clone(), Arc::clone(v))).collect();
        prop_assert_eq!(&*mirror.0.lock(), &seen);
    }
}
