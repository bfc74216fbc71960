//! Errors as runtimes read them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Version;

/// Numbers of errors: below 100 the specification's ("Error"), from 100 on our own.
pub mod code {
    /// The configuration's version is not spoken.
    pub const VERSION: u32 = 1;
    /// A field has a value that we can't serve.
    pub const UNSUPPORTED: u32 = 2;
    /// The container is not known (any more); the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable is missing or malformed.
    pub const ENVIRONMENT: u32 = 4;
    /// Input or output failed.
    pub const IO: u32 = 5;
    /// What was read is not JSON.
    pub const DECODE: u32 = 6;
    /// The configuration says something that makes no sense.
    pub const CONFIGURATION: u32 = 7;
    /// The network namespace can't be used (the reference library's number).
    pub const NAMESPACE: u32 = 8;
    /// Not now; trying again may help.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: no ADD can succeed.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: no ADD can succeed, and pods that are there may be cut off.
    pub const LIMITED: u32 = 51;
    /// The attachment is there already.
    pub const ATTACHED: u32 = 100;
    /// No address is left.
    pub const EXHAUSTED: u32 = 101;
    /// A requested address can't be had.
    pub const ADDRESS: u32 = 102;
    /// CHECK found that something of ours is gone.
    pub const CHECK: u32 = 103;
    /// The kernel refused to wire the pod.
    pub const WIRING: u32 = 104;
    /// A port of the node is taken.
    pub const HOST_PORT: u32 = 105;
}

/// An error with its number (specification, "Error").
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CniError {
    /// One of [`code`].
    pub code: u32,
    /// One line.
    #[serde(rename = "msg")]
    pub message: String,
    /// More of it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        CniError { code, message: message.into(), details: String::new() }
    }

    /// The same with its cause as details.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.details = cause.to_string();
        self
    }

    /// As it is printed on stdout.
    pub fn to_json(&self, version: Version) -> Value {
        json!({
            "cniVersion": version.as_str(),
            "code": self.code,
            "msg": self.message,
            "details": self.details,
        })
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for CniError {}

impl From<serde_json::Error> for CniError {
    /// Code 6 for what is not JSON, 7 for JSON of another shape than the specification's.
    fn from(error: serde_json::Error) -> Self {
        match error.is_data() {
            true => CniError::new(code::CONFIGURATION, "the configuration is malformed"),
            false => CniError::new(code::DECODE, "the configuration is not JSON"),
        }
        .because(error)
    }
}
