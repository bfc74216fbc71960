//! The response cache. See README.md for what its directive may say.
//!
//! [`plugin`] is the long way, [`short`] the short one; both find an [`entry`] in the [`store`] by
//! its [`key`] and write it with the same code. What is kept, and for how long, is [`lifetime`]'s;
//! [`fetch`] asks upstream, once for all who want the same. It never keeps what this server made
//! itself: a change in the cluster shows in the next answer.

pub mod config;
pub mod counts;
pub mod entry;
pub mod fetch;
pub mod key;
pub mod lifetime;
pub mod moment;
pub mod plugin;
pub mod short;
pub mod store;

pub use plugin::Cache;

#[cfg(test)]
mod tests;
