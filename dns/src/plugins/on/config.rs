//! `on EVENT COMMAND [ARGUMENTS...] [&]`.

use super::words::words;
use crate::corefile::cause::Cause;
use crate::corefile::checker::Checker;
use crate::corefile::tree::Line;

/// The settings of all `on` lines of a block, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One for each line.
    pub hooks: Vec<Hook>,
}

/// A command and when to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub event: Event,
    /// Found as a shell would, in `PATH`; no shell is run.
    pub program: String,
    /// What it is given.
    pub arguments: Vec<String>,
    /// Whether nothing waits for its end.
    pub background: bool,
}

/// Something that happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A configuration is served, the first or after a reload.
    Startup,
    /// The process was told to stop.
    Shutdown,
    /// A certificate was renewed by ACME, which does not happen here.
    CertificateRenewal,
}

const EVENTS: [(&str, Event); 3] = [
    ("startup", Event::Startup),
    ("shutdown", Event::Shutdown),
    ("certrenew", Event::CertificateRenewal),
];

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    cx.no_block(line);
    let args = cx.args(line, 2..=usize::MAX, "an event and a command")?;
    let event = cx.choice_in_any_case(&args[0], "an event", &EVENTS);
    if event == Some(Event::CertificateRenewal) {
        cx.warn(args[0].span, "certificates are not renewed by ACME, so this is never run");
    }
    // As in CoreDNS the arguments are joined and then split as a shell splits them.
    let text: Vec<&str> = args[1..].iter().map(|token| &*token.text).collect();
    let mut words = match words(&text.join(" ")) {
        Ok(words) => words.into_iter(),
        Err(error) => {
            cx.mistake(args[1].span, Cause::Conflict(error));
            return None;
        }
    };
    let Some(program) = words.next() else {
        cx.not(&args[1], "a command");
        return None;
    };
    let mut arguments: Vec<String> = words.collect();
    let background = arguments.pop_if(|last| last == "&").is_some();
    Some(Config { hooks: vec![Hook { event: event?, program, arguments, background }] })
}
