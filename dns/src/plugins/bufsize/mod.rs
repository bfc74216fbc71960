//! Bounds UDP replies below what clients say they can take. See README.md.
//!
//! There is nothing in the chain: [`Block`](crate::server::routes::Block) lowers the size in the
//! query itself, before either way reads it.

pub mod config;
