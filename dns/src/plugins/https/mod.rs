//! `https`: bounds of https:// listeners.

pub mod config;
