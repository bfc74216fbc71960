//! `tls CERT KEY [CA]`, or `tls` with `acme` in its block.

use std::path::PathBuf;

use super::{
    acme::{self, config::Acme},
    material::{self, Part},
};
use crate::corefile::{
    cause::Cause,
    checker::Checker,
    tree::{Line, Token},
};

const PROPERTIES: &[&str] = &["client_auth", "keylog"];

/// The settings of `tls`: where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// From files.
    Files(Files),
    /// From an authority.
    Acme(Acme),
}

/// A certificate in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, with what leads to an authority behind it; PEM.
    pub certificate: PathBuf,
    /// Its key; PEM.
    pub key: PathBuf,
    /// Authorities of clients; the machine's if `None`.
    pub ca: Option<PathBuf>,
    /// Which certificate clients have to show.
    pub client_auth: ClientAuth,
    /// Where the secrets of sessions are written, for debugging.
    pub keylog: Option<PathBuf>,
}

/// Which certificate clients have to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    NoCert,
    /// Asked for; none, or any, is fine.
    Request,
    /// Any, whoever issued it.
    Require,
    /// None, or one that an authority issued.
    VerifyIfGiven,
    /// One that an authority issued.
    RequireAndVerify,
}

const CLIENT_AUTH: &[(&str, ClientAuth)] = &[
    ("nocert", ClientAuth::NoCert),
    ("request", ClientAuth::Request),
    ("require", ClientAuth::Require),
    ("verify_if_given", ClientAuth::VerifyIfGiven),
    ("require_and_verify", ClientAuth::RequireAndVerify),
];

/// Reads the directive, and the files that it names.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let has_acme = line.lines().iter().any(|line| &*line.name().text == "acme");
    if has_acme && line.args().is_empty() {
        return acme::config::parse(line, cx).map(Config::Acme);
    }
    let args = cx.args(line, 2..=3, "a certificate, its key and perhaps authorities")?;
    let mut config = Files {
        certificate: cx.path(&args[0]),
        key: cx.path(&args[1]),
        ca: args.get(2).map(|token| cx.path(token)),
        client_auth: ClientAuth::NoCert,
        keylog: None,
    };
    for property in cx.properties(line) {
        match &*property.name().text {
            "client_auth" => {
                let Some(kind) = cx.one(property, "one kind of authentication") else { continue };
                config.client_auth = cx
                    .choice(kind, "one of the kinds of authentication", CLIENT_AUTH)
                    .unwrap_or_default();
            }
            "keylog" => {
                config.keylog = cx.one(property, "one file").map(|token| cx.path(token));
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    check(&config, args, cx).then_some(Config::Files(config))
}

/// Whether the files of `config` can be used; `args` are where they stand. Notes the first that can't.
pub(crate) fn check(config: &Files, args: &[Token], cx: &mut Checker<'_>) -> bool {
    let Err(error) = material::load(config, |path| cx.file(path)) else { return true };
    let token = match error.part {
        Part::Certificate => &args[0],
        Part::Key => &args[1],
        Part::Authorities => args.get(2).unwrap_or(&args[0]),
    };
    let cause =
        Cause::Value { found: token.text.to_string(), want: error.part.wanted().to_owned() };
    cx.mistake_with(token.span, cause, error.to_string());
    false
}
