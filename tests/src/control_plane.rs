//! A real etcd and kube-apiserver on loopback, and a client for making objects in it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, bail};
use futures::StreamExt;
use http::{Method, Request};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{peers, ports};

/// Name of a file with the port of kube-controller-manager, if it is to run.
const CONTROLLERS: &str = "controllers-port";

/// A running control plane. Stopped, and its data deleted, when dropped.
pub struct ControlPlane {
    folder: TempDir,
    port: u16,
    client: Client,
    runtime: Runtime,
    /// Stops everything when its standard input ends, which it does with this process.
    guard: Child,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver.
    ///
    /// # Errors
    /// If a peer is missing or does not come up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("daymark-control-plane-").tempdir()?)
    }

    /// Starts kube-controller-manager too.
    ///
    /// # Errors
    /// If a peer is missing or does not come up.
    pub fn start_with_controllers() -> anyhow::Result<Self> {
        peers::program("kube-controller-manager").map_err(anyhow::Error::msg)?;
        let folder = tempfile::Builder::new().prefix("daymark-control-plane-").tempdir()?;
        std::fs::write(folder.path().join(CONTROLLERS), ports::free().to_string())?;
        Self::start_in(folder)
    }

    fn start_in(folder: TempDir) -> anyhow::Result<Self> {
        for peer in ["etcd", "kube-apiserver"] {
            peers::program(peer).map_err(anyhow::Error::msg)?;
        }
        let port = ports::free();
        // Before there is anything to stop.
        let guard = guard(folder.path())?;
        script("start", folder.path(), port)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(connect(&folder.path().join("admin.kubeconfig")))?;
        Ok(ControlPlane { folder, port, client, runtime, guard })
    }

    /// Kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A file of the administrator's certificate: `ca.crt`, `admin.crt`, `admin.key`.
    pub fn pki(&self, file: &str) -> PathBuf {
        self.folder.path().join("pki").join(file)
    }

    /// Makes an object out of a manifest: creates it, writes its status where there is one, and
    /// deletes it again where it asks for that (see tests/dns/rules/README.md).
    ///
    /// # Errors
    /// What the API server said.
    pub fn make(&self, manifest: &Value) -> anyhow::Result<()> {
        let (collection, name) = path(manifest)?;
        match self.call(Method::POST, &collection, Some(manifest)) {
            Err(error) if format!("{error:#}").contains("AlreadyExists") => {}
            other => drop(other?),
        }
        let object = format!("{collection}/{name}");
        if let Some(status) = manifest.get("status") {
            let patch = serde_json::json!({ "status": status });
            self.call(Method::PATCH, &format!("{object}/status"), Some(&patch))?;
        }
        if manifest["metadata"]["annotations"]["daymark.test/delete"] == "true" {
            self.call(Method::DELETE, &object, None)?;
        }
        Ok(())
    }

    /// Makes many objects, several at once. Their status is left as it is.
    ///
    /// # Errors
    /// What the API server said first.
    pub fn make_all(&self, manifests: &[Value]) -> anyhow::Result<()> {
        const AT_ONCE: usize = 32;
        let create = |manifest: &Value| {
            let (client, body) = (self.client.clone(), manifest.to_string().into_bytes());
            let path = path(manifest).map(|(collection, _)| collection);
            async move {
                let request = Request::builder()
                    .method(Method::POST)
                    .uri(path?)
                    .header("content-type", "application/json")
                    .body(body)?;
                Ok::<Value, anyhow::Error>(client.request(request).await?)
            }
        };
        self.runtime.block_on(async {
            let mut made = futures::stream::iter(manifests).map(create).buffer_unordered(AT_ONCE);
            while let Some(outcome) = made.next().await {
                outcome?;
            }
            Ok(())
        })
    }

    /// Ends the API server at once (SIGKILL) and leaves etcd running.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_api_server(&self) -> anyhow::Result<()> {
        let id = std::fs::read_to_string(self.folder.path().join("kube-apiserver.pid"))?;
        let status = Command::new("kill").args(["-KILL", id.trim()]).status()?;
        anyhow::ensure!(status.success(), "kill -KILL {}: {status}", id.trim());
        // The process is gone when its last thread is, and only then is its port free.
        let bind = || Ok(std::net::TcpListener::bind(("127.0.0.1", self.port))?);
        crate::process::retried(bind).map(drop)
    }

    /// Forgets the history that etcd keeps: watches from older versions get 410 Gone.
    ///
    /// # Errors
    /// What etcd said.
    pub fn compact(&self) -> anyhow::Result<()> {
        let version = self.call(Method::GET, "/api/v1/namespaces?limit=1", None)?;
        let version = version["metadata"]["resourceVersion"].clone();
        let ports = std::fs::read_to_string(self.folder.path().join("etcd-ports"))?;
        let etcd = ports.split(' ').next().context("etcd's port")?.to_owned();
        let output = Command::new("curl")
            .args(["-fsS", "-X", "POST", &format!("http://127.0.0.1:{etcd}/v3/kv/compaction")])
            .args(["-d", &serde_json::json!({ "revision": version }).to_string()])
            .output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Has the API server check an object as if it were to be created, unknown fields too, and
    /// keeps nothing.
    ///
    /// # Errors
    /// What the API server said.
    pub fn dry_run(&self, manifest: &Value) -> anyhow::Result<Value> {
        let (collection, _) = path(manifest)?;
        let path = format!("{collection}?dryRun=All&fieldValidation=Strict");
        self.call(Method::POST, &path, Some(manifest))
    }

    /// One call of the API.
    ///
    /// # Errors
    /// What the API server said.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder().method(&method).uri(path).header("content-type", kind);
        let reply = self.runtime.block_on(self.client.request(request.body(body)?));
        reply.with_context(|| format!("{method} {path}"))
    }

    /// Stops the API server and etcd; the data stays.
    ///
    /// # Errors
    /// If they do not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        script("stop", self.folder.path(), self.port)
    }

    /// Starts them again on the same data and port.
    ///
    /// # Errors
    /// If they do not come up.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.begin_to_start_again()?.wait()
    }

    /// As [`ControlPlane::start_again`], without waiting until they are up.
    ///
    /// # Errors
    /// If nothing can be started.
    pub fn begin_to_start_again(&self) -> anyhow::Result<Starting> {
        let mut command = script_command("start", self.folder.path(), self.port)?;
        let piped = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Starting(piped.spawn().context("running apiserver.sh")?))
    }
}

/// A control plane on its way up.
#[must_use = "its end tells whether it came up"]
pub struct Starting(Child);

impl Starting {
    /// Waits until it is up.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn wait(self) -> anyhow::Result<()> {
        ended_well("start", &self.0.wait_with_output()?)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("stopping the control plane: {error:#}");
        }
        drop(self.guard.stdin.take());
        // It finds nothing to stop; there is nobody to tell at this point.
        let _ = self.guard.wait();
    }
}

fn guard(folder: &Path) -> anyhow::Result<Child> {
    let guard = Command::new(peers::repository().join("tests/peers/apiserver.sh"))
        .arg("guard")
        .arg(folder)
        .stdin(Stdio::piped())
        .spawn();
    guard.context("starting apiserver.sh guard")
}

fn script(verb: &str, folder: &Path, port: u16) -> anyhow::Result<()> {
    let output = script_command(verb, folder, port)?.output().context("running apiserver.sh")?;
    ended_well(verb, &output)
}

fn script_command(verb: &str, folder: &Path, port: u16) -> anyhow::Result<Command> {
    // etcd's two ports are chosen once and kept beside its data.
    let ports = folder.join("etcd-ports");
    let kept = std::fs::read_to_string(&ports).ok();
    let kept = kept.unwrap_or_else(|| format!("{} {}", ports::free(), ports::free()));
    std::fs::write(&ports, &kept)?;
    let (etcd, etcd_peer) = kept.split_once(' ').context("two ports")?;
    let mut command = Command::new(peers::repository().join("tests/peers/apiserver.sh"));
    command
        .arg(verb)
        .arg(folder)
        .env("PEERS_BIN", peers::folder())
        .env("PORT", port.to_string())
        .env("ETCD_PORT", etcd)
        .env("ETCD_PEER_PORT", etcd_peer);
    if let Ok(port) = std::fs::read_to_string(folder.join(CONTROLLERS)) {
        command.env("KCM", "1").env("KCM_PORT", port);
    }
    Ok(command)
}

fn ended_well(verb: &str, output: &Output) -> anyhow::Result<()> {
    if !output.status.success() {
        bail!("apiserver.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

async fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Path of the collection that a manifest's object belongs to, and the object's name.
fn path(manifest: &Value) -> anyhow::Result<(String, String)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&manifest["kind"]).context("a manifest has a kind")?;
    let version = text(&manifest["apiVersion"]).context("a manifest has an apiVersion")?;
    let name = text(&manifest["metadata"]["name"]).context("a manifest has a name")?;
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = format!("{}s", kind.to_lowercase());
    let scope = match text(&manifest["metadata"]["namespace"]) {
        Some(namespace) => format!("/namespaces/{namespace}"),
        None => String::new(),
    };
    Ok((format!("{root}/{version}{scope}/{plural}"), name))
}
