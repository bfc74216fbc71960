//! `tls { acme DOMAINS... }`.

use std::{net::SocketAddr, path::PathBuf};

use http::Uri;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::corefile::{
    cause::Cause,
    checker::Checker,
    domain::Domain,
    tree::{Line, Token},
};

/// Let's Encrypt's directory, as in CoreDNS.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where certificates are kept, below the block's `root`.
const STORAGE: &str = ".coredns/acme";
const PROPERTIES: &[&str] = &["acme", "email", "ca", "storage", "ca_root", "resolver"];

/// The settings of certificates that are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// What certificates are for, in lower case without the last dot, perhaps with `*.` in front; at
    /// least one. The first is shown to clients that name none.
    pub domains: Vec<Box<str>>,
    /// The account's address.
    pub email: Option<Box<str>>,
    /// URL of the authority's directory.
    pub directory: Box<str>,
    /// The folder where accounts, certificates and keys are kept.
    pub storage: PathBuf,
    /// Authorities that may have issued the directory's certificate, beside the machine's.
    pub ca_root: Option<PathBuf>,
    /// Who is asked where the directory is; the machine's resolver if `None`.
    pub resolver: Option<SocketAddr>,
}

/// Reads the directive's block.
pub(crate) fn parse(line: &Line, cx: &mut Checker<'_>) -> Option<Acme> {
    let mut config = Acme {
        domains: Vec::new(),
        email: None,
        directory: DIRECTORY.into(),
        storage: cx.below_root(STORAGE),
        ca_root: None,
        resolver: None,
    };
    let properties = cx.properties(line);
    for (index, property) in properties.iter().enumerate() {
        let name = &*property.name().text;
        let first = properties[..index].iter().find(|other| &*other.name().text == name);
        if first.is_some() && PROPERTIES.contains(&name) {
            let cause = Cause::Once { name: name.to_owned(), place: "`tls`" };
            cx.mistake(property.name().span, cause);
            continue;
        }
        set(&mut config, property, cx);
    }
    (!config.domains.is_empty()).then_some(config)
}

fn set(config: &mut Acme, line: &Line, cx: &mut Checker<'_>) {
    match &*line.name().text {
        "acme" => {
            for token in cx.some(line, "one or more domains").unwrap_or_default() {
                if let Some(domain) = certified(token, cx)
                    && !config.domains.contains(&domain)
                {
                    config.domains.push(domain);
                }
            }
        }
        "email" => config.email = cx.one(line, "one address").map(|token| (&*token.text).into()),
        "ca" => {
            let Some(token) = cx.one(line, "one URL") else { return };
            let uri = token.text.parse::<Uri>().ok().filter(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
            });
            match uri {
                Some(_) => config.directory = (&*token.text).into(),
                None => cx.not(token, "the URL of an authority's directory: https://…"),
            }
        }
        "storage" => {
            let folder = cx.one(line, "one folder").map(|token| cx.path(token));
            config.storage = folder.unwrap_or_else(|| config.storage.clone());
        }
        "ca_root" => {
            let Some(token) = cx.one(line, "one file") else { return };
            let path = cx.path(token);
            let good = cx.file(&path).is_ok_and(|bytes| {
                let mut found = CertificateDer::pem_slice_iter(&bytes).peekable();
                found.peek().is_some() && found.all(|one| one.is_ok())
            });
            match good {
                true => config.ca_root = Some(path),
                false => cx.not(token, "a file with certificates of authorities"),
            }
        }
        "resolver" => {
            let Some(token) = cx.one(line, "one address with a port") else { return };
            config.resolver = token.text.parse().ok().filter(|at: &SocketAddr| at.port() != 0);
            if config.resolver.is_none() {
                cx.not(token, "an IP address with a port");
            }
        }
        _ => cx.unknown(line, PROPERTIES),
    }
}

/// A domain that a certificate can be for.
fn certified(token: &Token, cx: &mut Checker<'_>) -> Option<Box<str>> {
    let text = token.text.strip_suffix('.').unwrap_or(&token.text).to_ascii_lowercase();
    let base = text.strip_prefix("*.").unwrap_or(&text);
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
    let is_address = base.parse::<std::net::IpAddr>().is_ok();
    if is_address || !base.bytes().all(plain) || Domain::parse(base).is_err() || base == "." {
        cx.not(token, "a domain that a certificate can be for, in ASCII (`xn--…`)");
        return None;
    }
    Some(text.into())
}
