//! Zones that this server is an authority for: read from master files or transferred, kept in one immutable
//! piece, and answered by the rules of RFC 1034 §4.3.2.
//!
//! The plugins `file`, `auto` and `secondary` differ only in where their zones come from. Cluster zones are the
//! business of [`crate::zone`].

pub mod answer;
pub mod build;
pub mod catalog;
pub mod data;
pub mod generate;
pub mod held;
pub mod incoming;
pub mod lookup;
pub mod master;
pub mod watched;

pub use build::{Builder, ZoneError};
pub use data::ZoneData;
