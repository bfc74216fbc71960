//! What many objects share: names (of namespaces, Services, ports, topology zones) and lists of ports.

use std::{borrow::Borrow, fmt, hash::Hash, ops::Deref, sync::Arc};

use hashbrown::HashSet;

use crate::object::{Port, Ports};

/// An immutable string of one pointer's size, cheap to clone and compared by content.
///
/// Made by an [`Interner`], equal names share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name(arcstr::ArcStr);

impl Name {
    /// A name with an allocation of its own. Sources go through an [`Interner`] instead.
    pub fn new(text: &str) -> Self {
        Name(arcstr::ArcStr::from(text))
    }

    /// The name's text, in the case it was written in.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::new(text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Gives equal names, and equal lists of ports, one allocation. Bounded by those in use: whenever
/// there are twice as many as after the last sweep, those that nobody else holds are dropped.
#[derive(Default)]
pub struct Interner {
    names: Shared<Name>,
    ports: Shared<Ports>,
}

struct Shared<T> {
    values: HashSet<T, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Interner {
    /// Below this many values a sweep is not worth its time.
    const SWEEP_FLOOR: usize = 4096;

    /// The shared name for `text`.
    pub fn name(&mut self, text: &str) -> Name {
        // A static literal has no count; here only counted ones are made.
        let in_use = |name: &Name| arcstr::ArcStr::strong_count(&name.0).is_none_or(|n| n > 1);
        self.names.get(text, || Name::new(text), in_use)
    }

    /// The shared list of these ports.
    pub fn ports(&mut self, ports: &[Port]) -> Ports {
        self.ports.get(ports, || ports.into(), |ports| Arc::strong_count(ports) > 1)
    }

    /// Names held now, in use or not yet swept.
    pub fn len(&self) -> usize {
        self.names.values.len()
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.names.values.is_empty()
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared { values: HashSet::default(), sweep_at: 0 }
    }
}

impl<T: Hash + Eq + Clone> Shared<T> {
    fn get<Q>(&mut self, value: &Q, make: impl FnOnce() -> T, in_use: impl Fn(&T) -> bool) -> T
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(held) = self.values.get(value) {
            return held.clone();
        }
        if self.values.len() >= self.sweep_at.max(Interner::SWEEP_FLOOR) {
            self.values.retain(in_use);
            self.sweep_at = self.values.len() * 2;
        }
        let made = make();
        self.values.insert(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_one_allocation() {
        let mut interner = Interner::default();
        let (a, b) = (interner.name("shop"), interner.name("shop"));
        assert!(arcstr::ArcStr::ptr_eq(&a.0, &b.0));
    }

    #[test]
    fn names_nobody_holds_are_swept() {
        let mut interner = Interner::default();
        let kept = interner.name("kept");
        for i in 0..Interner::SWEEP_FLOOR * 3 {
            interner.name(&format!("pod-{i}"));
        }
        assert!(interner.len() <= Interner::SWEEP_FLOOR + 1);
        assert!(arcstr::ArcStr::ptr_eq(&kept.0, &interner.name("kept").0));
    }
}
