//! The contract between user space and the eBPF programs: keys, values, events, drop reasons, limits.
//!
//! Every type is `repr(C)` without implicit padding, byte order stands in the types, and there is no
//! `bool`, `enum`, `Option` or `usize`: what one side writes the other reads, whatever compiled it.
//! Addresses are 16 octets in network order, IPv4 mapped into IPv6, so that one table serves both.
//!
//! [`table::ALL`] lists the tables; [`HASH`] stands for all of it and names the folder of the pins.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod layout;

pub mod address;
pub mod counter;
pub mod drop_reason;
pub mod endpoint;
pub mod event;
pub mod flow;
pub mod host_port;
pub mod settings;
pub mod table;

pub use address::{Address, Be16, Prefix};
pub use drop_reason::DropReason;
pub use layout::Shared;
pub use table::HASH;
