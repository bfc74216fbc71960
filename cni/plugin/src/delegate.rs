//! The plugin that gives addresses where the configuration names one (`ipam.type`; specification,
//! section 4, "Delegation").

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use daymark_cni_spec::{CniError, MAX_CONFIGURATION, Verb, code};
use serde_json::Value;

/// A plugin to ask for addresses.
pub(crate) struct Delegate<'a> {
    program: PathBuf,
    stdin: &'a [u8],
}

impl<'a> Delegate<'a> {
    /// Looks for it in the folders of `CNI_PATH`; it will be given this configuration.
    ///
    /// # Errors
    /// Code 7 if it is in none of them.
    pub(crate) fn find(name: &str, path: &[PathBuf], stdin: &'a [u8]) -> Result<Self, CniError> {
        let program = path.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
        let program = program.ok_or_else(|| {
            CniError::new(code::CONFIGURATION, format!("ipam.type: no {name} in CNI_PATH"))
        })?;
        Ok(Delegate { program, stdin })
    }

    /// Calls it with our own variables but for the verb; gives what it printed.
    ///
    /// # Errors
    /// Its own error, or code 5 if it can't be run or prints neither result nor error.
    pub(crate) fn call(&self, verb: Verb) -> Result<Option<Value>, CniError> {
        let io = |error| {
            let message = format!("running {}", self.program.display());
            CniError::new(code::IO, message).because(error)
        };
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", verb.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io)?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its configuration says why, or succeeds without it.
            let _ = stdin.write_all(self.stdin);
        }
        let mut printed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_CONFIGURATION as u64).read_to_end(&mut printed).map_err(io)?;
        }
        let status = child.wait().map_err(io)?;
        let value: Option<Value> = serde_json::from_slice(&printed).ok();
        if status.success() {
            return Ok(value);
        }
        match value.map(serde_json::from_value) {
            Some(Ok(error)) => Err(error),
            _ => Err(io(std::io::Error::other(format!("it ended with {status}")))),
        }
    }
}
