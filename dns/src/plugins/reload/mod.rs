//! Takes up a changed Corefile. See README.md for what its directive may say.

pub mod config;
