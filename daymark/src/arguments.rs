//! The command line: verbs and flags, and CoreDNS's own way of writing them.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod agent;
mod lab;

pub(crate) use self::{
    agent::{AgentOptions, AgentPlaces, AgentVerb, RoutingMode, StatusOptions},
    lab::{LabOptions, LabVerb, StatusFormat},
};

/// Kubernetes service networking: cluster DNS and the pod network.
#[derive(Debug, Parser)]
#[command(name = "daymark", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve DNS: the kube-dns Deployment's job, from the Corefile it already has.
    #[command(after_help = DNS_EXAMPLES)]
    Dns(Box<DnsOptions>),
    /// Check something before it is used.
    Check {
        /// What to check.
        #[command(subcommand)]
        what: CheckWhat,
    },
    /// Run the node agent: the pod network of this node.
    Agent(Box<AgentOptions>),
    /// How this node's agent is doing. The exit status is 0 if all is well.
    Status(StatusOptions),
    /// Copy the CNI plugin, which lies beside this program, to where the container runtime looks.
    InstallCni {
        /// The folder.
        #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
        to: PathBuf,
    },
    /// Nodes and pods on this machine, as network namespaces: to try things out. Takes root.
    #[command(after_help = lab::EXAMPLES)]
    Lab(LabOptions),
    /// Print the version.
    Version,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const DNS_EXAMPLES: &str = "\
Examples:
  daymark dns --manifests examples/shop --port 1053     serve a folder of manifests on a laptop
  daymark dns --conf /etc/coredns/Corefile              run a Corefile, as the Deployment does
  daymark dns --conf Corefile --manifests ./objects     a Corefile, with objects from a folder
  coredns -conf Corefile -dns.port 1053                 the same flags as CoreDNS, if called so";

/// Flags of `daymark dns`. CoreDNS's spellings with one dash are understood as well.
#[derive(Debug, Args)]
pub(crate) struct DnsOptions {
    /// The Corefile [default: ./Corefile if it is there, else kubeadm's].
    #[arg(long, value_name = "FILE")]
    pub(crate) conf: Option<PathBuf>,
    /// Port for server blocks that name none.
    #[arg(
        long,
        short = 'p',
        visible_alias = "dns.port",
        value_name = "PORT",
        default_value_t = 53
    )]
    pub(crate) port: u16,
    /// Take the cluster's objects from this folder (or file) of manifests, not from an API server.
    #[arg(long, value_name = "PATH")]
    pub(crate) manifests: Option<PathBuf>,
    /// Save the cluster's state in this folder, and answer from it at the next start until the API
    /// server has told all.
    #[arg(long, value_name = "DIR", env = "DAYMARK_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Take over the sockets of the server that offers them at this unix socket, and offer them there:
    /// so one process follows another in a network namespace and no query is lost.
    #[arg(long, value_name = "SOCKET", env = "DAYMARK_HANDOVER")]
    pub(crate) handover: Option<PathBuf>,
    /// Write the process id to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Print the plugins in the order in which they see a query, and exit.
    #[arg(long)]
    pub(crate) plugins: bool,
    /// Print the version, and exit.
    #[arg(long = "version")]
    pub(crate) print_version: bool,
    /// Leave out the lines at start that say what is served.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// End the process when the `loop` plugin finds a forwarding loop, as CoreDNS does.
    #[arg(long)]
    pub(crate) loop_exit: bool,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "DAYMARK_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `[INFO] …`, as CoreDNS writes them.
    Text,
    /// One JSON object a line.
    Json,
}

/// What can be checked.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckWhat {
    /// A Corefile: all mistakes at once, each with its place and the remedy.
    Corefile(CorefileOptions),
    /// Two servers: asks both the same and reports where they answer differently.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareOptions),
}

/// Flags of `daymark check corefile`.
#[derive(Debug, Args)]
pub(crate) struct CorefileOptions {
    /// The Corefile.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Port for server blocks that name none.
    #[arg(long, short = 'p', default_value_t = 53)]
    pub(crate) port: u16,
    /// Say what each block does, in the order in which it does it, and where CoreDNS does otherwise.
    #[arg(long)]
    pub(crate) explain: bool,
}

const COMPARE_EXAMPLES: &str = "\
Examples:
  daymark check compare --old 10.96.0.10:53 --new 10.96.0.99:53 --from-api --kubeconfig ~/.kube/config
  daymark check compare --old 127.0.0.1:1053 --new 127.0.0.1:2053 --queries queries.txt

The exit status is 0 if all answers are the same, 1 if some differ, 2 if that can't be told.";

/// Flags of `daymark check compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// The server that is used today.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) old: SocketAddr,
    /// The server that is to take its place.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) new: SocketAddr,
    /// A file of questions, `NAME TYPE` a line, as dnsperf has them.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "from_api",
        required_unless_present = "from_api"
    )]
    pub(crate) queries: Option<PathBuf>,
    /// Ask for everything that the cluster's Services and endpoints have names for.
    #[arg(long)]
    pub(crate) from_api: bool,
    /// How to reach the API server; without it as a Pod does.
    #[arg(long, value_name = "FILE", requires = "from_api")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cluster's zone.
    #[arg(long, default_value = "cluster.local", requires = "from_api")]
    pub(crate) zone: String,
    /// TTLs count too.
    #[arg(long)]
    pub(crate) ttl: bool,
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    format!("daymark {}", env!("CARGO_PKG_VERSION"))
}

/// CoreDNS's flags, which it writes with one dash (two work as well).
const COREDNS_FLAGS: [&str; 7] =
    ["conf", "dns.port", "log-format", "pidfile", "plugins", "version", "quiet"];

/// Those that are there or not.
const SWITCHES: [&str; 3] = ["plugins", "version", "quiet"];

/// The command line in clap's spelling: CoreDNS's single-dash flags get their second dash, and a
/// program called `coredns` means `daymark dns`.
pub(crate) fn normalized(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_else(|| "daymark".into());
    let called_coredns = PathBuf::from(&program).file_stem().is_some_and(|stem| stem == "coredns");
    let mut normalized = vec![program];
    if called_coredns {
        normalized.push("dns".into());
    }
    let mut rest = arguments.peekable();
    // Flags before any verb are CoreDNS's: its images have no verb.
    if !called_coredns && rest.peek().is_some_and(is_coredns_flag) {
        normalized.push("dns".into());
    }
    normalized.extend(rest.filter_map(|argument| match is_coredns_flag(&argument) {
        true => without_truth([OsString::from("-"), argument].concat_os()),
        false => without_truth(argument),
    }));
    normalized
}

/// A switch as Go's flags may have it, `--quiet=true`, without its value; nothing where that is
/// false. Any other argument as it is.
fn without_truth(argument: OsString) -> Option<OsString> {
    let parts = argument.to_str().and_then(|text| text.strip_prefix("--")?.split_once('='));
    match parts {
        Some((name, "1" | "t" | "T" | "true" | "True" | "TRUE")) if SWITCHES.contains(&name) => {
            Some(format!("--{name}").into())
        }
        Some((name, "0" | "f" | "F" | "false" | "False" | "FALSE")) if SWITCHES.contains(&name) => {
            None
        }
        _ => Some(argument),
    }
}

fn is_coredns_flag(argument: &OsString) -> bool {
    let Some(text) = argument.to_str().and_then(|text| text.strip_prefix('-')) else {
        return false;
    };
    let name = text.split('=').next().unwrap_or_default();
    COREDNS_FLAGS.contains(&name)
}

trait ConcatOs {
    fn concat_os(self) -> OsString;
}

impl ConcatOs for [OsString; 2] {
    fn concat_os(self) -> OsString {
        let [mut first, second] = self;
        first.push(second);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Verb {
        let words = line.split(' ').map(OsString::from);
        Arguments::try_parse_from(normalized(words)).expect(line).verb
    }

    #[test]
    fn coredns_command_lines_are_understood() {
        for line in [
            "coredns -conf /etc/coredns/Corefile -dns.port=1053",
            "/coredns -conf=/etc/coredns/Corefile -p 1053",
            "daymark -conf /etc/coredns/Corefile -dns.port 1053",
            "daymark dns --conf /etc/coredns/Corefile --port 1053",
            "/coredns -conf /etc/coredns/Corefile -log-format=json -p=1053",
        ] {
            let Verb::Dns(options) = parsed(line) else { panic!("{line}: not dns") };
            assert_eq!(options.conf.as_deref(), Some("/etc/coredns/Corefile".as_ref()), "{line}");
            assert_eq!(options.port, 1053, "{line}");
        }
        let line = "coredns -quiet -plugins -pidfile /run/x -log-format json";
        let Verb::Dns(options) = parsed(line) else { panic!("not dns") };
        assert!(options.quiet && options.plugins && options.pidfile.is_some());
        assert_eq!(options.log_format, LogFormat::Json);
    }

    #[test]
    fn switches_may_have_a_truth_value() {
        for (line, quiet) in [
            ("coredns -quiet=true -conf x", true),
            ("coredns -quiet=0 -conf x", false),
            ("coredns --quiet=False -plugins=1", false),
            ("daymark dns --quiet", true),
        ] {
            let Verb::Dns(options) = parsed(line) else { panic!("{line}: not dns") };
            assert_eq!(options.quiet, quiet, "{line}");
        }
        let refused = normalized(["coredns", "-quiet=perhaps"].map(OsString::from));
        assert!(Arguments::try_parse_from(refused).is_err());
    }

    #[test]
    fn other_verbs_are_left_alone() {
        assert!(matches!(parsed("daymark version"), Verb::Version));
        assert!(matches!(parsed("daymark check corefile x"), Verb::Check { .. }));
    }
}
