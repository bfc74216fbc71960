//! What programs have counted, over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use daymark_abi::{
    DropReason,
    counter::{self, CAUSES, HOOKS, drop_place},
};

use super::tables::{Plain, Tables};
use crate::{Count, DatapathError};

/// Packets dropped for one reason in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// [`counter::INGRESS`] or [`counter::EGRESS`].
    pub direction: u8,
    /// How many.
    pub count: Count,
}

/// Packets seen at one hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Label of the hook.
    pub hook: &'static str,
    /// How many.
    pub count: Count,
}

impl Tables {
    /// See [`super::Kernel::drops`].
    pub(super) fn drops(&self) -> Result<Vec<Dropped>, DatapathError> {
        let mut dropped = Vec::new();
        for reason in DropReason::ALL {
            for direction in [counter::INGRESS, counter::EGRESS] {
                let count = sum(&self.drops, drop_place(reason.0, direction))?;
                if count.packets > 0 {
                    dropped.push(Dropped { reason: *reason, direction, count });
                }
            }
        }
        Ok(dropped)
    }

    /// See [`super::Kernel::traffic`].
    pub(super) fn traffic(&self) -> Result<Vec<Traffic>, DatapathError> {
        let place = |(place, hook): (usize, &&'static str)| {
            Ok(Traffic { hook, count: sum(&self.traffic, place as u32)? })
        };
        HOOKS.iter().enumerate().map(place).collect()
    }

    /// See [`super::Kernel::causes`].
    pub(super) fn causes(&self) -> Result<Vec<(&'static str, u64)>, DatapathError> {
        let place = |(place, cause): (usize, &&'static str)| {
            Ok((*cause, self.causes.get(&(place as u32), 0)?.iter().sum()))
        };
        CAUSES.iter().enumerate().map(place).collect()
    }
}

fn sum(
    counts: &PerCpuArray<MapData, Plain<counter::Count>>,
    place: u32,
) -> Result<Count, DatapathError> {
    let mut total = Count::default();
    for Plain(count) in counts.get(&place, 0)?.iter() {
        total.packets += count.packets;
        total.bytes += count.bytes;
    }
    Ok(total)
}
