//! `daymark-cni`: what a container runtime executes for every pod that starts and ends.
//!
//! It checks what it was given, asks the agent, and prints the answer. It is small and starts fast,
//! for it is in the way of each pod; it knows nothing of addresses, links or routes. On stdout is the
//! result or the error and nothing else.
#![forbid(unsafe_code)]

mod agent;
mod delegate;

use std::{
    fs::File,
    io::{self, Read, Write},
    process::ExitCode,
};

use daymark_cni_spec::{
    CniError, Configuration, Environment, MAX_CONFIGURATION, Verb, Version, code, configuration,
    deletions::{Deletion, Deletions},
    protocol::Request,
    supported_versions,
};
use serde_json::Value;

use self::delegate::Delegate;

fn main() -> ExitCode {
    let mut stdin = Vec::new();
    let outcome = read_stdin(&mut stdin).and_then(|()| run(&stdin));
    let (printed, status) = match outcome {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(error) => {
            let asked = configuration::version_of(&stdin).and_then(|v| Version::parse(&v).ok());
            (Some(error.to_json(asked.unwrap_or(Version::NEWEST))), ExitCode::FAILURE)
        }
    };
    match printed.map(|value| writeln!(io::stdout().lock(), "{value}")) {
        Some(Err(_)) => ExitCode::FAILURE,
        _ => status,
    }
}

/// One octet more than is allowed shows that there is more.
fn read_stdin(stdin: &mut Vec<u8>) -> Result<(), CniError> {
    let bound = MAX_CONFIGURATION as u64 + 1;
    let read = io::stdin().lock().take(bound).read_to_end(stdin);
    read.map(drop).map_err(|error| CniError::new(code::IO, "reading stdin").because(error))
}

/// Does what the variables and stdin say; gives what is to be printed.
fn run(stdin: &[u8]) -> Result<Option<Value>, CniError> {
    let environment = Environment::read(|name| std::env::var_os(name))?;
    if environment.verb == Verb::Version {
        return Ok(Some(supported_versions(configuration::version_of(stdin).as_deref())));
    }
    let configuration = Configuration::parse(stdin)?;
    configuration.allows(environment.verb)?;
    let delegate = match &configuration.delegate {
        Some(plugin) => Some(Delegate::find(plugin, &environment.path, stdin)?),
        None => None,
    };
    let call = Call { stdin, environment: &environment, configuration: &configuration, delegate };
    match environment.verb {
        Verb::Add => call.add().map(Some),
        Verb::Del => call.del(),
        Verb::Gc => call.gc(),
        Verb::Check | Verb::Status | Verb::Version => call.look(),
    }
}

/// All that a call is about.
struct Call<'a> {
    stdin: &'a [u8],
    environment: &'a Environment,
    configuration: &'a Configuration,
    delegate: Option<Delegate<'a>>,
}

impl Call<'_> {
    /// Addresses first, if another plugin gives them; it takes them back if the agent fails.
    fn add(&self) -> Result<Value, CniError> {
        let netns = self.netns()?;
        // Later in a chain the addresses are there already.
        let delegate = self.delegate.as_ref().filter(|_| self.configuration.previous.is_none());
        let ipam = delegate.map(|delegate| delegate.call(Verb::Add)).transpose()?.flatten();
        let asked = self.ask(ipam, netns.as_ref()).and_then(|result| {
            result.ok_or_else(|| CniError::new(code::TRY_AGAIN, "the agent gave no result"))
        });
        if asked.is_err()
            && let Some(delegate) = delegate
        {
            // The error that is told is the one that came first.
            let _ = delegate.call(Verb::Del);
        }
        asked
    }

    /// Succeeds without the agent: it finds the deletion in its folder when it is back.
    fn del(&self) -> Result<Option<Value>, CniError> {
        match self.ask(None, None) {
            Err(error) if error.code == code::TRY_AGAIN => self.note_deletion(error)?,
            outcome => drop(outcome?),
        }
        self.forward()?;
        Ok(None)
    }

    fn note_deletion(&self, away: CniError) -> Result<(), CniError> {
        let Some(attachment) = self.environment.attachment.clone() else { return Err(away) };
        let deletion = Deletion { attachment, network: self.configuration.name.clone() };
        Deletions::beside(&self.configuration.socket).note(&deletion).map_err(|error| {
            let message = format!("{}; nor can the deletion be noted", away.message);
            CniError::new(code::TRY_AGAIN, message).because(error)
        })
    }

    /// Both are asked, whether or not the first fails.
    fn gc(&self) -> Result<Option<Value>, CniError> {
        match (self.ask(None, None), self.forward()) {
            (Err(mut one), Err(other)) => {
                one.details = format!("{}; {}: {other}", one.details, self.delegate_name());
                Err(one)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
            _ => Ok(None),
        }
    }

    /// CHECK and STATUS: the one who gives addresses, then the agent.
    fn look(&self) -> Result<Option<Value>, CniError> {
        self.forward()?;
        let netns = match self.environment.verb {
            Verb::Check => self.netns()?,
            _ => None,
        };
        match (self.ask(None, netns.as_ref()), self.environment.verb) {
            // Without an agent pods go on as they are, and no new one can start.
            (Err(error), Verb::Status) if error.code == code::TRY_AGAIN => {
                Err(CniError { code: code::NOT_AVAILABLE, ..error })
            }
            (outcome, _) => outcome.map(|_| None),
        }
    }

    fn forward(&self) -> Result<(), CniError> {
        match &self.delegate {
            Some(delegate) => delegate.call(self.environment.verb).map(drop),
            None => Ok(()),
        }
    }

    fn delegate_name(&self) -> &str {
        self.configuration.delegate.as_deref().unwrap_or_default()
    }

    fn netns(&self) -> Result<Option<File>, CniError> {
        let Some(path) = &self.environment.netns else { return Ok(None) };
        let opened = File::open(path).map_err(|error| {
            let message = format!("the network namespace {} can't be opened", path.display());
            CniError::new(code::NAMESPACE, message).because(error)
        });
        opened.map(Some)
    }

    fn ask(&self, ipam: Option<Value>, netns: Option<&File>) -> Result<Option<Value>, CniError> {
        let netns_path = self.environment.netns.as_deref().unwrap_or_else(|| "".as_ref());
        let request = Request {
            verb: self.environment.verb,
            attachment: self.environment.attachment.clone(),
            netns: netns_path.display().to_string(),
            arguments: self.environment.arguments.clone(),
            configuration: serde_json::from_slice(self.stdin)?,
            ipam,
        };
        agent::ask(&self.configuration.socket, &request, netns)
    }
}
