//! Tells a client its own address. See README.md for what its directive may say.

pub mod config;
