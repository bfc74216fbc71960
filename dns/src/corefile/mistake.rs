//! What can be wrong with a Corefile, and how it is told: each [`Mistake`] with its place, its cause and, where
//! there is one, a remedy; all [`Mistakes`] of a file at once.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

use super::cause::Cause;
use super::source::{Files, Span};

/// Most mistakes that are reported of one configuration; what follows is likely caused by these.
pub const MAX_MISTAKES: usize = 50;

/// A mistake before it is tied to the text that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    pub(crate) span: Span,
    pub(crate) help: Option<String>,
    /// Another place that matters, with what it says there.
    pub(crate) beside: Option<(Span, &'static str)>,
    /// A warning does not stop the configuration from being used.
    pub(crate) warning: bool,
}

impl Finding {
    pub(crate) fn new(span: Span, cause: Cause) -> Self {
        let help = cause.help();
        Self { cause, span, help, beside: None, warning: false }
    }

    pub(crate) fn warning(span: Span, cause: Cause) -> Self {
        Self { warning: true, ..Self::new(span, cause) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn beside(mut self, span: Span, label: &'static str) -> Self {
        self.beside = Some((span, label));
        self
    }
}

/// What was found so far: some [`MAX_FINDINGS`], so that a file of nothing but mistakes costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    dropped: usize,
}

/// Enough that sorting them by place shows the first [`MAX_MISTAKES`] of any real file.
const MAX_FINDINGS: usize = 1_000;

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else if !finding.warning {
            self.dropped += 1;
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.list.extend(other.list);
        self.dropped += other.dropped;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Up to [`MAX_MISTAKES`] warnings if there is nothing else, else the mistakes.
    pub(crate) fn verdict(self, files: &Files) -> Result<Vec<Mistake>, Mistakes> {
        let (warnings, mistakes): (Vec<_>, Vec<_>) =
            self.list.into_iter().partition(|finding| finding.warning);
        if mistakes.is_empty() && self.dropped == 0 {
            return Ok(warnings
                .into_iter()
                .take(MAX_MISTAKES)
                .map(|finding| Mistake::new(finding, files))
                .collect());
        }
        Err(Mistakes::of(mistakes, self.dropped, files))
    }
}

/// One mistake, or one warning, with the text that it is in.
#[derive(Debug, Clone)]
pub struct Mistake {
    cause: Cause,
    help: Option<String>,
    warning: bool,
    labels: Vec<LabeledSpan>,
    source: NamedSource<Arc<str>>,
    line: usize,
    column: usize,
}

impl Mistake {
    pub(crate) fn new(finding: Finding, files: &Files) -> Self {
        let file = files.get(finding.span.file);
        let (line, column) = files.position(finding.span);
        let mut help = finding.help;
        let mut labels = vec![label(finding.cause.label(), finding.span, true)];
        match finding.beside {
            Some((span, text)) if span.file == finding.span.file => {
                labels.push(label(text, span, false));
            }
            Some((span, text)) => {
                let note = format!("{text}: {}", files.place(span));
                help = Some(help.map_or_else(|| note.clone(), |help| format!("{help}\n{note}")));
            }
            None => {}
        }
        let source = NamedSource::new(&file.name, file.text.clone());
        Self { cause: finding.cause, help, warning: finding.warning, labels, source, line, column }
    }

    /// What is wrong.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The remedy, if there is one to name.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The file's name, the line and the column, both from 1.
    pub fn place(&self) -> (&str, usize, usize) {
        (self.source.name(), self.line, self.column)
    }
}

/// One line: place, cause, remedy. For logs; people get miette's report.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)
    }
}

impl std::error::Error for Mistake {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.cause.code()))
    }

    fn severity(&self) -> Option<Severity> {
        Some(if self.warning { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// Everything wrong with one configuration: at least one mistake, at most [`MAX_MISTAKES`].
#[derive(Debug, Clone)]
pub struct Mistakes {
    name: Arc<str>,
    list: Vec<Mistake>,
    unreported: usize,
}

impl Mistakes {
    /// Ties findings to their texts, in the order of the text.
    fn of(mut findings: Vec<Finding>, dropped: usize, files: &Files) -> Self {
        findings.sort_by_key(|finding| finding.span);
        findings.dedup_by(|a, b| a.span == b.span && a.cause == b.cause);
        let unreported = dropped + findings.len().saturating_sub(MAX_MISTAKES);
        findings.truncate(MAX_MISTAKES);
        let name =
            files.iter().next().map_or_else(|| "Corefile".into(), |(_, file)| file.name.clone());
        let list = findings.into_iter().map(|finding| Mistake::new(finding, files)).collect();
        Self { name, list, unreported }
    }

    /// The mistakes, in the order of the files and of their text.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.len() + self.unreported {
            1 => write!(f, "{} has a mistake", self.name),
            n => write!(f, "{} has {n} mistakes", self.name),
        }?;
        for mistake in &self.list {
            let (name, line, column) = mistake.place();
            write!(f, "\n{name}:{line}:{column}: {mistake}")?;
            if let Some(help) = mistake.remedy() {
                write!(f, " ({})", help.replace('\n', "; "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A summary above one report for each mistake.
#[derive(Debug)]
pub struct Report(Mistakes);

impl From<Mistakes> for Report {
    fn from(mistakes: Mistakes) -> Self {
        Self(mistakes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistakes { name, list, unreported } = &self.0;
        match list.len() {
            1 => write!(f, "{name} cannot be used"),
            n if *unreported == 0 => write!(f, "{name} cannot be used: {n} mistakes"),
            n => write!(f, "{name} cannot be used: {n} mistakes, and {unreported} more"),
        }
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.list.iter().map(|mistake| mistake as &dyn Diagnostic)))
    }
}

fn label(text: &str, span: Span, primary: bool) -> LabeledSpan {
    let range = (span.start as usize, (span.end - span.start) as usize);
    let text = Some(text.to_owned()).filter(|text| !text.is_empty());
    if primary {
        LabeledSpan::new_primary_with_span(text, range)
    } else {
        LabeledSpan::new_with_span(text, range)
    }
}
