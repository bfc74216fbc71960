//! Finds forwarding loops and cuts them. See README.md for what its directive may say.

pub mod config;
pub mod plugin;

pub use plugin::{Fatal, Loop};

#[cfg(test)]
mod tests;
