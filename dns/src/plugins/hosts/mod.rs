//! Names from a hosts file or the Corefile. See README.md for what its directive may say.

pub mod config;
pub mod entries;
pub mod file;
pub mod plugin;
mod short;

pub use plugin::Hosts;
