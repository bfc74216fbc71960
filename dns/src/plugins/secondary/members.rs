//! Which zones the catalogs of a block bring, and which of them has each (RFC 9432 §5).

use std::collections::{HashMap, HashSet};

use crate::{
    authority::catalog::{Catalog, Member},
    corefile::domain::Domain,
};

/// Most member zones of a block; further ones are left out.
pub(super) const MOST: usize = 10_000;

/// The member zones of a block's catalogs.
#[derive(Default)]
pub(super) struct Members {
    /// Zones that the Corefile names, which no catalog takes.
    own: HashSet<Domain>,
    /// Members of each catalog that are handed over, by zone.
    leaving: HashMap<Domain, HashMap<Domain, Member>>,
    owners: HashMap<Domain, Owner>,
}

/// Who has a member zone.
struct Owner {
    catalog: Domain,
    /// The member's label there.
    id: Box<[u8]>,
}

/// What becomes of a zone.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Change {
    /// It is fetched from the catalog's primaries, and begins with nothing.
    Comes(Domain),
    /// It is fetched from the catalog's primaries, and served as it was meanwhile.
    Moves(Domain),
    /// It is no longer served.
    Goes(Domain),
}

impl Members {
    /// Of a block whose Corefile names these zones.
    pub(super) fn beside(own: impl IntoIterator<Item = Domain>) -> Self {
        Members { own: own.into_iter().collect(), ..Members::default() }
    }

    /// Takes in what the catalog `origin` says now; its members are to be in `allowed`, if that has any.
    pub(super) fn apply(
        &mut self,
        origin: &Domain,
        allowed: &[Domain],
        catalog: Catalog,
    ) -> Vec<Change> {
        let is_allowed = |member: &Member| {
            allowed.is_empty() || allowed.iter().any(|zone| zone.contains(&member.zone))
        };
        let all = catalog.members.len();
        let members: Vec<Member> = catalog.members.into_iter().filter(is_allowed).collect();
        if members.len() < all {
            let count = all - members.len();
            tracing::warn!(
                target: "plugin/secondary",
                "{count} members of the catalog {origin} are outside of those that are taken"
            );
        }
        let mut changes = self.gone(origin, &members);
        let mut too_many = 0;
        for member in &members {
            match self.owners.contains_key(&member.zone) || self.owners.len() < MOST {
                true => changes.extend(self.take(origin, member)),
                false => too_many += 1,
            }
        }
        if too_many > 0 {
            tracing::warn!(
                target: "plugin/secondary",
                "{too_many} members of the catalog {origin} are left out: there are {MOST} member zones already"
            );
        }
        let leaving = members.into_iter().filter(|member| member.goes_to.is_some());
        let leaving = leaving.map(|member| (member.zone.clone(), member)).collect();
        self.leaving.insert(origin.clone(), leaving);
        changes
    }

    /// Lets those members of the catalog go that it no longer has.
    fn gone(&mut self, origin: &Domain, members: &[Member]) -> Vec<Change> {
        let kept: HashSet<&Domain> = members.iter().map(|member| &member.zone).collect();
        let goes = |(zone, owner): &(&Domain, &mut Owner)| {
            owner.catalog == *origin && !kept.contains(zone)
        };
        let gone = self.owners.extract_if(|zone, owner| goes(&(zone, owner)));
        let mut gone: Vec<Domain> = gone.map(|(zone, _)| zone).collect();
        gone.sort_unstable();
        for zone in &gone {
            tracing::info!(target: "plugin/secondary", "the catalog {origin} no longer has the zone {zone}");
        }
        gone.into_iter().map(Change::Goes).collect()
    }

    /// Gives a member zone to the catalog, unless somebody else has it.
    fn take(&mut self, origin: &Domain, member: &Member) -> Option<Change> {
        let zone = &member.zone;
        let (change, what) = match self.owners.get(zone) {
            _ if self.own.contains(zone) => {
                tracing::warn!(
                    target: "plugin/secondary",
                    "the zone {zone} of the catalog {origin} is one of the Corefile's, and stays that"
                );
                return None;
            }
            None => (Change::Comes(zone.clone()), "has the zone"),
            Some(owner) if owner.catalog == *origin && owner.id == member.id => return None,
            // Another label is another zone of the same name (RFC 9432 §5.6).
            Some(owner) if owner.catalog == *origin => {
                (Change::Comes(zone.clone()), "has another zone of the name")
            }
            Some(owner) => {
                let source = self.leaving.get(&owner.catalog).and_then(|all| all.get(zone));
                let Some(source) = source.filter(|it| it.goes_to.as_ref() == Some(origin)) else {
                    tracing::warn!(
                        target: "plugin/secondary",
                        "the zone {zone} of the catalog {origin} is one of {}, which does not hand it over",
                        owner.catalog
                    );
                    return None;
                };
                match owner.id == source.id && source.id == member.id {
                    true => (Change::Moves(zone.clone()), "takes over the zone"),
                    false => (Change::Comes(zone.clone()), "takes over the name of the zone"),
                }
            }
        };
        tracing::info!(target: "plugin/secondary", "the catalog {origin} {what} {zone}");
        let owner = Owner { catalog: origin.clone(), id: member.id.clone() };
        self.owners.insert(zone.clone(), owner);
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn member(id: &str, zone: &str, goes_to: Option<&str>) -> Member {
        Member { id: id.as_bytes().into(), zone: domain(zone), goes_to: goes_to.map(domain) }
    }

    /// Two catalogs `one` and `two`, beside the zone `own`.
    struct Rig(Members);

    impl Rig {
        fn new() -> Self {
            Rig(Members::beside(["one", "two", "own"].map(domain)))
        }

        fn says(&mut self, origin: &str, members: &[Member]) -> Vec<Change> {
            self.0.apply(&domain(origin), &[], Catalog { members: members.to_vec() })
        }
    }

    fn comes(zone: &str) -> Vec<Change> {
        vec![Change::Comes(domain(zone))]
    }

    #[test]
    fn members_come_and_go() {
        let mut rig = Rig::new();
        let (a, b) = (member("x", "a", None), member("y", "b", None));
        assert_eq!(rig.says("one", &[a.clone(), b.clone()]), [comes("a"), comes("b")].concat());
        assert_eq!(rig.says("one", &[a.clone(), b.clone()]), []);
        assert_eq!(rig.says("one", &[b]), [Change::Goes(domain("a"))]);
        assert_eq!(rig.says("one", &[a]), [vec![Change::Goes(domain("b"))], comes("a")].concat());
    }

    #[test]
    fn another_label_begins_anew() {
        let mut rig = Rig::new();
        rig.says("one", &[member("x", "a", None)]);
        assert_eq!(rig.says("one", &[member("y", "a", None)]), comes("a"));
    }

    #[test]
    fn what_somebody_has_is_not_taken_from_him() {
        let mut rig = Rig::new();
        assert_eq!(rig.says("one", &[member("x", "own", None), member("y", "two", None)]), []);
        rig.says("one", &[member("x", "a", None)]);
        assert_eq!(rig.says("two", &[member("x", "a", None)]), []);
        // Whoever does not have it does not take it away either.
        assert_eq!(rig.says("two", &[]), []);
        rig.says("one", &[member("x", "a", Some("three"))]);
        assert_eq!(rig.says("two", &[member("x", "a", None)]), []);
    }

    #[test]
    fn a_member_that_is_handed_over_keeps_its_zone_under_the_same_label() {
        let mut rig = Rig::new();
        rig.says("one", &[member("x", "a", Some("two")), member("y", "b", Some("two"))]);
        let taken = rig.says("two", &[member("x", "a", None), member("z", "b", None)]);
        assert_eq!(taken, [vec![Change::Moves(domain("a"))], comes("b")].concat());
        assert_eq!(rig.says("one", &[]), [], "the old owner lets go of what is not its own");
        assert_eq!(rig.says("two", &[]), [domain("a"), domain("b")].map(Change::Goes));
    }

    #[test]
    fn a_label_that_changed_before_the_handing_over_does_not_keep_the_zone() {
        let mut rig = Rig::new();
        rig.says("one", &[member("x", "a", None)]);
        rig.says("one", &[member("x", "a", Some("two"))]);
        assert_eq!(rig.says("two", &[member("y", "a", None)]), comes("a"));
    }

    #[test]
    fn only_what_is_allowed_is_taken() {
        let mut members = Members::default();
        let all = ["a.test", "test", "b.test", "xtest"].map(|zone| member(zone, zone, None));
        let allowed = [domain("test")];
        let catalog = Catalog { members: all.to_vec() };
        let changes = members.apply(&domain("one"), &allowed, catalog);
        assert_eq!(changes, [comes("a.test"), comes("test"), comes("b.test")].concat());
    }

    #[test]
    fn there_is_a_most() {
        let mut rig = Rig::new();
        let name = |number| member(&format!("{number}"), &format!("z{number}"), None);
        let all: Vec<Member> = (0..MOST + 5).map(name).collect();
        assert_eq!(rig.says("one", &all).len(), MOST);
        let others: Vec<Member> = (MOST + 5..MOST + 10).map(name).collect();
        assert_eq!(rig.says("two", &others).len(), 0);
        assert_eq!(rig.says("one", &[]).len(), MOST);
        assert_eq!(rig.says("two", &others).len(), 5);
    }
}
