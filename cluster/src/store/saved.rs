//! A state that outlives the process: given out whole, and begun with.

use std::{sync::Arc, time::SystemTime};

use super::{Held, Writer};
use crate::{
    event::{Event, Kind, Object},
    object::ObjectName,
    snapshot::Map,
};

impl Writer {
    /// Begins with a state that was saved at `saved_at`: all of it is known at once, until the source
    /// tells what has become of it. For an empty store.
    pub fn restore(
        &mut self,
        objects: impl IntoIterator<Item = (Object, u64)>,
        saved_at: SystemTime,
    ) {
        let apply = |(object, version)| Event::Apply { object, version };
        let known = self.wanted.iter().map(Event::ListDone);
        // Before anything can be read: whoever sees the state sees how old it is.
        self.shared.saved_at.store(Some(Arc::new(saved_at)));
        self.apply(objects.into_iter().map(apply).chain(known));
        self.saved = self.wanted;
    }

    /// Every object with its version, as a state to be saved. O(cluster).
    pub fn everything(&self) -> Vec<(Object, u64)> {
        let snapshot = self.shared.current.load_full();
        let object = |kind: Kind, name: &ObjectName, held: &Held| match kind {
            Kind::Service => snapshot.services.get(name)?.service.clone().map(Object::Service),
            Kind::ServiceImport => {
                snapshot.services.get(name)?.import.clone().map(Object::ServiceImport)
            }
            Kind::EndpointSlice => {
                let owner = held.filed.iter().flatten().next()?.clone();
                let owner = ObjectName { namespace: name.namespace.clone(), name: owner };
                let state = snapshot.services.get(&owner)?;
                let slice = state.slices.iter().find(|slice| slice.name == *name)?;
                Some(Object::EndpointSlice(Arc::clone(slice)))
            }
            Kind::Namespace => snapshot.namespaces.get(&name.name).cloned().map(Object::Namespace),
            Kind::Node => snapshot.nodes.get(&name.name).cloned().map(Object::Node),
            Kind::Pod => snapshot.pods.get(name).cloned().map(Object::Pod),
        };
        let of_kind = |(kind, held): (&Kind, &Map<ObjectName, Held>)| {
            let found = held
                .iter()
                .filter_map(|(name, held)| Some((object(*kind, name, held)?, held.version)));
            found.collect::<Vec<_>>()
        };
        self.held.iter().flat_map(of_kind).collect()
    }
}
