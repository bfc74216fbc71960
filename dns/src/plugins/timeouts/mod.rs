//! `timeouts`: how long connections may take and stay. [`crate::server::stream`] and the listeners of
//! HTTPS and QUIC obey.

pub mod config;
