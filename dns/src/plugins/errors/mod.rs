//! Logs what goes wrong with a query. See README.md for what its directive may say.

pub mod config;
