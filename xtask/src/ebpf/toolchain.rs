//! The compiler and linker for eBPF: found, or installed as root from Debian's packages.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use super::first_line;
use crate::shell::{cache_folder, cargo, execute, is_installed};

/// The linker that makes one object of LLVM bitcode.
const LINKER: &str = "0.13.0";
/// Debian's packages: a compiler with a core library for eBPF, and the same LLVM for the linker.
const PACKAGES: [&str; 5] =
    ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev", "libzstd-dev"];
/// Where the packages put them.
const RUSTC: &str = "/usr/bin/rustc";
const LLVM: &str = "/usr/lib/llvm-22";

/// What builds the programs.
pub(super) struct Toolchain {
    /// A compiler with a core library for `bpfel-unknown-none`.
    pub(super) rustc: PathBuf,
    /// bpf-linker.
    pub(super) linker: PathBuf,
    /// llvm-strip.
    pub(super) strip: PathBuf,
    /// Its versions, for the manifest.
    pub(super) versions: BTreeMap<String, String>,
}

impl Toolchain {
    /// The toolchain, if it is here.
    pub(super) fn find() -> Option<Toolchain> {
        let rustc = PathBuf::from(RUSTC);
        let linker = linker_root().join("bin/bpf-linker");
        let library =
            first_line(&rustc, &["--print", "target-libdir", "--target", "bpfel-unknown-none"])?;
        let has_core = std::fs::read_dir(Path::new(&library))
            .is_ok_and(|files| files.flatten().any(|f| is_core(&f.file_name().to_string_lossy())));
        if !has_core || !linker.exists() {
            return None;
        }
        let versions = [
            ("rustc", first_line(&rustc, &["--version"])?),
            ("bpf-linker", first_line(&linker, &["--version"])?),
            ("llvm", first_line(&Path::new(LLVM).join("bin/llvm-config"), &["--version"])?),
        ];
        let versions = versions.map(|(name, version)| (name.to_owned(), version)).into();
        let strip = Path::new(LLVM).join("bin/llvm-strip");
        Some(Toolchain { rustc, linker, strip, versions })
    }

    /// The toolchain, installed if it is not here.
    pub(super) fn provide() -> anyhow::Result<Toolchain> {
        if let Some(found) = Toolchain::find() {
            return Ok(found);
        }
        if !is_installed("apt-get") {
            bail!("no compiler for eBPF here: {} and bpf-linker {LINKER}", PACKAGES.join(", "));
        }
        println!("xtask: installing {} and bpf-linker (once)", PACKAGES.join(", "));
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            execute(&mut command)
        };
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(PACKAGES);
        // One try may fail for no reason that lasts.
        apt(&["update", "-q"])?;
        apt(&install).or_else(|_| apt(&install))?;
        install_linker()?;
        match Toolchain::find() {
            Some(found) => Ok(found),
            None => bail!("{RUSTC} has no core library for bpfel-unknown-none"),
        }
    }
}

fn is_core(file: &str) -> bool {
    file.starts_with("libcore-") && file.ends_with(".rlib")
}

/// Where bpf-linker is kept.
fn linker_root() -> PathBuf {
    cache_folder().join("tools").join(format!("bpf-linker-{LINKER}"))
}

fn install_linker() -> anyhow::Result<()> {
    let root = linker_root();
    if root.join("bin/bpf-linker").exists() {
        return Ok(());
    }
    let mut install = cargo();
    install.args(["install", "--quiet", "--locked", "--version", LINKER, "bpf-linker"]);
    install.args(["--no-default-features", "--features", "llvm-22"]);
    install.arg("--root").arg(&root).env("LLVM_PREFIX", LLVM);
    execute(&mut install)
}
