//! Building the peers: Go programs pinned by the modules in tests/peers, kept outside the clone.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::shell::{execute, is_installed, peers_folder, repository};

struct Peer {
    program: &'static str,
    module: &'static str,
    package: &'static str,
    /// Version stamp that Kubernetes programs need.
    stamp: Option<&'static str>,
}

const PEERS: [Peer; 5] = [
    Peer { program: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", stamp: None },
    Peer {
        program: "coredns",
        module: "coredns",
        package: "github.com/coredns/coredns",
        stamp: None,
    },
    Peer {
        program: "kube-apiserver",
        module: "k8s",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        stamp: Some("1.37.2"),
    },
    Peer {
        program: "kube-controller-manager",
        module: "k8s",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        stamp: Some("1.37.2"),
    },
    Peer { program: "kwok", module: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", stamp: None },
];

/// Builds the peers that are missing or were built from other module files.
pub(crate) fn build() -> anyhow::Result<()> {
    if !is_installed("go") {
        bail!("Go 1.26 or newer is needed to build the peers, and `go` is not in PATH");
    }
    let folder = peers_folder();
    std::fs::create_dir_all(&folder)?;
    for peer in &PEERS {
        peer.build(&folder)?;
    }
    Ok(())
}

/// Whether every peer is there.
pub(crate) fn are_built() -> bool {
    PEERS.iter().all(|peer| peers_folder().join(peer.program).exists())
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
        let mut flags = "-s -w".to_owned();
        if let Some(version) = self.stamp {
            flags.push_str(&stamps(version));
        }
        let mut command = Command::new("go");
        command
            .current_dir(self.module())
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags, "-o"])
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
fn stamps(version: &str) -> String {
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
