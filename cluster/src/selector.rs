//! Label selectors: which objects a view shows (`metav1.LabelSelector`'s string form).

use crate::{Labels, Name};

/// A conjunction of requirements; the empty selector matches everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    /// All of these must hold.
    pub requirements: Vec<Requirement>,
}

/// One condition on one label key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// The label's key.
    pub key: Name,
    /// What must hold for it.
    pub condition: Condition,
}

/// The operators of Kubernetes' selectors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// `key in (a,b)`, `key = a`, `key == a`.
    In(Vec<Name>),
    /// `key notin (a,b)`, `key != a`: also true where the key is absent.
    NotIn(Vec<Name>),
    /// `key`.
    Exists,
    /// `!key`.
    Absent,
}

impl Selector {
    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels
            .binary_search_by(|(key, _)| key.as_str().cmp(self.key.as_str()))
            .ok()
            .map(|at| &labels[at].1);
        match (&self.condition, value) {
            (Condition::In(wanted), Some(value)) => wanted.contains(value),
            (Condition::In(_), None) => false,
            (Condition::NotIn(unwanted), Some(value)) => !unwanted.contains(value),
            (Condition::NotIn(_), None) => true,
            (Condition::Exists, value) => value.is_some(),
            (Condition::Absent, value) => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_follow_the_api_on_present_and_absent_keys() {
        let labels: Labels = Box::new([("app".into(), "web".into()), ("tier".into(), "x".into())]);
        let names = |all: &[&str]| all.iter().map(|n| Name::new(n)).collect::<Vec<_>>();
        for (key, condition, want) in [
            ("app", Condition::In(names(&["web", "db"])), true),
            ("app", Condition::In(names(&["db"])), false),
            ("nope", Condition::In(names(&["web"])), false),
            ("app", Condition::NotIn(names(&["web"])), false),
            ("nope", Condition::NotIn(names(&["web"])), true),
            ("tier", Condition::Exists, true),
            ("nope", Condition::Exists, false),
            ("tier", Condition::Absent, false),
            ("nope", Condition::Absent, true),
        ] {
            let selector = Selector {
                requirements: vec![Requirement { key: key.into(), condition: condition.clone() }],
            };
            assert_eq!(selector.matches(&labels), want, "{key} {condition:?}");
        }
        assert!(Selector::default().matches(&labels));
    }
}
