//! Versions of the specification.

use std::fmt;

use serde_json::{Value, json};

use crate::{CniError, code};

/// A version that we speak. Newer ones compare greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// 0.3.1: ADD and DEL.
    V0_3_1,
    /// 0.4.0: with CHECK.
    V0_4_0,
    /// 1.0.0: addresses without a family.
    V1_0_0,
    /// 1.1.0: with GC and STATUS.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 4] =
        [Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];
    /// The one to use where nobody asked for another.
    pub const NEWEST: Version = Version::V1_1_0;

    /// As configurations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Reads `cniVersion`.
    ///
    /// # Errors
    /// Code 1 for a version that we don't speak.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let spoken = Self::ALL.map(Version::as_str).join(", ");
            let message = format!("cniVersion {text:?} is not spoken here");
            CniError::new(code::VERSION, message).because(format!("spoken are {spoken}"))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What VERSION answers; `asked` is the configuration's `cniVersion`, which is given back.
pub fn supported_versions(asked: Option<&str>) -> Value {
    let newest = Version::NEWEST.as_str();
    json!({
        "cniVersion": asked.unwrap_or(newest),
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_as_it_is_written() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Ok(version));
        }
        let refused = Version::parse("9.9.9").expect_err("no such version");
        assert_eq!(refused.code, code::VERSION);
        assert!(refused.details.contains("1.1.0"), "{refused:?}");
    }
}
