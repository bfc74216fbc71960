//! Finds forwarding loops. See README.md for what its directive may say.

pub mod config;
