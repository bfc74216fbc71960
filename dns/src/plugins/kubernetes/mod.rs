//! Cluster names and addresses from Kubernetes. See README.md for what its directive may say.
//!
//! Questions are answered from [`crate::zone`]; [`wire`] writes what was found straight into a reply
//! (the short way), [`records`] turns it into message records (the long way).

pub mod config;
pub mod records;
pub mod selector;
pub mod wire;
