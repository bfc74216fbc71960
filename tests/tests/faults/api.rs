//! An API server that is not to be trusted, or that rejects us: one clear error, and what is known
//! goes on being served.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use daymark_tests::{
    asking,
    certificates::{Authority, EXPIRED_ON, Validity},
    peers, ports,
    process::Program,
    scripted_api::{Manner, ScriptedApi},
};
use serde_json::json;
use tempfile::TempDir;

const NAME: &str = "web.shop.svc.cluster.local.";
const OTHER: &str = "other.shop.svc.cluster.local.";

fn objects() -> Manner {
    let metadata = |name: &str, namespace: Option<&str>| json!({ "name": name, "namespace": namespace, "resourceVersion": "7" });
    Manner::Serves(vec![
        ("namespaces", json!({ "metadata": metadata("shop", None) })),
        (
            "services",
            json!({
                "metadata": metadata("web", Some("shop")),
                "spec": { "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"] },
            }),
        ),
    ])
}

/// As the API server words it.
fn unauthorized() -> Manner {
    Manner::Refuses { code: 401, reason: "Unauthorized", message: "Unauthorized" }
}

fn forbidden() -> Manner {
    Manner::Refuses {
        code: 403,
        reason: "Forbidden",
        message: "RESOURCE is forbidden: User \"system:serviceaccount:kube-system:coredns\" \
                  cannot list resource \"RESOURCE\" in API group \"\" at the cluster scope",
    }
}

/// Daymark with a kubeconfig, in a folder.
struct Follower {
    program: Program,
    server: SocketAddr,
}

impl Follower {
    fn start(folder: &TempDir, kubeconfig: &Path) -> Self {
        let port = ports::free();
        let corefile: PathBuf = folder.path().join("Corefile");
        let text = format!(
            ".:{port} {{\n    bind 127.0.0.1\n    errors\n    kubernetes cluster.local {{\n        \
             kubeconfig {}\n        startup_timeout 1s\n    }}\n}}\n",
            kubeconfig.display()
        );
        fs::write(&corefile, text).unwrap();
        let arguments = [Path::new("dns"), Path::new("--conf"), &corefile];
        let log = folder.path().join("log");
        let mut program = Program::start(&peers::daymark(), arguments, &log).unwrap();
        let server = (Ipv4Addr::LOCALHOST, port).into();
        program.wait_until_listening(server).unwrap();
        Follower { program, server }
    }

    fn wait(&mut self, what: &str, done: impl FnMut() -> bool) {
        self.program.wait_until(what, done).unwrap();
    }

    /// The lines of its log that are errors.
    fn errors(&self) -> Vec<String> {
        let log = self.program.output();
        log.lines().filter(|line| line.starts_with("[ERROR]")).map(str::to_owned).collect()
    }

    fn answer(&self, name: &str) -> String {
        asking::answer(self.server, name, "A").unwrap()
    }
}

/// Follows an API that can't be connected to, and gives the one error that is told of it, however
/// often it is tried again.
fn told_of(api: &ScriptedApi, folder: &TempDir, kubeconfig: &Path) -> String {
    let mut follower = Follower::start(folder, kubeconfig);
    // Three kinds of objects are asked for; each has to have been tried again.
    follower.wait("tried again and again", || api.connections() >= 12);
    assert_eq!(follower.answer(NAME), "SERVFAIL", "nothing is known yet: not NXDOMAIN");
    follower.program.wait_until_said("[ERROR]").unwrap();
    let errors = follower.errors();
    assert_eq!(errors.len(), 1, "one error for the endpoint: {errors:#?}");
    assert!(errors[0].contains(&api.url()), "the endpoint is not in: {}", errors[0]);
    errors.into_iter().next().unwrap()
}

#[test]
fn an_expired_certificate_of_the_api_server_is_named_with_its_date_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca").unwrap();
    let server = authority.issue("127.0.0.1", Validity::Expired).unwrap();
    let api = ScriptedApi::start(&server, None, objects()).unwrap();
    let kubeconfig = api.kubeconfig(folder.path(), &authority, None).unwrap();
    let said = told_of(&api, &folder, &kubeconfig);
    for part in ["its certificate expired", EXPIRED_ON, "renew the API server's certificate"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted_and_the_ca_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] =
        ["ours", "theirs"].map(|name| Authority::new(folder.path(), name).unwrap());
    let server = theirs.issue("127.0.0.1", Validity::Good).unwrap();
    let api = ScriptedApi::start(&server, None, objects()).unwrap();
    let kubeconfig = api.kubeconfig(folder.path(), &ours, None).unwrap();
    let said = told_of(&api, &folder, &kubeconfig);
    for part in ["not signed by the CA", "check that the CA file"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn an_expired_client_certificate_is_told_from_one_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca").unwrap();
    let server = authority.issue("127.0.0.1", Validity::Good).unwrap();
    let user = authority.issue("coredns", Validity::Expired).unwrap();
    let api = ScriptedApi::start(&server, Some(&authority), objects()).unwrap();
    let kubeconfig = api.kubeconfig(folder.path(), &authority, Some(&user)).unwrap();
    let said = told_of(&api, &folder, &kubeconfig);
    for part in ["our client certificate has expired", "renew the client certificate"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn with_good_certificates_the_same_api_server_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca").unwrap();
    let server = authority.issue("127.0.0.1", Validity::Good).unwrap();
    let user = authority.issue("coredns", Validity::Good).unwrap();
    let api = ScriptedApi::start(&server, Some(&authority), objects()).unwrap();
    let kubeconfig = api.kubeconfig(folder.path(), &authority, Some(&user)).unwrap();
    let follower = Follower::start(&folder, &kubeconfig);
    asking::wait_for(follower.server, NAME, "A", "10.96.0.7").unwrap();
    assert_eq!(follower.answer(OTHER), "NXDOMAIN");
    assert_eq!(follower.errors(), [""; 0]);
}

/// An API that rejects us in some way, and what is told of it.
struct Rejection {
    manner: Manner,
    /// Lines of the log: one for the endpoint, or one for each kind of object.
    errors: usize,
    parts: &'static [&'static str],
}

fn rejections() -> [Rejection; 2] {
    [
        Rejection {
            manner: unauthorized(),
            errors: 1,
            parts: &["does not accept our credentials (401)", "check the token"],
        },
        Rejection {
            manner: forbidden(),
            errors: 3,
            parts: &[
                "(403)",
                "User \"system:serviceaccount:kube-system:coredns\"",
                "resource \"services\"",
                "resource \"namespaces\"",
                "resources: [endpointslices]",
                "add to this account's ClusterRole",
                "verbs: [list, watch]",
            ],
        },
    ]
}

#[test]
fn an_api_that_rejects_us_from_the_start_is_told_of_and_nothing_is_said_not_to_exist() {
    for rejection in rejections() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca").unwrap();
        let server = authority.issue("127.0.0.1", Validity::Good).unwrap();
        let api = ScriptedApi::start(&server, None, rejection.manner.clone()).unwrap();
        let kubeconfig = api.kubeconfig(folder.path(), &authority, None).unwrap();
        let mut follower = Follower::start(&folder, &kubeconfig);
        follower.wait("tried again and again", || api.requests() >= 12);
        assert_eq!(follower.answer(NAME), "SERVFAIL");
        tells(&mut follower, &api, &rejection);
        api.change(objects());
        // Tried every ten seconds by then.
        asking::wait_for(follower.server, NAME, "A", "10.96.0.7").unwrap();
    }
}

#[test]
fn an_api_that_rejects_us_later_leaves_the_last_state_served() {
    for rejection in rejections() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "ca").unwrap();
        let server = authority.issue("127.0.0.1", Validity::Good).unwrap();
        let api = ScriptedApi::start(&server, None, objects()).unwrap();
        let kubeconfig = api.kubeconfig(folder.path(), &authority, None).unwrap();
        let mut follower = Follower::start(&folder, &kubeconfig);
        asking::wait_for(follower.server, NAME, "A", "10.96.0.7").unwrap();
        let before = api.requests();
        api.change(rejection.manner.clone());
        follower.wait("tried again and again", || api.requests() >= before + 9);
        assert_eq!(follower.answer(NAME), "10.96.0.7", "the last state stays");
        assert_eq!(follower.answer(OTHER), "NXDOMAIN", "what was known not to exist does not");
        tells(&mut follower, &api, &rejection);
    }
}

fn tells(follower: &mut Follower, api: &ScriptedApi, rejection: &Rejection) {
    for part in rejection.parts {
        follower.program.wait_until_said(part).unwrap();
    }
    let errors = follower.errors();
    assert_eq!(errors.len(), rejection.errors, "{errors:#?}");
    assert!(errors.iter().all(|error| error.contains(&api.url())), "{errors:#?}");
}
