//! What the programs cost while they run, by the kernel's own statistics.

use std::{os::fd::OwnedFd, time::Duration};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

use super::kernel;
use crate::DatapathError;

/// What one loaded program has cost so far. Runs count only while [`measure_runs`] is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Its id in the kernel.
    pub id: u32,
    /// Its name, which is that of its hook.
    pub name: String,
    /// How often it has run.
    pub runs: u64,
    /// How long it has run, altogether.
    pub time: Duration,
    /// Instructions that the verifier looked at.
    pub instructions: u32,
}

/// Has the kernel count and time the runs of all programs for as long as the result is held. It costs
/// each run some 20 ns.
///
/// # Errors
/// [`DatapathError::Kernel`], as from kernels before 5.8.
pub fn measure_runs() -> Result<OwnedFd, DatapathError> {
    enable_stats(Stats::RunTime).map_err(kernel("measuring runs of programs"))
}

/// All programs that are loaded, anybody's: pick by [`Cost::id`]. Those that go meanwhile are left out.
pub fn costs() -> Vec<Cost> {
    let cost = |info: aya::programs::ProgramInfo| Cost {
        id: info.id(),
        name: info.name_as_str().unwrap_or_default().to_owned(),
        runs: info.run_count(),
        time: info.run_time(),
        instructions: info.verified_instruction_count().unwrap_or(0),
    };
    loaded_programs().flatten().map(cost).collect()
}
