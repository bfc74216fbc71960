//! The image: its only layer is unpacked into namespaces as a container runtime does it, and what it
//! says it runs is run there: by its user, with nothing else to load, on port 53.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, ensure};
use daymark_tests::{
    asking,
    dns::{self, Transport},
    namespace::{Namespace, tool_path},
    peers,
    process::Program,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{Test, test};

/// Without certificates of authorities the second block would not be served.
const COREFILE: &str = ".:53 {
    bind 127.0.0.1
    errors
    hosts {
        192.0.2.81 own.example.com
        fallthrough
    }
    forward . resolver.example.com
}
private.example.com:53 {
    bind 127.0.0.1
    forward . tls://127.0.0.2 {
        tls_servername resolver.example.com
    }
}
";
/// Serves the upstream's name, and what is asked of it.
const RESOLVER: &str = ".:53 {
    bind 127.0.0.2
    hosts {
        127.0.0.2 resolver.example.com
        192.0.2.80 www.example.com
    }
}
";

/// Why the image can't be tried here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let missing = || tool_path("tar").is_none().then(|| "tar is not installed".to_owned());
    let not_made = || match archive() {
        Some(_) => None,
        None => Some("there is none: `cargo xtask image` makes it".to_owned()),
    };
    Namespace::unavailable().or_else(missing).or_else(not_made)
}

/// The image's archive, as `cargo xtask image` left it (or `DAYMARK_IMAGE`).
fn archive() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("DAYMARK_IMAGE") {
        return Some(path.into());
    }
    let own = std::env::current_exe().ok()?;
    // A test lies in target/PROFILE/deps.
    let path = own.ancestors().nth(3)?.join("image/daymark.tar");
    path.exists().then_some(path)
}

pub(crate) fn tests() -> anyhow::Result<Vec<Test>> {
    let image = Arc::new(Image::unpack(&archive().context("an image")?)?);
    let tests: [(&str, Check); 4] = [
        ("it answers on port 53 by a user that is not root", answers),
        ("its program has CoreDNS's name too, and its flags", is_coredns),
        ("it installs the CNI plugin, which runs on its own", installs_plugin),
        ("it has nothing but its programs, certificates and names", holds_little),
    ];
    let with_image = |(name, check): (&str, Check)| {
        let image = Arc::clone(&image);
        test(name, move || check(&image))
    };
    Ok(tests.map(with_image).into())
}

type Check = fn(&Image) -> anyhow::Result<()>;

/// An unpacked image, in namespaces of its own.
struct Image {
    namespace: Namespace,
    root: PathBuf,
    /// Its configuration, as the OCI image specification has it.
    config: Value,
    _resolver: Program,
    scratch: TempDir,
}

impl Image {
    fn unpack(archive: &Path) -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("daymark-image-").tempdir()?;
        let (layout, root) = (scratch.path().join("layout"), scratch.path().join("root"));
        std::fs::create_dir(&layout)?;
        std::fs::create_dir(&root)?;
        let output = Command::new("tar").arg("-xf").arg(archive).current_dir(&layout).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let index = read(&layout.join("index.json"))?;
        let manifest = read(&blob(&layout, &index["manifests"][0])?)?;
        let config = read(&blob(&layout, &manifest["config"])?)?["config"].clone();
        let layer = blob(&layout, &manifest["layers"][0])?;

        let namespace = Namespace::new()?;
        std::fs::write(scratch.path().join("resolv.conf"), "nameserver 127.0.0.2\n")?;
        std::fs::write(scratch.path().join("Corefile"), COREFILE)?;
        // What a runtime does: devices, the Pod's resolvers and its ConfigMap, and then read-only.
        let script = format!(
            "set -e
            mount -t tmpfs tmpfs '{root}'
            tar --xattrs --xattrs-include='*' -xf '{layer}' -C '{root}'
            cd '{root}'
            mkdir -p dev proc etc/coredns
            mount --bind /dev dev
            mount --bind /proc proc
            cp '{scratch}/resolv.conf' etc/resolv.conf
            cp '{scratch}/Corefile' etc/coredns/Corefile
            mount -o remount,ro '{root}'",
            root = root.display(),
            layer = layer.display(),
            scratch = scratch.path().display(),
        );
        namespace.run(&["sh", "-c", &script])?;
        let resolver = resolver(&namespace, scratch.path())?;
        Ok(Image { namespace, root, config, _resolver: resolver, scratch })
    }

    /// The command line that runs something in the image, by its user. It is in a process namespace,
    /// since a program that changes its user is no longer killed with the one that started it.
    fn entered(&self, words: &[&str]) -> anyhow::Result<(PathBuf, Vec<String>)> {
        let (nsenter, mut all) = self.namespace.enter();
        let user = self.config["User"].as_str().context("a user")?;
        let script = "chroot --groups= --userspec=\"$@\" & wait $!";
        all.extend(
            ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]
                .map(str::to_owned),
        );
        all.extend([user.to_owned(), self.root.display().to_string()]);
        all.extend(words.iter().map(|word| (*word).to_owned()));
        Ok((nsenter, all))
    }

    /// Runs something in the image to its end and gives what it printed.
    fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        let (program, words) = self.entered(words)?;
        let output = Command::new(program).args(&words).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?}: {}\n{said}{complaint}", output.status);
        Ok(said)
    }

    /// What the image runs with these arguments in the place of its own.
    fn entry_point(&self, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let words = |name: &str| -> Vec<String> {
            let list = self.config[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut all = words("Entrypoint");
        ensure!(all.len() == 1, "the entry point is {all:?}");
        match arguments {
            [] => all.extend(words("Cmd")),
            _ => all.extend(arguments.iter().map(|word| (*word).to_owned())),
        }
        Ok(all)
    }
}

/// Serves [`RESOLVER`].
fn resolver(namespace: &Namespace, scratch: &Path) -> anyhow::Result<Program> {
    let corefile = scratch.join("resolver.corefile");
    std::fs::write(&corefile, RESOLVER)?;
    let (nsenter, mut words) = namespace.enter();
    words.extend([peers::daymark().display().to_string(), "dns".into(), "--conf".into()]);
    words.push(corefile.display().to_string());
    let mut program = Program::start(&nsenter, words, &scratch.join("resolver.log"))?;
    let address = SocketAddr::from(([127, 0, 0, 2], 53));
    program.wait_until("resolving", || {
        namespace.inside(|| asking::answer(address, "www.example.com.", "A")).is_ok()
    })?;
    Ok(program)
}

fn read(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// Where a layout has what a descriptor describes.
fn blob(layout: &Path, descriptor: &Value) -> anyhow::Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a digest")?;
    Ok(layout.join("blobs").join(digest.replace(':', "/")))
}

fn answers(image: &Image) -> anyhow::Result<()> {
    let words = image.entry_point(&["-conf", "/etc/coredns/Corefile"])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (program, words) = image.entered(&words)?;
    let mut program = Program::start(&program, words, &image.scratch.path().join("log"))?;
    let server = SocketAddr::from(([127, 0, 0, 1], 53));
    program.wait_until("answering", || {
        image.namespace.inside(|| asking::answer(server, "own.example.com.", "A")).is_ok()
    })?;
    // The second is resolved by an upstream that has a name: the C library's resolver works too.
    for (name, want) in [("own.example.com.", "192.0.2.81"), ("www.example.com.", "192.0.2.80")] {
        let got = image.namespace.inside(|| asking::answer(server, name, "A"))?;
        ensure!(got == want, "{name} is {got}\n{}", program.output());
    }
    let query = dns::query("own.example.com.", "A", None)?;
    image.namespace.inside(|| dns::ask(server, &query, Transport::Tcp)).context("over TCP")?;
    let status = status_of("daymark", program.id()).context("a process called daymark")?;
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let (user, capabilities) =
        (line("Uid:").unwrap_or_default(), line("CapEff:").unwrap_or_default());
    ensure!(user.split_whitespace().all(|id| id == "65532"), "its user is {user}");
    // Bit 10 is CAP_NET_BIND_SERVICE.
    ensure!(capabilities.trim() == "0000000000000400", "it may {capabilities}");
    Ok(())
}

/// The status of the process with this name among those that came from another.
fn status_of(name: &str, from: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{from}/status")).ok()?;
    if status.lines().next()?.split_whitespace().nth(1) == Some(name) {
        return Some(status);
    }
    let children = std::fs::read_to_string(format!("/proc/{from}/task/{from}/children")).ok()?;
    children.split_whitespace().find_map(|child| status_of(name, child.parse().ok()?))
}

fn is_coredns(image: &Image) -> anyhow::Result<()> {
    for words in [["/coredns", "-version"], ["/daymark", "version"]] {
        let said = image.run(&words)?;
        ensure!(said.starts_with("daymark "), "{words:?}: {said}");
    }
    let plugins = image.run(&["/coredns", "-plugins"])?;
    ensure!(plugins.contains("kubernetes"), "{plugins}");
    let words = image.entry_point(&["check", "corefile", "/etc/coredns/Corefile"])?;
    image.run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    ensure!(image.entry_point(&[])? == ["/daymark", "dns"], "{}", image.config);
    Ok(())
}

/// As the init container does it: into a folder of the host, by root.
fn installs_plugin(image: &Image) -> anyhow::Result<()> {
    let to = image.scratch.path().join("cni-bin");
    std::fs::create_dir(&to)?;
    let script = format!(
        "set -e
        mount --bind '{to}' '{root}/dev/shm'
        chroot '{root}' /daymark install-cni --to /dev/shm
        umount '{root}/dev/shm'",
        to = to.display(),
        root = image.root.display(),
    );
    image.namespace.run(&["sh", "-c", &script])?;
    let output =
        Command::new(to.join("daymark-cni")).env_clear().env("CNI_COMMAND", "VERSION").output()?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let versions = said["supportedVersions"].as_array().context("versions")?;
    ensure!(versions.iter().any(|version| version == "1.1.0"), "{said}");
    Ok(())
}

fn holds_little(image: &Image) -> anyhow::Result<()> {
    let root = image.root.display().to_string();
    let words = ["-path", "*/dev", "-prune", "-o", "-path", "*/proc", "-prune", "-o", "-print"];
    let said = image.namespace.run(&[&["find", &root], &words[..]].concat())?;
    let mut found: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix(&format!("{root}/"))).collect();
    found.sort_unstable();
    let wanted = [
        "coredns",
        "daymark",
        "daymark-cni",
        "etc",
        "etc/coredns",
        "etc/coredns/Corefile",
        "etc/group",
        "etc/nsswitch.conf",
        "etc/passwd",
        "etc/resolv.conf",
        "etc/ssl",
        "etc/ssl/certs",
        "etc/ssl/certs/ca-certificates.crt",
    ];
    ensure!(found == wanted, "{found:?}");
    Ok(())
}
