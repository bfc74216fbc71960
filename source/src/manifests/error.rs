//! What is wrong with a manifest, in the words a person needs.

use std::{io, path::PathBuf, sync::Arc};

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

/// One thing to correct in a manifest.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{file}:{line}:{column}: {what}")]
#[diagnostic(code(manifest::mistake))]
pub struct Mistake {
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    #[help]
    pub help: String,
    /// The whole file.
    #[source_code]
    pub source_code: NamedSource<Arc<str>>,
    /// Where in it, in bytes.
    #[label("here")]
    pub span: SourceSpan,
}

/// Everything to correct that one pass over one file or folder found; never empty.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{}", headline(.mistakes))]
#[diagnostic(code(manifest::invalid))]
pub struct ManifestErrors {
    /// By file and place.
    #[related]
    pub mistakes: Vec<Mistake>,
}

/// A manifest folder cannot be used at all.
#[derive(Debug, Error, Diagnostic)]
pub enum ManifestError {
    /// The folder or file cannot be read.
    #[error("cannot read the manifests in `{}`: {source}", path.display())]
    #[diagnostic(
        code(manifest::unreadable),
        help(
            "name an existing folder, or a file, of Kubernetes manifests that this user may read"
        )
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its files have mistakes, and there is no earlier state to go on with.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] ManifestErrors),
    /// The thread that watches could not be started.
    #[error("cannot start watching `{}`: {source}", path.display())]
    #[diagnostic(code(manifest::unwatchable), help("raise the limit on threads of this process"))]
    Thread {
        /// What was to be watched.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ManifestErrors {
    /// The whole report as plain text without colours, many lines: for a log.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let theme = miette::GraphicalTheme::unicode_nocolor();
        let handler = miette::GraphicalReportHandler::new_themed(theme).with_links(false);
        match handler.render_report(&mut text, self) {
            Ok(()) => text,
            // A label that the renderer cannot place must not hide the mistake.
            Err(_) => self.mistakes.iter().map(|m| format!("{m}\n  help: {}\n", m.help)).collect(),
        }
    }
}

fn headline(mistakes: &[Mistake]) -> String {
    match mistakes {
        [one] => format!("1 mistake in manifest {}", one.file),
        many => {
            let mut files: Vec<&str> = many.iter().map(|m| m.file.as_str()).collect();
            files.dedup();
            format!("{} mistakes in manifests: {}", many.len(), files.join(", "))
        }
    }
}
