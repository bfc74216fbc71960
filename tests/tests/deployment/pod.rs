//! What a kubelet and a container runtime do for the kube-dns Deployment's Pod, with namespaces: its
//! network, its read-only root, its ConfigMap, its token, its user and its one capability.

use std::{
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use daymark_tests::{namespace::Namespace, peers, process::Program};

/// The Pod's user.
pub(crate) const USER: &str = "65532";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A running Pod.
pub(crate) struct Pod {
    /// Its process.
    pub(crate) program: Program,
    /// Its address.
    pub(crate) address: String,
    /// Its namespaces.
    pub(crate) namespace: Namespace,
    /// Its root, as the namespaces see it.
    pub(crate) root: PathBuf,
    account: PathBuf,
}

/// What a Pod is made from.
pub(crate) struct Image<'a> {
    /// The program, which is called `coredns` in the Pod.
    pub(crate) program: &'a Path,
    /// A number of its own, for its network.
    pub(crate) number: u8,
    /// The cluster's CA.
    pub(crate) ca: &'a Path,
    /// Its first token.
    pub(crate) token: &'a str,
}

impl Pod {
    /// Starts one with a cable to `node`, which routes for it.
    ///
    /// # Errors
    /// If something can't be made.
    pub(crate) fn start(
        image: &Image<'_>,
        node: &Namespace,
        resolver: &str,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let number = image.number;
        let namespace = Namespace::new()?;
        let (link, address) = (format!("pod{number}"), format!("10.55.{number}.2"));
        let gateway = format!("10.55.{number}.1");
        node.cable(&link, &namespace, "eth0")?;
        node.address(&link, &format!("{gateway}/24"))?;
        namespace.address("eth0", &format!("{address}/24"))?;
        namespace.run(&["ip", "route", "add", "default", "via", &gateway])?;

        let folder = scratch.join(format!("pod{number}"));
        let (root, account) = (folder.join("root"), folder.join("account"));
        for made in ["root", "account", "config"] {
            std::fs::create_dir_all(folder.join(made))?;
        }
        let corefile = peers::repository().join("tests/dns/corefiles/kubeadm.corefile");
        std::fs::copy(corefile, folder.join("config/Corefile"))?;
        std::fs::write(folder.join("resolv.conf"), format!("nameserver {resolver}\n"))?;
        write_account(&account, 1, image)?;
        for file in ["ca.crt", "namespace", "token"] {
            symlink(Path::new("..data").join(file), account.join(file))?;
        }
        mount_root(&namespace, &folder, image.program)?;

        let log = folder.join("log");
        let program = run(&namespace, &root, &log)?;
        Ok(Pod { program, address, namespace, root, account })
    }

    /// A port of it.
    pub(crate) fn port(&self, port: u16) -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(self.address.parse()?, port))
    }

    /// Puts a new token in the old one's place, as the kubelet does.
    ///
    /// # Errors
    /// If a file can't be written.
    pub(crate) fn rotate(&self, image: &Image<'_>) -> anyhow::Result<()> {
        write_account(&self.account, 2, image)
    }
}

/// A version of the files of a ServiceAccount, and the link that makes it the current one.
fn write_account(account: &Path, version: u8, image: &Image<'_>) -> anyhow::Result<()> {
    let name = format!("..2026_{version}");
    let folder = account.join(&name);
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("ca.crt"), std::fs::read(image.ca)?)?;
    std::fs::write(folder.join("namespace"), "kube-system")?;
    std::fs::write(folder.join("token"), image.token)?;
    let new = account.join("..data_tmp");
    symlink(name, &new)?;
    Ok(std::fs::rename(new, account.join("..data"))?)
}

/// Builds the root out of the system's libraries and the Pod's volumes, all read-only.
fn mount_root(namespace: &Namespace, folder: &Path, program: &Path) -> anyhow::Result<()> {
    let script = format!(
        "set -e
        cd '{folder}/root'
        mount -t tmpfs -o mode=755 tmpfs .
        cd '{folder}/root'
        mkdir -p usr proc dev etc/coredns .{ACCOUNT}
        for name in bin sbin lib lib64; do
            if [ -L /$name ]; then cp -P /$name $name
            elif [ -d /$name ]; then mkdir $name; mount --bind /$name $name
            fi
        done
        mount --bind /usr usr
        mount --bind /proc proc
        mount --bind /dev dev
        cp '{program}' program
        ln -s program coredns
        cp '{folder}/resolv.conf' etc/resolv.conf
        mount --bind '{folder}/account' .{ACCOUNT}
        mount --bind '{folder}/config' etc/coredns
        for volume in usr .{ACCOUNT} etc/coredns; do mount -o remount,bind,ro $volume; done
        mount -o remount,ro '{folder}/root'",
        folder = folder.display(),
        program = program.display(),
    );
    namespace.run(&["sh", "-c", &script]).context("building the root")?;
    Ok(())
}

fn run(namespace: &Namespace, root: &Path, log: &Path) -> anyhow::Result<Program> {
    let (nsenter, mut words) = namespace.enter();
    words.extend(["chroot".to_owned(), root.display().to_string()]);
    let setpriv = [
        "setpriv",
        // Asked for anew: another user makes the kernel forget it.
        "--pdeathsig",
        "KILL",
        "--reuid",
        USER,
        "--regid",
        USER,
        "--clear-groups",
        "--inh-caps=-all,+net_bind_service",
        "--ambient-caps=-all,+net_bind_service",
        "--bounding-set=-all,+net_bind_service",
        "--no-new-privs",
        "/coredns",
        "-conf",
        "/etc/coredns/Corefile",
    ];
    words.extend(setpriv.map(str::to_owned));
    let environment =
        [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Program::start_in(Path::new("/"), &nsenter, words, &environment, log)
}
