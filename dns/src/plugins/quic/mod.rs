//! `quic`: bounds of quic:// listeners.

pub mod config;
