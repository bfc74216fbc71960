//! The state on disk: what is written is what is read, and half a file is none.

use std::{fs, sync::Arc};

use daymark_cluster::{EndpointSlice, Event, Needs, ObjectName, Writer, event::Object};
use proptest::prelude::*;

use super::two_ways::{Dice, KINDS, sink};
use crate::kubernetes::{
    saved::{State, object},
    sink::Sink,
    tests::*,
};

proptest! {
    #[test]
    fn a_saved_object_is_the_object(
        kind in prop::sample::select(&KINDS[..]), dice in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let sink = sink();
        let event = Dice(dice).event(kind);
        let text = event["object"].to_string();
        let Ok(Some((object, version))) = sink.object(kind, text.as_bytes()) else { return Ok(()) };
        let saved = object::json(&object, version).to_string();
        let read = sink.object(kind, saved.as_bytes()).unwrap();
        prop_assert_eq!(read, Some((untimed(object), version)), "{}", saved);
    }
}

/// When a slice was changed is not saved: how long that took to show is counted once.
fn untimed(object: Object) -> Object {
    match object {
        Object::EndpointSlice(slice) => {
            let mut slice = EndpointSlice::clone(&slice);
            slice.triggered = None;
            Object::EndpointSlice(Arc::new(slice))
        }
        other => other,
    }
}

const ALL: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

fn empty(needs: Needs) -> Arc<Sink> {
    Arc::new(Sink::new(needs, Writer::new(needs.kinds)))
}

fn needs() -> Needs {
    Needs { kinds: ALL.into_iter().collect(), ..Needs::default() }
}

fn state(folder: &std::path::Path, api: &str, needs: Needs, sink: &Arc<Sink>) -> State {
    State::new(folder, api.to_owned(), needs, Arc::clone(sink), Arc::new(()))
}

fn file(folder: &std::path::Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).unwrap()
}

/// A sink with two objects, all of it listed.
fn listed() -> Arc<Sink> {
    let sink = empty(needs());
    let service = r#"{"metadata":{"namespace":"shop","name":"web","resourceVersion":"7"},
        "spec":{"clusterIP":"10.96.0.7","ports":[{"name":"http","port":80}]}}"#;
    let slice = r#"{"metadata":{"namespace":"shop","name":"web-1","resourceVersion":"8",
        "labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
        "ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.0.0.1"]}]}"#;
    let mut batch: Vec<Event> = ALL.into_iter().map(Event::ListStart).collect();
    batch.extend(sink.item(Kind::Service, service.as_bytes()).unwrap());
    batch.extend(sink.item(Kind::EndpointSlice, slice.as_bytes()).unwrap());
    batch.extend(ALL.into_iter().map(Event::ListDone));
    sink.apply(&mut batch);
    sink
}

#[test]
fn a_new_start_knows_what_was_saved_until_the_api_has_told_all() {
    let folder = tempdir();
    let before = listed();
    state(folder.path(), "api", needs(), &before).write();
    let after = empty(needs());
    assert!(state(folder.path(), "api", needs(), &after).load());
    let reader = after.reader();
    assert!(reader.synced() && reader.saved_at().is_some());
    let service = ObjectName::new("shop", "web");
    let held = |sink: &Sink| sink.reader().snapshot().services.get(&service).cloned();
    assert_eq!(held(&after), held(&before));

    // The API tells the Services: none is left. Slices are still those that were saved.
    after.apply(&mut vec![Event::ListStart(Kind::Service), Event::ListDone(Kind::Service)]);
    assert!(reader.saved_at().is_some());
    assert!(held(&after).unwrap().service.is_none());
    let slices = Kind::EndpointSlice;
    after.apply(&mut vec![Event::ListStart(slices), Event::ListDone(slices)]);
    assert_eq!(reader.saved_at(), None);
    assert_eq!(held(&after), None);
}

#[test]
fn a_state_that_was_only_read_is_not_written_again() {
    let folder = tempdir();
    state(folder.path(), "api", needs(), &listed()).write();
    let text = fs::read(file(folder.path())).unwrap();
    let after = empty(needs());
    let again = state(folder.path(), "api", needs(), &after);
    assert!(again.load());
    after.apply(&mut vec![Event::ListStart(Kind::Service), Event::ListDone(Kind::Service)]);
    again.write();
    assert_eq!(fs::read(file(folder.path())).unwrap(), text, "half of it is the old one's");
}

#[test]
fn files_that_are_cut_or_of_something_else_are_not_used() {
    let folder = tempdir();
    state(folder.path(), "api", needs(), &listed()).write();
    let path = file(folder.path());
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let sink = empty(needs());
        assert!(!state(folder.path(), "api", needs(), &sink).load(), "cut at {length}");
        assert!(!sink.reader().synced());
    }
    fs::write(&path, &whole).unwrap();
    let with_labels = Needs { labels: ALL.into_iter().collect(), ..needs() };
    assert!(!state(folder.path(), "api", with_labels, &empty(with_labels)).load());
    let with_externals = Needs { externals: true, ..needs() };
    assert!(!state(folder.path(), "api", with_externals, &empty(with_externals)).load());
    let other = Needs { kinds: needs().kinds.with(Kind::Pod), ..Needs::default() };
    assert!(!state(folder.path(), "api", other, &empty(other)).load());
    assert!(!state(folder.path(), "another", needs(), &empty(needs())).load());
    let fewer = Needs { kinds: [Kind::Service].into_iter().collect(), ..Needs::default() };
    assert!(state(folder.path(), "api", fewer, &empty(fewer)).load());
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
