//! Answers made of the question by rules. See README.md for what its directive may say.
//!
//! [`plugin`] runs the rules of a block, [`short`] those that deny on the short way, [`rule`] says whether a query is for one and what it found, [`text`] is the
//! language of the records.

pub mod config;
mod counts;
mod plugin;
mod rule;
pub mod short;
pub mod text;

pub use plugin::Template;
