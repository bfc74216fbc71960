//! Running a hook's program on a packet without a device sending it (`BPF_PROG_TEST_RUN`): for tests
//! of what programs decide, and to measure what they cost. Tables change as they would.

use std::time::Duration;

use aya::programs::{Program, TestRun, TestRunOptions};

use super::{Kernel, kernel};
use crate::DatapathError;

/// What a program did with a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What it returned: `TC_ACT_UNSPEC` (-1), `TC_ACT_SHOT` (2) or `TC_ACT_REDIRECT` (7).
    pub action: i32,
    /// The packet as it left it, from its Ethernet header on.
    pub packet: Vec<u8>,
    /// When it may depart, in nanoseconds since boot; 0 for at once.
    pub departs: u64,
    /// Mean time of a run.
    pub time: Duration,
}

/// Most that a packet can grow by: nothing grows yet.
const ROOM: usize = 256;
/// Octets of `struct __sk_buff`, and where in it are the index of the device and the time.
const CONTEXT: usize = 192;
const IFINDEX: usize = 40;
const TIME: usize = 152;

impl Kernel {
    /// Runs a program, by the label of its hook, on a frame as if it passed that device; `repeat`
    /// times with the same packet, for its mean time.
    ///
    /// # Errors
    /// [`DatapathError::Kernel`].
    pub fn try_packet(
        &self,
        hook: &str,
        ifindex: u32,
        frame: &[u8],
        repeat: u32,
    ) -> Result<Outcome, DatapathError> {
        let state = self.state.lock();
        let Some(Program::SchedClassifier(program)) = state.links.program_named(hook) else {
            return Err(kernel(hook)("there is no such program"));
        };
        let mut context = [0; CONTEXT];
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
        let mut context_after = [0; CONTEXT];
        let mut packet = vec![0; frame.len() + ROOM];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut packet);
        options.ctx_in = Some(&context);
        options.ctx_out = Some(&mut context_after);
        options.repeat = repeat;
        let result = program.test_run(options).map_err(kernel(hook))?;
        packet.truncate(result.data_size_out as usize);
        let mut time = [0; 8];
        time.copy_from_slice(&context_after[TIME..TIME + 8]);
        Ok(Outcome {
            action: result.return_value as i32,
            packet,
            departs: u64::from_ne_bytes(time),
            time: result.duration,
        })
    }
}
