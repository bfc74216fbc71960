//! `forward` against upstreams on loopback that do as they are told.

mod connections;
mod dot;
mod plugin;
pub(crate) mod scripted;
pub(crate) mod setup;
