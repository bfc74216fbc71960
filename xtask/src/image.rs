//! The container image without Docker: a static program, certificates, and the settings that
//! `deploy/image/Dockerfile` has, as an OCI archive.

mod archive;
mod dockerfile;
mod oci;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use self::archive::Archive;
use crate::shell::{cargo, execute, repository};

/// Where certificates of the public authorities are, here and in the image.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// `security.capability` (linux/capability.h): version 2 with the effective bit, permitted
/// NET_BIND_SERVICE (bit 10), inheritable none.
const NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The CNI plugin's program, which is built beside ours.
const PLUGIN: &str = "daymark-cni";

/// What the image is called if nobody says otherwise.
const NAME: &str = concat!("daymark.local/daymark:", env!("CARGO_PKG_VERSION"));

/// What the image is made from, and called.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A static program to take instead of building one, with the CNI plugin beside it.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Cargo's profile for the program that is built.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The image's name, as a container runtime lists it.
    #[arg(long, default_value = NAME)]
    name: String,
    /// Where the archive goes [default: image/daymark.tar in the target folder].
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Options {
    /// For tests: what takes minutes to optimize is not optimized.
    pub(crate) fn for_tests() -> Self {
        let output = Some(target().join("image/tests.tar"));
        Options { program: None, profile: "dev".to_owned(), name: NAME.to_owned(), output }
    }

    /// The image's name in its two parts.
    pub(crate) fn name_and_tag(&self) -> (&str, &str) {
        self.name.rsplit_once(':').unwrap_or((&self.name, "latest"))
    }
}

/// Builds the program if none is given, and writes the archive, whose path it gives.
pub(crate) fn build(options: &Options) -> anyhow::Result<PathBuf> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => static_program(&options.profile)?,
    };
    let settings = fs::read_to_string(repository().join("deploy/image/Dockerfile"))?;
    let settings = dockerfile::settings(&settings)?;
    let layer = layer(&program, &program.with_file_name(PLUGIN))?;
    let output = options.output.clone().unwrap_or_else(|| target().join("image/daymark.tar"));
    fs::create_dir_all(output.parent().context("a folder for the archive")?)?;
    fs::write(&output, oci::archive(&options.name, &layer, &settings))?;
    println!("{}: {} ({} KiB)", output.display(), options.name, layer.len() / 1024);
    Ok(output)
}

/// The image's only layer.
fn layer(program: &Path, plugin: &Path) -> anyhow::Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let (program_bytes, plugin_bytes) = (read(program)?, read(plugin)?);
    for (path, bytes) in [(program, &program_bytes), (plugin, &plugin_bytes)] {
        let path = path.display();
        ensure!(!needs_loader(bytes), "{path} is not static: it would find no libraries");
    }
    let mut layer = Archive::default();
    for folder in ["etc", "etc/ssl", "etc/ssl/certs"] {
        layer.folder(folder);
    }
    let given = repository().join("deploy/image/root/etc");
    let mut names: Vec<_> =
        fs::read_dir(&given)?.map(|entry| Ok(entry?.file_name())).collect::<anyhow::Result<_>>()?;
    names.sort();
    for name in names {
        let path = format!("etc/{}", name.to_string_lossy());
        layer.file(&path, 0o644, &read(&given.join(&name))?);
    }
    let authorities = Path::new("/").join(AUTHORITIES);
    let authorities = read(&authorities).context("Debian's package is ca-certificates")?;
    layer.file(AUTHORITIES, 0o644, &authorities);
    layer.attribute("security.capability", &NET_BIND_SERVICE);
    layer.file("daymark", 0o755, &program_bytes);
    layer.file(PLUGIN, 0o755, &plugin_bytes);
    layer.link("coredns", "daymark");
    Ok(layer.finish())
}

/// Whether an ELF file asks for a loader (a program header of type PT_INTERP, elf(5)).
fn needs_loader(program: &[u8]) -> bool {
    let number = |at: usize, octets: usize| {
        let bytes = program.get(at..at + octets).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(table.saturating_add(index * size), 4) == 3)
}

/// Builds the program and the plugin as the Dockerfile does, but for the profile; gives the program's
/// path.
pub(crate) fn static_program(profile: &str) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    let mut build = cargo();
    build
        .args(["build", "--profile", profile, "--locked", "--target", &host])
        .args(["--package", "daymark", "--package", "daymark-cni-plugin"])
        .env(flags, "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    execute(&mut build)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target().join(host).join(folder).join("daymark"))
}

/// The platform at hand, in Rust's words. It has to be named: without, build scripts and macros
/// would be built static as well, which they can't be.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names the host")?.to_owned())
}

/// Cargo's folder for what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), |folder| repository().join(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_told_from_one_without() {
        let own = fs::read(std::env::current_exe().expect("a path")).expect("this test");
        assert!(needs_loader(&own));
        let mut patched = own;
        let table = usize::from(patched[32]);
        let count = usize::from(patched[56]);
        for index in 0..count {
            patched[table + index * 56] = 1;
        }
        assert!(!needs_loader(&patched));
        assert!(!needs_loader(b"\x7fELF"));
    }
}
