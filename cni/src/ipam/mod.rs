//! Which pod has which address of the node's pod ranges. In memory alone: what outlives the process
//! are the records of the attachments, from which this is filled at start.

mod range;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use daymark_cni_spec::{CniError, code};
use ipnetwork::IpNetwork;

use self::range::Range;

/// The pod ranges of a node (`Node.spec.podCIDRs`): at most one of each family.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    ranges: Vec<Range>,
}

/// How full a range is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Which.
    pub range: IpNetwork,
    /// Addresses that are handed out.
    pub taken: usize,
    /// Addresses that can be.
    pub size: u128,
}

/// A pod range can't be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RangeError {
    /// Too small.
    #[error("the pod range {0} has no place for a gateway and a pod")]
    Small(IpNetwork),
    /// Two of a family.
    #[error("the pod range {0} is the second of its family")]
    Second(IpNetwork),
}

impl Pools {
    /// Pools with all addresses free.
    ///
    /// # Errors
    /// [`RangeError`].
    pub fn new(ranges: &[IpNetwork]) -> Result<Self, RangeError> {
        let mut pools = Pools::default();
        for &range in ranges {
            if pools.ranges.iter().any(|known| known.network().is_ipv4() == range.is_ipv4()) {
                return Err(RangeError::Second(range));
            }
            pools.ranges.push(Range::new(range).ok_or(RangeError::Small(range))?);
        }
        Ok(pools)
    }

    /// Hands out an address of each family: those that are requested where there are, else the next
    /// free ones. All or none.
    ///
    /// # Errors
    /// Code 102 for a requested address that is taken or not ours to give, 101 if none is left.
    pub fn take(&mut self, requested: &[IpAddr]) -> Result<Vec<IpAddr>, CniError> {
        for &address in requested {
            let refuse = |why: &str| {
                Err(CniError::new(code::ADDRESS, format!("{address} is requested, but {why}")))
            };
            let of_family = |other: &&IpAddr| other.is_ipv4() == address.is_ipv4();
            match self.ranges.iter().find(|range| range.may_hand_out(address)) {
                _ if requested.iter().filter(of_family).count() > 1 => {
                    return refuse("so is another of its family");
                }
                None => return refuse("it is no pod's address on this node"),
                Some(range) if range.is_taken(address) => return refuse("it is taken"),
                Some(_) => {}
            }
        }
        if self.ranges.is_empty() {
            return Err(CniError::new(code::EXHAUSTED, "this node has no pod range"));
        }
        let choose = |range: &Range| {
            let asked = requested.iter().copied().find(|&address| range.may_hand_out(address));
            asked.or_else(|| range.next()).ok_or_else(|| exhausted(range))
        };
        let chosen = self.ranges.iter().map(choose).collect::<Result<Vec<_>, _>>()?;
        for (range, &address) in self.ranges.iter_mut().zip(&chosen) {
            range.take(address);
            if !requested.contains(&address) {
                range.go_on_behind(address);
            }
        }
        Ok(chosen)
    }

    /// Notes addresses that were handed out before. Those of no range are somebody else's.
    pub fn restore(&mut self, addresses: &[IpAddr]) {
        for &address in addresses {
            if let Some(range) = self.ranges.iter_mut().find(|range| range.may_hand_out(address)) {
                range.take(address);
                range.go_on_behind(address);
            }
        }
    }

    /// Takes addresses back; those that were not handed out are no error.
    pub fn release(&mut self, addresses: &[IpAddr]) {
        for &address in addresses {
            if let Some(range) = self.ranges.iter_mut().find(|range| range.may_hand_out(address)) {
                range.release(address);
            }
        }
    }

    /// Whether an address is handed out.
    pub fn is_taken(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.may_hand_out(address) && range.is_taken(address))
    }

    /// The gateway of a family: the first usable address of its range.
    pub fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        let range = self.ranges.iter().find(|range| range.network().is_ipv4() == ipv4);
        range.map(Range::gateway)
    }

    /// How full each range is.
    pub fn fill(&self) -> Vec<Fill> {
        let fill = |range: &Range| {
            let (taken, size) = range.fill();
            Fill { range: range.network(), taken, size }
        };
        self.ranges.iter().map(fill).collect()
    }

    /// Whether [`Pools::take`] could succeed.
    ///
    /// # Errors
    /// Code 101, naming the range that is exhausted.
    pub fn check(&self) -> Result<(), CniError> {
        match self.ranges.iter().find(|range| range.is_exhausted()) {
            Some(range) => Err(exhausted(range)),
            None if self.ranges.is_empty() => {
                Err(CniError::new(code::EXHAUSTED, "this node has no pod range"))
            }
            None => Ok(()),
        }
    }
}

fn exhausted(range: &Range) -> CniError {
    let message = format!("no address is left in {}", range.network());
    let details = format!("all {} are given to pods of this node", range.fill().0);
    CniError::new(code::EXHAUSTED, message).because(details)
}
