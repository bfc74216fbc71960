//! Network namespaces as nodes and pods, wired as the CNI plugin wires them.

use std::{
    fs::File,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use daymark_loader::{
    Attachment, Bandwidth, Datapath, Endpoint, Kernel, Root, kernel::mount_bpffs,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace that goes with this value.
pub(crate) struct Space {
    pub(crate) name: String,
}

impl Space {
    /// Makes one with a name of its own.
    pub(crate) fn new(role: &str) -> Space {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dm-{}-{number}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let space = Space { name };
        space.ip("link set lo up");
        space
    }

    /// Runs `ip` commands, one a line, in it.
    pub(crate) fn ip(&self, commands: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("ip starts");
        child.stdin.take().expect("piped").write_all(commands.as_bytes()).expect("written");
        assert!(child.wait().expect("waited").success(), "{}: {commands}", self.name);
    }

    /// Runs something in a thread that is in it.
    pub(crate) fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                run()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves this thread into it.
    pub(crate) fn enter(&self) {
        let file = File::open(Path::new("/run/netns").join(&self.name)).expect("a namespace");
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        )
        .expect("entered");
    }

    /// Writes settings below `/proc/sys/net`.
    pub(crate) fn set(&self, settings: &[(&str, &str)]) {
        self.within(|| {
            for (name, value) in settings {
                std::fs::write(Path::new("/proc/sys/net").join(name), value).expect("a setting");
            }
        });
    }

    /// Index and MAC of a device in it.
    pub(crate) fn device(&self, name: &str) -> (u32, [u8; 6]) {
        let output =
            Command::new("ip").args(["-n", &self.name, "-o", "link", "show", name]).output();
        let text = String::from_utf8(output.expect("ip runs").stdout).expect("text");
        let index = text.split(':').next().and_then(|index| index.parse().ok()).expect("an index");
        let mac = text.split("link/ether ").nth(1).expect("a MAC");
        let mut octets = [0; 6];
        for (octet, digits) in octets.iter_mut().zip(mac[..17].split(':')) {
            *octet = u8::from_str_radix(digits, 16).expect("hexadecimal");
        }
        (index, octets)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A BPF file system of its own.
pub(crate) struct BpfFs {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

impl BpfFs {
    pub(crate) fn new() -> BpfFs {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_path_buf();
        mount_bpffs(&path).expect("mounted");
        mount_bpffs(&path).expect("mounted already");
        BpfFs { path, _folder: folder }
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A node: a namespace with its programs.
pub(crate) struct Node {
    pub(crate) kernel: Kernel,
    pub(crate) bpffs: BpfFs,
    pub(crate) space: Space,
    /// Third octet of its pods' addresses.
    pub(crate) number: u8,
    cgroup: Option<PathBuf>,
}

impl Node {
    /// Node `number` has pods in `10.244.NUMBER.0/24` and `fd00:244:NUMBER::/64`.
    pub(crate) fn new(number: u8) -> Node {
        Node::in_cgroup(number, None)
    }

    /// The same with tables for another amount of memory.
    pub(crate) fn with_memory(number: u8, memory: u64) -> Node {
        Node::made(number, None, memory)
    }

    /// The same with programs at the sockets of a cgroup.
    pub(crate) fn in_cgroup(number: u8, cgroup: Option<PathBuf>) -> Node {
        Node::made(number, cgroup, 1 << 28)
    }

    /// The same with programs as filters, as on older kernels.
    pub(crate) fn with_filters(number: u8) -> Node {
        let mut node = Node::new(number);
        let open = || Kernel::open_with(&root(&node.bpffs, None, 1 << 28), Attachment::Filters);
        let kernel = node.space.within(open);
        node.kernel = kernel.expect("opened");
        node
    }

    fn made(number: u8, cgroup: Option<PathBuf>, memory: u64) -> Node {
        let space = Space::new("node");
        let bpffs = BpfFs::new();
        space.set(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
        ]);
        space.ip(&format!(
            "addr add 10.244.{number}.1/32 dev lo\naddr add fd00:244:{number}::1/128 dev lo\n"
        ));
        let kernel =
            space.within(|| Kernel::open(&root(&bpffs, cgroup.clone(), memory)).expect("opened"));
        Node { kernel, bpffs, space, number, cgroup }
    }

    /// Loads the programs again on what is pinned, as an agent does that was restarted.
    pub(crate) fn restart(&mut self) {
        self.kernel = self.space.within(|| {
            Kernel::open(&root(&self.bpffs, self.cgroup.clone(), 1 << 28)).expect("opened")
        });
    }

    /// Adds a pod with the given last part of its addresses.
    pub(crate) fn pod(&self, last: u8) -> Pod {
        self.pod_with(last, Bandwidth::default())
    }

    pub(crate) fn pod_with(&self, last: u8, bandwidth: Bandwidth) -> Pod {
        let space = Space::new("pod");
        let number = self.number;
        let host = format!("veth{last}");
        space.set(&[("ipv6/conf/default/accept_dad", "0")]);
        self.space.set(&[("ipv6/conf/default/accept_dad", "0")]);
        self.space.ip(&format!(
            "link add {host} type veth peer name eth0 netns {}\nlink set {host} up\n",
            space.name
        ));
        let (host_ifindex, host_mac) = self.space.device(&host);
        space.ip("link set eth0 up");
        let (_, pod_mac) = space.device("eth0");
        let (v4, v6) = (format!("10.244.{number}.{last}"), format!("fd00:244:{number}::{last:x}"));
        space.ip(&format!(
            "addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             route add 10.244.{number}.1 dev eth0 scope link\n\
             route add default via 10.244.{number}.1 dev eth0 onlink\n\
             route add fd00:244:{number}::1 dev eth0\n\
             route add default via fd00:244:{number}::1 dev eth0 onlink\n\
             neigh replace 10.244.{number}.1 lladdr {host_mac} dev eth0 nud permanent\n\
             neigh replace fd00:244:{number}::1 lladdr {host_mac} dev eth0 nud permanent\n",
            host_mac = mac(host_mac)
        ));
        self.space.ip(&format!(
            "route add {v4}/32 dev {host} scope link src 10.244.{number}.1\n\
             route add {v6}/128 dev {host}\n\
             neigh replace {v4} lladdr {mac} dev {host} nud permanent\n\
             neigh replace {v6} lladdr {mac} dev {host} nud permanent\n",
            mac = mac(pod_mac)
        ));
        let (v4, v6): (IpAddr, IpAddr) = (v4.parse().expect("v4"), v6.parse().expect("v6"));
        let addresses = vec![v4, v6];
        let attachment = Attachment::Best;
        let endpoint =
            Endpoint { host_ifindex, pod_mac, host_mac, addresses, bandwidth, attachment };
        self.space.within(|| self.kernel.add_endpoint(&endpoint).expect("added"));
        Pod { v4, v6, endpoint, space }
    }

    /// Packets seen at a hook.
    pub(crate) fn seen(&self, hook: &str) -> u64 {
        let traffic = self.kernel.traffic().expect("counters");
        traffic.iter().find(|t| t.hook == hook).expect("a hook").count.packets
    }

    /// Packets dropped for a reason.
    pub(crate) fn dropped(&self, reason: daymark_abi::DropReason) -> u64 {
        let drops = self.kernel.drops().expect("counters");
        drops.iter().filter(|d| d.reason == reason).map(|d| d.count.packets).sum()
    }
}

fn root(bpffs: &BpfFs, cgroup: Option<PathBuf>, memory: u64) -> Root {
    Root { bpffs: bpffs.path.join("daymark"), cgroup, memory: Some(memory) }
}

/// A cgroup v2 with this process in it, until it is dropped.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    /// `None` where there is no cgroup v2.
    pub(crate) fn new() -> Option<Cgroup> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
        let mount = PathBuf::from(mount.split(' ').nth(1)?);
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("cgroups");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let path = mount.join(format!("dm-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a cgroup");
        let cgroup = Cgroup { path, before: mount.join(own) };
        cgroup.move_to(&cgroup.path);
        Some(cgroup)
    }

    fn move_to(&self, path: &Path) {
        let own = std::process::id().to_string();
        std::fs::write(path.join("cgroup.procs"), own).expect("moved");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.move_to(&self.before);
        // Programs that other tests have started meanwhile are in it until they end.
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::remove_dir(&self.path).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A pod: a namespace with addresses.
pub(crate) struct Pod {
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
    pub(crate) endpoint: Endpoint,
    pub(crate) space: Space,
}

pub(crate) fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}

pub(crate) fn run(command: &mut Command) {
    assert!(command.status().expect("starts").success(), "{command:?}");
}
