//! Rotates the order of answers. See README.md for what its directive may say.

pub mod config;
