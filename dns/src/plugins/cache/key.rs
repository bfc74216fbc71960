//! What an entry is found by: name, type, and the bits of the query that change the answer.

use crate::wire::name::{FoldedName, MAX_NAME};

/// A key on the stack: folded wire name, type, bits. The class is always IN.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; MAX_NAME + 3],
    len: usize,
}

/// Bits of a query that change its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits {
    /// DNSSEC records are wanted (DO, RFC 3225).
    pub dnssec_ok: bool,
    /// Unverified data is wanted (CD, RFC 4035 §3.2.2).
    pub checking_disabled: bool,
    /// The upstream shall recurse (RD). One that did not must not answer for one that would.
    pub recursion_desired: bool,
}

impl Key {
    /// The key of a question.
    pub fn new(name: &FoldedName, qtype: u16, bits: Bits) -> Self {
        let wire = name.wire();
        let mut key = Key { bytes: [0; MAX_NAME + 3], len: wire.len() + 3 };
        key.bytes[..wire.len()].copy_from_slice(wire);
        let bits = u8::from(bits.dnssec_ok)
            | u8::from(bits.checking_disabled) << 1
            | u8::from(bits.recursion_desired) << 2;
        let [high, low] = qtype.to_be_bytes();
        key.bytes[wire.len()..key.len].copy_from_slice(&[high, low, bits]);
        key
    }

    /// As bytes; no two questions share them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
