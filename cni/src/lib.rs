//! Pods on the node's network: which address each has ([`ipam`]), the links and routes that lead to
//! it, and the agent's side of the CNI plugin ([`attachments`], [`server`]). The only crate that speaks
//! rtnetlink. It never looks at a packet: that is the datapath's.
#![forbid(unsafe_code)]

pub mod attachments;
mod host_ports;
mod identity;
pub mod ipam;
pub mod metrics;
mod namespace;
pub mod netlink;
pub mod node;
pub mod record;
pub mod server;
mod shaping;
mod turns;
mod wiring;
