//! server
pub mod admission;
pub mod batch;
pub mod interfaces;
pub mod long;
pub mod routes;
pub mod short;
pub mod tcp;
pub mod udp;
