//! The eBPF programs: built from `datapath/programs` into `datapath/loader/objects`, where they are
//! committed, so that a plain `cargo build` needs no more than stable Rust.
//!
//! Beside the object lies a manifest: what it was built from and with, and how many instructions the
//! verifier looks at for each program.

mod manifest;
mod staging;
mod toolchain;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::shell::{cargo, execute, repository};
use manifest::Manifest;
use toolchain::Toolchain;

/// How much more a program may cost the verifier before that is reported, in percent.
const GROWTH: u64 = 20;

/// What to do with the programs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only tell whether the committed object is what its sources make: by the sources' hash, and
    /// octet by octet where the toolchain is the recorded one.
    #[arg(long)]
    check: bool,
}

/// Builds the programs, or checks what is committed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.check { check() } else { build() }
}

/// Where the object and its manifest are committed.
fn objects() -> PathBuf {
    repository().join("datapath/loader/objects")
}

fn build() -> anyhow::Result<()> {
    let toolchain = Toolchain::provide()?;
    let object = compile(&toolchain)?;
    let folder = objects();
    std::fs::create_dir_all(&folder)?;
    let old = Manifest::read(&folder).unwrap_or_default();
    std::fs::write(folder.join("daymark.o"), &object)?;
    let manifest = Manifest {
        sources: manifest::sources_hash()?,
        object: manifest::hash(&object),
        toolchain: toolchain.versions.clone(),
        instructions: old.instructions.clone(),
    };
    manifest.write(&folder)?;
    match instructions() {
        Ok(counts) => {
            report_growth(&old.instructions, &counts);
            Manifest { instructions: counts, ..manifest }.write(&folder)?;
        }
        Err(error) => println!("xtask: the programs were not verified: {error:#}"),
    }
    println!("xtask: {} octets to {}", object.len(), folder.join("daymark.o").display());
    Ok(())
}

/// Compares the sources with those of the committed object; where the very toolchain is here that it
/// was built with, also the object itself.
pub(crate) fn check() -> anyhow::Result<()> {
    let folder = objects();
    let manifest = Manifest::read(&folder)?;
    let committed = std::fs::read(folder.join("daymark.o"))?;
    if manifest.sources != manifest::sources_hash()? {
        bail!("datapath/programs or datapath/abi changed: run `cargo xtask ebpf` and commit");
    }
    if manifest.object != manifest::hash(&committed) {
        bail!("datapath/loader/objects/daymark.o is not the one of its manifest");
    }
    match Toolchain::find() {
        Some(toolchain) if toolchain.versions == manifest.toolchain => {
            if compile(&toolchain)? != committed {
                bail!("datapath/loader/objects/daymark.o is not what its sources make");
            }
            println!("xtask: the eBPF object is what its sources make");
        }
        _ => println!("xtask: the eBPF object's sources are unchanged (another toolchain here)"),
    }
    Ok(())
}

/// Builds the object and gives its octets.
fn compile(toolchain: &Toolchain) -> anyhow::Result<Vec<u8>> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| repository().join("target")).join("programs");
    let folder = staging::fill(&target.join("source"))?;
    let mut command = cargo();
    command.current_dir(&folder).args(["build", "--quiet", "--release", "--locked"]);
    command.args(["--target", "bpfel-unknown-none"]);
    command.env("CARGO_TARGET_DIR", &target).env("RUSTC", &toolchain.rustc);
    // Crates for the kernel use unstable features of a compiler that is stable.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain, &folder).join("\u{1f}"));
    execute(&mut command)?;
    let built = target.join("bpfel-unknown-none/release/daymark-programs");
    // The kernel wants types and lines (BTF), not what debuggers read.
    let object = built.with_extension("stripped");
    execute(Command::new(&toolchain.strip).arg("-g").arg(&built).arg("-o").arg(&object))?;
    let octets = std::fs::read(&object).with_context(|| object.display().to_string())?;
    let places = [repository().to_path_buf(), home(), target];
    for place in places.iter().filter(|place| place.components().count() > 1) {
        if contains(&octets, place.to_string_lossy().as_bytes()) {
            bail!("the object names a path of this machine: {}", place.display());
        }
    }
    Ok(octets)
}

fn flags(toolchain: &Toolchain, sources: &Path) -> Vec<String> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.unwrap_or_else(|| home().join(".cargo"));
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Clink-arg=--btf".to_owned(),
        // In order, LLVM writes no zeros itself: it calls a `memset` that goes octet by octet.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        // Registers of kernel probes depend on it; there are none, and one object serves all.
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        remap(sources, "datapath"),
    ];
    // Every registry has a folder of its own, named after a hash.
    for registry in
        std::fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten().flatten()
    {
        flags.push(remap(&registry.path(), "crates"));
    }
    flags
}

/// Instructions that the verifier looks at, by program; needs root.
fn instructions() -> anyhow::Result<BTreeMap<String, u64>> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "daymark-loader", "--example", "instructions"]);
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    let count = |line: &str| {
        let (name, count) = line.split_once(' ').context("a name and a count")?;
        Ok((name.to_owned(), count.parse()?))
    };
    text.lines().map(count).collect()
}

fn report_growth(old: &BTreeMap<String, u64>, new: &BTreeMap<String, u64>) {
    for (name, count) in new {
        let before = old.get(name).copied().unwrap_or(*count);
        println!("xtask: {name}: {count} instructions verified ({before} before)");
        if *count * 100 > before * (100 + GROWTH) {
            println!("xtask: {name} grew by more than {GROWTH} %");
        }
    }
}

fn home() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
}

fn contains(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len().max(1)).any(|window| window == part)
}

/// A command's first line of output.
fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}
