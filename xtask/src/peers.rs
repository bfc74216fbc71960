//! Building the peers: Go programs pinned by the modules in tests/peers, kept outside the clone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::shell::{execute, is_installed, peers_folder, repository};

/// A program of a Go module in tests/peers.
struct Peer {
    program: &'static str,
    module: &'static str,
    package: &'static str,
    flavour: Flavour,
}

/// What a build needs beyond the ordinary.
enum Flavour {
    Plain,
    /// Version stamps of Kubernetes.
    Kubernetes,
    /// A version stamp, and no file systems that need C.
    Containerd,
}

const KUBERNETES: &str = "1.37.2";
const CONTAINERD: &str = "2.4.2";

/// What `cargo xtask test` and the benchmarks need.
const PEERS: [Peer; 13] = [
    plain("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    plain("coredns", "coredns", "github.com/coredns/coredns"),
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    plain("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    plain("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    plain("pebble", "pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble"),
    plain("dnstap", "dnstap", "github.com/dnstap/golang-dnstap/dnstap"),
    plain("cnitool", "cni", "github.com/containernetworking/cni/cnitool"),
    plain("bridge", "cni", "github.com/containernetworking/plugins/plugins/main/bridge"),
    plain("host-local", "cni", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
    plain("portmap", "cni", "github.com/containernetworking/plugins/plugins/meta/portmap"),
    plain("bandwidth", "cni", "github.com/containernetworking/plugins/plugins/meta/bandwidth"),
];

/// Where the Prometheus operator has the definitions of its kinds, and those that our chart uses.
const OPERATOR: &str = "github.com/prometheus-operator/prometheus-operator";
const DEFINITIONS: [&str; 2] =
    ["monitoring.coreos.com_prometheusrules.yaml", "monitoring.coreos.com_servicemonitors.yaml"];

/// What real nodes need beside them.
const NODES: [Peer; 8] = [
    kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    containerd("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    containerd(
        "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    plain("loopback", "cni", "github.com/containernetworking/plugins/plugins/main/loopback"),
];

const fn plain(program: &'static str, module: &'static str, package: &'static str) -> Peer {
    Peer { program, module, package, flavour: Flavour::Plain }
}

const fn kubernetes(program: &'static str, package: &'static str) -> Peer {
    Peer { program, module: "k8s", package, flavour: Flavour::Kubernetes }
}

const fn containerd(program: &'static str, package: &'static str) -> Peer {
    Peer { program, module: "containerd", package, flavour: Flavour::Containerd }
}

/// Builds the peers that are missing or were built from other module files.
pub(crate) fn build() -> anyhow::Result<()> {
    build_all(&PEERS)?;
    fetch_definitions()
}

/// The same for those that real nodes need.
pub(crate) fn build_for_nodes() -> anyhow::Result<()> {
    build()?;
    build_all(&NODES)
}

fn build_all(peers: &[Peer]) -> anyhow::Result<()> {
    if !is_installed("go") {
        bail!("Go 1.26 or newer is needed to build the peers, and `go` is not in PATH");
    }
    let folder = peers_folder();
    std::fs::create_dir_all(&folder)?;
    for peer in peers {
        peer.build(&folder)?;
    }
    Ok(())
}

/// Whether every peer is there.
pub(crate) fn are_built() -> bool {
    let programs = PEERS.iter().map(|peer| peer.program);
    programs.chain(DEFINITIONS).all(|file| peers_folder().join(file).exists())
}

/// Copies the operator's definitions out of its module, which is data here: nothing of it is built.
fn fetch_definitions() -> anyhow::Result<()> {
    if DEFINITIONS.iter().all(|file| peers_folder().join(file).exists()) {
        return Ok(());
    }
    let go = |words: &[&str]| {
        let mut command = Command::new("go");
        command.current_dir(repository().join("tests/peers/operator")).args(words);
        command
    };
    execute(&mut go(&["mod", "download", OPERATOR]))?;
    let listed = go(&["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", OPERATOR]).output()?;
    let folder = String::from_utf8(listed.stdout)?;
    let folder = Path::new(folder.trim()).join("example/prometheus-operator-crd");
    for file in DEFINITIONS {
        // Not a copy of the file: the module's are read-only, and a newer one has to replace it.
        std::fs::write(peers_folder().join(file), std::fs::read(folder.join(file))?)?;
    }
    Ok(())
}

impl Peer {
    fn build(&self, folder: &Path) -> anyhow::Result<()> {
        let program = folder.join(self.program);
        // What it was built from stands beside it: the module's sums pin everything.
        let sums = std::fs::read_to_string(self.module().join("go.sum"))?;
        let note = folder.join(format!("{}.go.sum", self.program));
        let same = std::fs::read_to_string(&note).is_ok_and(|noted| noted == sums);
        if program.exists() && same {
            return Ok(());
        }
        println!("xtask: building {} (once; it goes to {})", self.program, folder.display());
        let (stamps, tags) = match self.flavour {
            Flavour::Plain => (String::new(), ""),
            Flavour::Kubernetes => (kubernetes_stamps(), ""),
            Flavour::Containerd => (
                format!(" -X github.com/containerd/containerd/v2/version.Version=v{CONTAINERD}"),
                "no_btrfs no_devmapper no_zfs",
            ),
        };
        let flags = format!("-s -w{stamps}");
        let mut command = Command::new("go");
        command
            .current_dir(self.module())
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-trimpath", "-tags", tags, "-ldflags", &flags, "-o"])
            .arg(&program)
            .arg(self.package);
        execute(&mut command)?;
        std::fs::write(note, sums)?;
        Ok(())
    }

    fn module(&self) -> PathBuf {
        repository().join("tests/peers").join(self.module)
    }
}

/// Linker flags that give a Kubernetes program its version: clients refuse one they can't parse.
fn kubernetes_stamps() -> String {
    let version = KUBERNETES;
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let stamp = |package: &str| {
        format!(
            " -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} \
             -X {package}.gitMinor={minor} -X {package}.gitCommit=unknown \
             -X {package}.gitTreeState=clean -X {package}.buildDate=1970-01-01T00:00:00Z"
        )
    };
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(stamp).concat()
}
