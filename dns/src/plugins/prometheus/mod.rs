//! The metrics endpoint. See README.md for what its directive may say.

pub mod config;
pub mod web;
