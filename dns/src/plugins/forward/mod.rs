//! Asks upstream servers. See README.md for what its directive may say.
//!
//! A query takes this way: [`plugin`] decides whether it is ours and has room for it;
//! [`policy`] orders the upstreams; [`attempts`] tries them against the clock, by what [`latency`] tells of them; a [`remote`] asks one
//! upstream over [`udp`], a [`stream`] of its [`pool`], or a session of its [`multiplex`] over
//! [`https`] or [`quic`]; [`message`] makes the query and judges
//! what comes back. [`health`] knows which upstreams are down.

pub mod attempts;
pub mod config;
pub mod failure;
pub mod health;
pub mod https;
pub mod latency;
pub mod message;
pub mod multiplex;
pub mod plugin;
pub mod policy;
pub mod pool;
pub mod quic;
mod rcode;
pub mod remote;
pub mod resolve;
pub mod secure;
pub mod stream;
pub mod tls;
pub mod udp;
pub mod upstream;
mod witness;

pub use plugin::Forward;

#[cfg(test)]
pub(crate) mod tests;
