//! From a Corefile's text to typed, checked configuration.
//!
//! [`load`] does it all: reads the file and what it imports, builds the [`tree`], checks every plugin's
//! directives, and returns either the servers to run or every mistake at once. [`parse`] and [`check`] are its
//! two halves. Nothing here opens a socket, resolves a name or keeps anything running.
//!
//! The grammar is that of coredns/caddy 1.1.4. Where CoreDNS accepts what cannot be meant, this refuses it.

pub mod address;
pub mod cause;
pub mod check;
pub mod checker;
pub mod domain;
mod lexer;
pub mod mistake;
mod parser;
pub mod pattern;
pub mod source;
mod stream;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod values;
mod variables;

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha512};

use self::cause::Cause;
use self::check::{Checked, Environment};
use self::mistake::{Finding, Findings, Mistakes};
use self::source::{FileId, Files, MAX_TEXT, Reader, Span};
use self::tree::Corefile;

/// Reads and checks the Corefile at `path`.
///
/// # Errors
/// All mistakes in it, or that it cannot be read.
pub fn load(path: &Path, environment: &Environment<'_>) -> Result<Checked, Mistakes> {
    let name = path.to_string_lossy();
    let problem = match environment.reader.read(path) {
        Ok(bytes) if bytes.len() <= MAX_TEXT => {
            return load_text(&name, String::from_utf8_lossy(&bytes).into_owned(), environment);
        }
        Ok(_) => Cause::TooLarge { what: "bytes", most: MAX_TEXT },
        Err(error) => Cause::Unreadable { path: name.to_string(), error: error.to_string() },
    };
    let mut files = Files::default();
    let file = files.add(&name, String::new());
    let mut findings = Findings::default();
    findings.push(Finding::new(Span { file, start: 0, end: 0 }, problem));
    Err(findings.verdict(&files).expect_err("there is one mistake"))
}

/// Checks `text` as if it were the Corefile called `name`.
///
/// # Errors
/// All mistakes in it.
pub fn load_text(
    name: &str,
    text: String,
    environment: &Environment<'_>,
) -> Result<Checked, Mistakes> {
    let (corefile, mut findings) = parse_all(name, text, environment.reader);
    let (servers, more) = check::servers(&corefile, environment);
    findings.append(more);
    let warnings = findings.verdict(&corefile.files)?;
    Ok(Checked { servers, warnings, digest: corefile.digest, files: corefile.files })
}

/// Reads `text` as the Corefile called `name`, with its imports, without looking at plugins.
///
/// # Errors
/// All mistakes in its grammar.
pub fn parse(name: &str, text: String, reader: &dyn Reader) -> Result<Corefile, Mistakes> {
    let (mut corefile, findings) = parse_all(name, text, reader);
    corefile.warnings = findings.verdict(&corefile.files)?;
    Ok(corefile)
}

/// Checks every directive of a Corefile.
///
/// # Errors
/// All mistakes in its plugins' settings and between its blocks.
pub fn check(corefile: &Corefile, environment: &Environment<'_>) -> Result<Checked, Mistakes> {
    let (servers, findings) = check::servers(corefile, environment);
    let mut warnings = corefile.warnings.clone();
    warnings.extend(findings.verdict(&corefile.files)?);
    Ok(Checked {
        servers,
        warnings,
        digest: corefile.digest.clone(),
        files: corefile.files.clone(),
    })
}

/// What can be read of `text`, and what is wrong with it.
fn parse_all(name: &str, text: String, reader: &dyn Reader) -> (Corefile, Findings) {
    let (blocks, stream) = parser::parse(name, text, reader);
    let mut findings = stream.findings;
    if blocks.is_empty() && findings.is_empty() {
        findings.push(Finding::new(Span { file: FileId(0), start: 0, end: 0 }, Cause::Empty));
    }
    let digest = digest(&stream.files);
    (Corefile { blocks, files: stream.files, digest, warnings: Vec::new() }, findings)
}

/// SHA-512 over every file's length and text, in lower-case hex.
fn digest(files: &Files) -> String {
    let mut hash = Sha512::new();
    for (_, file) in files.iter() {
        hash.update((file.text.len() as u64).to_be_bytes());
        hash.update(file.text.as_bytes());
    }
    hash.finalize().iter().fold(String::with_capacity(128), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}

/// The one of `known` that `found` is most likely a misspelling of.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (found.chars().count() / 3).clamp(1, 3);
    let distance =
        |known: &str| strsim::damerau_levenshtein(&found.to_lowercase(), &known.to_lowercase());
    // A long text is no misspelling of a short word, and comparing costs the product of their lengths.
    let candidates = known.into_iter().filter(|known| found.len().abs_diff(known.len()) <= most);
    candidates
        .map(|known| (distance(known), known))
        .filter(|(far, _)| *far <= most)
        .min()
        .map(|(_, known)| known)
}
