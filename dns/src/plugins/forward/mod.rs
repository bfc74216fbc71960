//! Asks upstream servers. See README.md for what its directive may say.

pub mod config;
mod rcode;
pub mod upstream;
