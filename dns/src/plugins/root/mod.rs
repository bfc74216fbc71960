//! The folder that paths of a server block begin in. See README.md.

pub mod config;
