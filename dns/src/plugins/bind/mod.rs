//! Chooses the addresses to listen on. See README.md for what its directive may say.

pub mod config;
