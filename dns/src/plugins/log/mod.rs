//! The query log. See README.md for what its directive may say.

pub mod config;
pub mod format;
