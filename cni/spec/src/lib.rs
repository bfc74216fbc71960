//! The Container Network Interface (CNI specification, versions 0.3.1 to 1.1.0) as data: what a
//! runtime hands to a plugin, what it wants back, and what our plugin says to the agent.
//!
//! Everything here is parsed from bytes that others wrote: none of it panics, and all of it has a
//! bound. Nothing here touches a network; the only files are those of [`deletions`].
#![forbid(unsafe_code)]

pub mod arguments;
pub mod configuration;
pub mod deletions;
pub mod environment;
mod error;
pub mod protocol;
pub mod result;
mod version;

pub use self::{
    arguments::Arguments,
    configuration::{Configuration, ConfigurationList},
    environment::{AttachmentId, Environment, Verb},
    error::{CniError, code},
    result::AddResult,
    version::{Version, supported_versions},
};

/// Most octets of a configuration that are read: kubelet's are a few KiB, and a list of valid
/// attachments of a node at its limit of pods is some 100 KiB.
pub const MAX_CONFIGURATION: usize = 1 << 20;
