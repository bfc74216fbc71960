//! `forward` against upstreams on loopback that do as they are told.

mod authority;
mod connections;
mod doh;
mod doq;
mod dot;
mod plugin;
pub(crate) mod scripted;
pub(crate) mod setup;
