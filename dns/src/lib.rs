//! dns

pub mod corefile;
pub mod plugins;
