//! Names that many objects share: namespaces, Services, ports, topology zones.

use std::{borrow::Borrow, fmt, ops::Deref};

use hashbrown::HashSet;

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

/// Gives equal names one allocation. Bounded by the names in use: whenever the set has doubled
/// since the last sweep, names that nobody else holds are dropped.
#[derive(Default)]
pub struct Interner {
    names: HashSet<Name, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Interner {
    /// Below this many names a sweep is not worth its time.
    const SWEEP_FLOOR: usize = 4096;

    /// The shared name for `text`.
    pub fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        if self.names.len() >= self.sweep_at.max(Self::SWEEP_FLOOR) {
            self.sweep();
        }
        let name = Name::new(text);
        self.names.insert(name.clone());
        name
    }

    /// Names held now, in use or not yet swept.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn sweep(&mut self) {
        // A static literal has no count; the interner only ever makes counted ones.
        self.names.retain(|name| arcstr::ArcStr::strong_count(&name.0).is_none_or(|n| n > 1));
        self.sweep_at = self.names.len() * 2;
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
