//! The contract between user space and the eBPF programs: keys, values, events, drop reasons, limits.
//!
//! Every type is `repr(C)` without implicit padding, byte order stands in the types, and there is no
//! `bool`, `enum`, `Option` or `usize`: what one side writes the other reads, whatever compiled it.
#![no_std]
#![forbid(unsafe_code)]

pub mod drop_reason;

pub use drop_reason::DropReason;
