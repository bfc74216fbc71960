//! Programs at their hooks: TCX links, pinned, whose program is exchanged in one step.
//!
//! A pin is called `INDEX-HOOK` after the device. It outlives this process; when its device goes, it
//! stays behind as a link to nothing.

use std::{
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::TcAttachOptions,
    },
};

use super::{filters, kernel, sockets};
use crate::{Attachment, DatapathError};

/// How long a device may still have the program of a link that was removed before.
const LETTING_GO: Duration = Duration::from_secs(2);

/// A place where packets pass. Each has the program of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hook {
    FromPod,
    ToPod,
    FromWire,
    ToWire,
    FromOverlay,
    ToOverlay,
}

impl Hook {
    const ALL: [Hook; 6] = [
        Hook::FromPod,
        Hook::ToPod,
        Hook::FromWire,
        Hook::ToWire,
        Hook::FromOverlay,
        Hook::ToOverlay,
    ];

    fn program(self) -> &'static str {
        match self {
            Hook::FromPod => "from_pod",
            Hook::ToPod => "to_pod",
            Hook::FromWire => "from_wire",
            Hook::ToWire => "to_wire",
            Hook::FromOverlay => "from_overlay",
            Hook::ToOverlay => "to_overlay",
        }
    }

    fn side(self) -> TcAttachType {
        match self {
            Hook::FromPod | Hook::FromWire | Hook::FromOverlay => TcAttachType::Ingress,
            Hook::ToPod | Hook::ToWire | Hook::ToOverlay => TcAttachType::Egress,
        }
    }
}

/// A program of somebody else at a device that ours are at too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// Whether it sees what comes in at the device; else what goes out.
    pub ingress: bool,
    /// Its id in the kernel.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = if self.ingress { "in" } else { "out" };
        write!(f, "TCX program {} (id {}) on what goes {side}", self.name, self.id)
    }
}

/// See [the module](self).
#[derive(Debug)]
pub(super) struct Links {
    programs: Ebpf,
    folder: PathBuf,
    /// Any socket: names of devices are asked through one.
    socket: UdpSocket,
    /// How programs are put where nobody says otherwise.
    usual: Attachment,
}

impl Links {
    pub(super) fn new(
        programs: Ebpf,
        folder: PathBuf,
        attachment: Attachment,
    ) -> Result<Links, DatapathError> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let socket = socket.map_err(kernel("a socket to ask for devices"))?;
        let usual = match SchedClassifier::query_tcx("lo", TcAttachType::Ingress) {
            Ok(_) => attachment,
            Err(_) => Attachment::Filters,
        };
        Ok(Links { programs, folder, socket, usual })
    }

    /// Whether there are pins of pods' devices.
    pub(super) fn any(&self) -> Result<bool, DatapathError> {
        Ok(self.pins()?.any(|name| name.ends_with("_pod")))
    }

    /// Attaches the programs of sockets to a cgroup, or detaches them everywhere.
    pub(super) fn at_sockets(&mut self, cgroup: Option<&Path>) -> Result<(), DatapathError> {
        match cgroup {
            Some(cgroup) => sockets::attach(&mut self.programs, cgroup, &self.folder),
            None => sockets::detach(&self.folder),
        }
    }

    /// Cookie of the network namespace of the thread that opened these.
    pub(super) fn namespace_cookie(&self) -> Result<u64, DatapathError> {
        sockets::namespace_cookie(&self.socket).map_err(kernel("the network namespace"))
    }

    /// How a hook's program is at a device, by what its pin is of.
    pub(super) fn attachment(&self, hook: Hook, ifindex: u32) -> Attachment {
        match filters::is_program(&self.pin(hook, ifindex)) {
            true => Attachment::Filters,
            false => Attachment::Best,
        }
    }

    /// Attaches a hook's program to a device, or exchanges the one that is there, which stays as it is
    /// attached.
    pub(super) fn attach(
        &mut self,
        hook: Hook,
        ifindex: u32,
        wanted: Attachment,
    ) -> Result<(), DatapathError> {
        let pin = self.pin(hook, ifindex);
        let what = format!("attaching {} to device {ifindex}", hook.program());
        let device = self.device(ifindex).map_err(kernel(&what))?;
        if pin.exists() {
            let exchanged = match self.attachment(hook, ifindex) {
                Attachment::Filters => {
                    filters::exchange(self.program(hook)?, &device, hook.side(), &pin).is_ok()
                }
                Attachment::Best => self.exchange(hook, &pin).is_ok(),
            };
            if exchanged {
                return Ok(());
            }
            // Its device is gone, and another one has the same index.
            std::fs::remove_file(&pin).map_err(kernel(&what))?;
        }
        if [wanted, self.usual].contains(&Attachment::Filters) {
            let program = self.program(hook)?;
            return filters::attach(program, &device, hook.side(), &pin).map_err(kernel(what));
        }
        let program = self.program(hook)?;
        let deadline = Instant::now() + LETTING_GO;
        let id = loop {
            let order = TcAttachOptions::TcxOrder(LinkOrder::default());
            match program.attach_with_options(&device, hook.side(), order) {
                // The kernel lets go of a link some time after its pin is removed.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.kind() == std::io::ErrorKind::AlreadyExists
                        && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                attached => break attached.map_err(kernel(&what))?,
            }
        };
        let link = program.take_link(id).map_err(kernel(&what))?;
        let link: FdLink = link.try_into().map_err(kernel(&what))?;
        link.pin(&pin).map_err(kernel(what))?;
        Ok(())
    }

    fn exchange(&mut self, hook: Hook, pin: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let link = FdLink::from(PinnedLink::from_pin(pin)?);
        let program = self.program(hook)?;
        let id = program.attach_to_link(link.try_into()?)?;
        // The pin keeps it.
        drop(program.take_link(id)?);
        Ok(())
    }

    /// Detaches a hook's program from a device; no error if it is not there.
    pub(super) fn detach(&self, hook: Hook, ifindex: u32) -> Result<(), DatapathError> {
        let pin = self.pin(hook, ifindex);
        if let (true, Ok(device)) = (filters::is_program(&pin), self.device(ifindex)) {
            filters::detach(&device, hook.side()).map_err(kernel(pin.display()))?;
        }
        match std::fs::remove_file(&pin) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(kernel(pin.display())(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes this device the only one that a hook's program is attached to.
    pub(super) fn only(&mut self, hook: Hook, ifindex: Option<u32>) -> Result<(), DatapathError> {
        let suffix = format!("-{}", hook.program());
        let others: Vec<u32> = self
            .pins()?
            .filter_map(|name| name.strip_suffix(&suffix)?.parse().ok())
            .filter(|found| Some(*found) != ifindex)
            .collect();
        for other in others {
            self.detach(hook, other)?;
        }
        ifindex.map_or(Ok(()), |ifindex| self.attach(hook, ifindex, self.usual))
    }

    /// Programs at a device's TCX hooks that are not ours.
    pub(super) fn foreign(&self, ifindex: u32) -> Result<Vec<Foreign>, DatapathError> {
        let what = format!("programs at device {ifindex}");
        let device = self.device(ifindex).map_err(kernel(&what))?;
        let own: Vec<u32> = self
            .programs
            .programs()
            .filter_map(|(_, program)| program.info().ok().map(|info| info.id()))
            .collect();
        let mut foreign = Vec::new();
        if self.usual == Attachment::Filters {
            return Ok(foreign);
        }
        for side in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, found) = SchedClassifier::query_tcx(&device, side).map_err(kernel(&what))?;
            for info in found.into_iter().filter(|info| !own.contains(&info.id())) {
                let name = String::from_utf8_lossy(info.name()).into_owned();
                let ingress = side == TcAttachType::Ingress;
                foreign.push(Foreign { ingress, id: info.id(), name });
            }
        }
        Ok(foreign)
    }

    /// A program by its name.
    pub(super) fn program_named(&self, name: &str) -> Option<&Program> {
        self.programs.program(name)
    }

    fn program(&mut self, hook: Hook) -> Result<&mut SchedClassifier, DatapathError> {
        let name = hook.program();
        let program = self.programs.program_mut(name).ok_or("the object does not have it");
        program.map_err(kernel(name))?.try_into().map_err(kernel(name))
    }

    fn device(&self, ifindex: u32) -> std::io::Result<String> {
        Ok(rustix::net::netdevice::index_to_name(&self.socket, ifindex)?)
    }

    fn pin(&self, hook: Hook, ifindex: u32) -> PathBuf {
        self.folder.join(format!("{ifindex}-{}", hook.program()))
    }

    fn pins(&self) -> Result<impl Iterator<Item = String> + use<>, DatapathError> {
        let entries = std::fs::read_dir(&self.folder).map_err(kernel(self.folder.display()))?;
        Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()))
    }
}

/// Removes the filters of which there are pins in a folder, from the devices that are still there;
/// where they are links instead, there is nothing to remove.
pub(super) fn remove_filters(folder: &Path) -> Result<(), DatapathError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let socket = socket.map_err(kernel("a socket to ask for devices"))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((ifindex, program)) = name.split_once('-') else { continue };
        let Some(hook) = Hook::ALL.into_iter().find(|hook| hook.program() == program) else {
            continue;
        };
        let device = ifindex
            .parse()
            .ok()
            .and_then(|ifindex| rustix::net::netdevice::index_to_name(&socket, ifindex).ok());
        if let (Some(device), true) = (device, filters::is_program(&entry.path())) {
            filters::detach(&device, hook.side()).map_err(kernel(name))?;
        }
    }
    Ok(())
}
