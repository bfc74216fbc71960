//! Flags of `daymark lab`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  daymark lab up examples/lab/two-nodes.yaml            two nodes, ten pods
  daymark lab status                                    which pods there are, and their addresses
  daymark lab exec shop/web-0 -- ping -c 3 10.244.2.2   a command in a pod's network
  daymark lab exec node/n1 -- ip route                  the same on a node, or `outside` of them
  daymark lab down                                      take everything away";

/// Flags of `daymark lab`.
#[derive(Debug, Args)]
pub(crate) struct LabOptions {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: LabVerb,
    /// The folder in which labs keep what they make.
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/daymark/lab")]
    pub(crate) labs: PathBuf,
}

/// What to do with labs.
#[derive(Debug, Subcommand)]
pub(crate) enum LabVerb {
    /// Make the lab that a file describes, and leave it running.
    Up {
        /// The file.
        file: PathBuf,
        /// Make the lab's nodes those of this API server, which has to listen on loopback.
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// Show nodes and pods with their addresses.
    Status {
        /// Which lab, if several are up.
        #[arg(long)]
        name: Option<String>,
        /// How to write it.
        #[arg(long, short, value_enum, default_value_t = StatusFormat::Text)]
        output: StatusFormat,
    },
    /// Run a command in the network of a pod, of a node, or outside of the nodes.
    Exec {
        /// Which lab, if several are up.
        #[arg(long)]
        name: Option<String>,
        /// `NAMESPACE/POD`, `node/NODE` or `outside`.
        place: String,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Write the packets of such a place as pcap, until interrupted.
    #[command(after_help = "Example: daymark lab capture shop/web-0 | tcpdump -nr -")]
    Capture {
        /// Which lab, if several are up.
        #[arg(long)]
        name: Option<String>,
        /// `NAMESPACE/POD`, `node/NODE` or `outside`.
        place: String,
        /// End after so many packets.
        #[arg(long, short)]
        count: Option<u64>,
        /// The file to write [default: standard output].
        #[arg(long, short, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Take a lab away, or all of them.
    Down {
        /// Which.
        name: Option<String>,
    },
    /// What `up` starts: the process that a lab lives in.
    #[command(hide = true)]
    Keep {
        /// Which.
        name: String,
        /// See `up`.
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
}

/// How a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// In words.
    Text,
    /// As one JSON object.
    Json,
}
