//! Labels of a query for other plugins. See README.md for what its directive may say.

pub mod config;
