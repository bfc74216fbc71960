//! kubernetes
pub mod records;
pub mod wire;
