//! Programs as filters of the clsact queueing discipline: for kernels before 6.6, which have no TCX, and for
//! devices that are made while somebody waits.
//!
//! A filter is exchanged in place, like a link, but nothing holds it: it stays until it is removed.
//! What takes the part of a link's pin is a pin of its program.

use std::path::Path;

use aya::programs::{
    Link as _, ProgramError, ProgramInfo, SchedClassifier, TcAttachType,
    tc::{
        NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle,
        qdisc_add_clsact,
    },
};

/// Where ours are among the filters of a device: our own place, so that others' are left alone.
pub const PRIORITY: u16 = 3000;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches a program.
pub(super) fn attach(
    program: &mut SchedClassifier,
    device: &str,
    side: TcAttachType,
    pin: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // It may be there, for us or for others; if it can't be had, attaching says so.
    let _ = qdisc_add_clsact(device);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let link = program.attach_with_options(device, side, TcAttachOptions::Netlink(options))?;
    keep(program, link, pin)
}

/// Puts a program in the place of the one that is there.
pub(super) fn exchange(
    program: &mut SchedClassifier,
    device: &str,
    side: TcAttachType,
    pin: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let link = program.attach_to_link(ours(device, side)?)?;
    let _ = std::fs::remove_file(pin);
    keep(program, link, pin)
}

/// It is to stay when this process ends.
fn keep(
    program: &mut SchedClassifier,
    link: SchedClassifierLinkId,
    pin: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    std::mem::forget(program.take_link(link)?);
    Ok(program.pin(pin)?)
}

/// Removes our filter from a device.
pub(super) fn detach(device: &str, side: TcAttachType) -> Result<(), ProgramError> {
    ours(device, side).map_err(ProgramError::IOError)?.detach()
}

/// Whether a pin is that of a program: then it stands for a filter.
pub(super) fn is_program(pin: &Path) -> bool {
    // The kernel tells of links through the same call; theirs have other types at that place.
    ProgramInfo::from_pin(pin)
        .is_ok_and(|info| info.program_type() == SchedClassifier::PROGRAM_TYPE.into())
}

fn ours(device: &str, side: TcAttachType) -> std::io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(device, side, PRIORITY, HANDLE, None)
}
