//! Questions changed before other plugins see them, and their replies changed back. See README.md for what its
//! directive may say.
//!
//! [`config`] reads rules into the form in which they run. A [`rule`] is a function of the question, where it
//! came from, and its metadata: it says what to ask instead, and what to do with the reply ([`reversal`]).
//! [`plugin`] runs the rules of a block; following a changed alias is all that it has to ask others for.

pub mod config;
mod edns;
mod plugin;
mod renaming;
mod reversal;
mod rule;
pub mod short;

pub use plugin::Rewrite;

#[cfg(test)]
mod tests;
