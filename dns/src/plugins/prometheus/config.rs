//! `prometheus [ADDRESS]`.

use std::path::{Path, PathBuf};

use super::web::{self, Web};
use crate::{
    corefile::{
        cause::Cause,
        checker::Checker,
        tree::{Line, Token},
        values::{Host, HostPort},
    },
    plugins::tls::material,
};

/// The port without an address in the directive; the host is `localhost` then.
pub const DEFAULT_PORT: u16 = 9153;

const PROPERTIES: &[&str] = &["runtime_metrics", "tls"];

/// The settings of `prometheus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where `/metrics` is served.
    pub address: HostPort,
    /// Whether metrics of the runtime were asked for.
    pub runtime_metrics: bool,
    /// What the file of `tls` says.
    pub web: Web,
}

/// Reads the directive.
pub fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Config> {
    let address = HostPort { host: Host::Name("localhost".into()), port: DEFAULT_PORT };
    let mut config = Config { address, runtime_metrics: false, web: Web::default() };
    if let Some([token]) = cx.args(line, 0..=1, "at most one argument, the address") {
        config.address = cx.host_port(token)?;
    }
    let mut read = false;
    for property in cx.properties(line) {
        match &*property.name().text {
            "runtime_metrics" => config.runtime_metrics |= cx.none(property),
            "tls" => {
                let Some(token) = cx.one(property, "one argument, a file") else { continue };
                if std::mem::replace(&mut read, true) {
                    let cause = Cause::Conflict("`tls` was given already");
                    cx.mistake_with(property.span(), cause, "one file says it all");
                    continue;
                }
                config.web = web_config(token, cx)?;
            }
            _ => cx.unknown(property, PROPERTIES),
        }
    }
    Some(config)
}

/// Reads the file that `token` names, and those that it names.
fn web_config(token: &Token, cx: &mut Checker<'_>) -> Option<Web> {
    let path = PathBuf::from(&*token.text);
    let folder = path.parent().unwrap_or(Path::new(""));
    let bytes = cx.file(&path).map_err(|error| error.to_string());
    let web = bytes.and_then(|bytes| web::parse(&bytes, folder)).and_then(|web| {
        if let Some(certificate) = &web.certificate {
            material::load(certificate, |path| cx.file(path)).map_err(|error| error.to_string())?;
        }
        Ok(web)
    });
    web.inspect_err(|error| {
        let want = "a web configuration file that can be used".to_owned();
        let cause = Cause::Value { found: token.text.to_string(), want };
        cx.mistake_with(token.span, cause, error.clone());
    })
    .ok()
}
