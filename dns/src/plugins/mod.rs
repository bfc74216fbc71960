//! plugins
pub mod kubernetes;
