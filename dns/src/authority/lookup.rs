//! Where a name leads within a zone (RFC 1034 §4.3.2, RFC 4592, RFC 6672).

use hickory_proto::rr::{Name, RecordType};

use super::data::{Node, ZoneData, push_key};

/// What a name comes to.
#[derive(Clone, Copy, Debug)]
pub enum Step<'z> {
    /// There is such a name.
    Exact(Node<'z>),
    /// A wildcard stands for it.
    Wildcard(Node<'z>),
    /// There are only names below it, or below the wildcard that would stand for it.
    Empty,
    /// It is at or below a delegation to another zone.
    Cut(Node<'z>),
    /// It is below a name whose subtree is an alias of another.
    Subtree(Node<'z>),
    /// There is no such name. `wildcard` is the key of the one that would stand for it.
    Missing,
}

/// A name's way through a zone.
#[derive(Clone, Debug)]
pub struct Walk<'z> {
    /// What it comes to.
    pub step: Step<'z>,
    /// The name's key.
    pub key: Vec<u8>,
    /// Key of the wildcard below the closest name that exists above it, where there is no such name.
    pub wildcard: Option<Vec<u8>>,
}

/// Looks for `name`, which is in the zone, on behalf of a question for `qtype`; `None` if it is not.
pub fn walk<'z>(zone: &'z ZoneData, name: &Name, qtype: RecordType) -> Option<Walk<'z>> {
    if !zone.origin().zone_of(name) {
        return None;
    }
    let above = name.iter().len() - zone.origin().iter().len();
    let labels: Vec<&[u8]> = name.iter().take(above).collect();
    let mut whole = Vec::with_capacity(name.len());
    let mut ends = vec![0];
    for label in labels.iter().rev() {
        push_key(&mut whole, label);
        ends.push(whole.len());
    }
    let found = |step, wildcard| Some(Walk { step, key: whole.clone(), wildcard });
    for (depth, end) in ends.iter().enumerate() {
        let key = &whole[..*end];
        let last = depth == above;
        let Some(node) = zone.node(key) else {
            if zone.has_below(key) {
                if last {
                    return found(Step::Empty, None);
                }
                continue;
            }
            // What lies above is the closest encloser; the apex always exists.
            let mut wildcard = whole[..ends[depth.saturating_sub(1)]].to_vec();
            push_key(&mut wildcard, b"*");
            let step = match zone.node(&wildcard) {
                Some(node) => Step::Wildcard(node),
                None if zone.has_below(&wildcard) => Step::Empty,
                None => Step::Missing,
            };
            return found(step, Some(wildcard));
        };
        // The zone above answers for the delegation's DS records (RFC 4035 §3.1.4.1).
        let own = last && qtype == RecordType::DS;
        if depth > 0 && !own && node.set(RecordType::NS).is_some() {
            return found(Step::Cut(node), None);
        }
        if last {
            return found(Step::Exact(node), None);
        }
        if node.set(RecordType::DNAME).is_some() {
            return found(Step::Subtree(node), None);
        }
    }
    None
}
