//! `https3`: bounds of https3:// listeners.

pub mod config;
