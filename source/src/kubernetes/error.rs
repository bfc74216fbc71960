//! What can go wrong with a request, in words that name the endpoint and the remedy.

use std::{error::Error as StdError, io};

use daymark_cluster::Kind;
use k8s_openapi::jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error as Tls, pki_types::UnixTime};
use thiserror::Error;

use super::{page::NotAList, path::path};

/// A request or a stream failed.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// No connection.
    #[error("{endpoint} {}: {cause}", trouble.effect())]
    Unreachable { endpoint: String, cause: String, trouble: Trouble },
    /// 401.
    #[error("{endpoint} does not accept our credentials (401): {message}")]
    Unauthorized { endpoint: String, message: String },
    /// 403.
    #[error("{endpoint} does not allow us to list and watch {} (403): {message}", kind.plural())]
    Forbidden { endpoint: String, kind: Kind, message: String },
    /// 404.
    #[error("{endpoint} does not know {} (404)", kind.plural())]
    Unknown { endpoint: String, kind: Kind },
    /// 400 or 422: this way of asking is not supported.
    #[error("{endpoint} rejects the request ({code}): {message}")]
    Rejected { endpoint: String, code: u16, message: String },
    /// 410: the version asked for is no longer kept.
    #[error("the version asked for is gone (410)")]
    Expired,
    /// The server has not yet seen the version that we hold.
    #[error("{endpoint} has not yet seen what we have seen already")]
    Behind { endpoint: String },
    /// Any other status.
    #[error("{endpoint} answers {code}: {message}")]
    Server { endpoint: String, code: u16, message: String },
    /// A stream broke off.
    #[error("the stream from {endpoint} broke off: {cause}")]
    Broken { endpoint: String, cause: String },
    /// What came is not what was asked for.
    #[error("{endpoint} sent what cannot be read: {cause}")]
    Garbled { endpoint: String, cause: String },
    /// Nothing came for too long.
    #[error("nothing came from {endpoint} for too long")]
    Silent { endpoint: String },
    /// See [`NotAList`].
    #[error(transparent)]
    NotAList(#[from] NotAList),
}

/// Why there is no connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Refused,
    Name,
    /// The server's certificate is not to be trusted, or not now.
    Certificate,
    Expired,
    /// The server does not trust ours.
    OwnCertificate,
    OwnExpired,
    Tls,
    Slow,
    Other,
}

impl ApiError {
    /// The error in a failed request for `kind`.
    pub(crate) fn of(error: kube::Error, endpoint: &str, kind: Kind) -> Self {
        match error {
            kube::Error::Api(status) => {
                ApiError::status(status.code, &status.reason, status.message, endpoint, kind)
            }
            error => {
                let trouble = trouble(&error);
                ApiError::Unreachable { endpoint: endpoint.into(), cause: cause(&error), trouble }
            }
        }
    }

    /// The error that a `metav1.Status` tells.
    pub(crate) fn status(
        code: u16,
        reason: &str,
        message: String,
        endpoint: &str,
        kind: Kind,
    ) -> Self {
        let endpoint = endpoint.to_owned();
        match code {
            401 => ApiError::Unauthorized { endpoint, message },
            403 => ApiError::Forbidden { endpoint, kind, message },
            404 => ApiError::Unknown { endpoint, kind },
            400 | 422 => ApiError::Rejected { endpoint, code, message },
            410 => ApiError::Expired,
            _ if reason == "Expired" => ApiError::Expired,
            // The API gives this no reason of its own that all versions share.
            _ if message.contains("Too large resource version") => ApiError::Behind { endpoint },
            _ => ApiError::Server { endpoint, code, message },
        }
    }

    /// The response's status, if there was a response.
    pub(crate) fn code(&self) -> Option<u16> {
        Some(match self {
            ApiError::Unauthorized { .. } => 401,
            ApiError::Forbidden { .. } => 403,
            ApiError::Unknown { .. } => 404,
            ApiError::Expired => 410,
            ApiError::Behind { .. } => 504,
            ApiError::Rejected { code, .. } | ApiError::Server { code, .. } => *code,
            _ => return None,
        })
    }

    /// Whether it concerns the endpoint and not one kind of object.
    pub(crate) fn concerns_endpoint(&self) -> bool {
        matches!(self, ApiError::Unreachable { .. } | ApiError::Unauthorized { .. })
    }

    /// Whether only a person can end it, so that asking often is of no use.
    pub(crate) fn needs_a_person(&self) -> bool {
        matches!(
            self,
            ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } | ApiError::Unknown { .. }
        )
    }

    /// Whether it is part of ordinary life and not worth a line in the log.
    pub(crate) fn is_routine(&self) -> bool {
        matches!(self, ApiError::Expired | ApiError::Silent { .. } | ApiError::Broken { .. })
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        match self {
            ApiError::Unreachable { trouble, .. } => trouble.remedy().into(),
            ApiError::Unauthorized { .. } => "check the token or client certificate: it may have \
                expired, or belong to another cluster; a token file is read anew for each request"
                .into(),
            ApiError::Forbidden { kind, .. } => {
                let (group, resource) = (path(*kind).group, kind.plural());
                format!(
                    "add to this account's ClusterRole: {{apiGroups: [\"{group}\"], resources: \
                     [{resource}], verbs: [list, watch]}}"
                )
            }
            ApiError::Unknown { kind: Kind::ServiceImport, .. } => "install the ServiceImport CRD \
                of the Multi-Cluster Services API, or take `multicluster` out of the Corefile"
                .into(),
            ApiError::Unknown { .. } => "check that the endpoint is a Kubernetes API server".into(),
            _ => "trying again by itself; see the API server's log if it stays".into(),
        }
    }
}

impl Trouble {
    /// What the endpoint is or does, with this trouble.
    fn effect(self) -> &'static str {
        match self {
            Trouble::Certificate | Trouble::Expired => "cannot be trusted",
            Trouble::OwnCertificate | Trouble::OwnExpired => "does not accept us",
            _ => "cannot be reached",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Trouble::Refused => "check that the API server runs and that host and port are right",
            Trouble::Name => {
                "check the host name; a cluster DNS server cannot resolve it by itself"
            }
            Trouble::Certificate => {
                "check that the CA file belongs to this API server and that its certificate names \
                 this host"
            }
            Trouble::Expired => {
                "renew the API server's certificate (`kubeadm certs renew apiserver`), and check the \
                 clocks of both machines"
            }
            Trouble::OwnCertificate => {
                "give a client certificate that is signed by the API server's client CA"
            }
            Trouble::OwnExpired => {
                "renew the client certificate that the kubeconfig or `tls` names, and check the \
                 clocks of both machines"
            }
            Trouble::Tls => "check the scheme, the CA file and the client certificate",
            Trouble::Slow => "check routes and firewalls between here and the API server",
            Trouble::Other => "check that the endpoint is a Kubernetes API server",
        }
    }
}

/// The innermost cause, which says most; outer ones only say that something failed.
fn cause(error: &(dyn StdError + 'static)) -> String {
    if let Some(tls) = chain(error).find_map(|error| error.downcast_ref::<Tls>()) {
        return tls_words(tls);
    }
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// What rustls says, in words for people where it counts seconds: since 1970, and until now, so that
/// each try would have another message and be told anew.
fn tls_words(error: &Tls) -> String {
    use CertificateError::{ExpiredContext, NotValidYetContext};
    match error {
        Tls::InvalidCertificate(ExpiredContext { not_after, .. }) => {
            format!("its certificate expired at {}", date(*not_after))
        }
        Tls::InvalidCertificate(NotValidYetContext { not_before, .. }) => {
            format!("its certificate is not valid before {}", date(*not_before))
        }
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not signed by the CA that we were given".into()
        }
        Tls::AlertReceived(AlertDescription::CertificateExpired) => {
            "it says that our client certificate has expired".into()
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate, and we have none".into()
        }
        Tls::AlertReceived(AlertDescription::UnknownCA) => {
            "it does not know the CA of our client certificate".into()
        }
        error => error.to_string(),
    }
}

fn date(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let stamp = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    stamp.map_or_else(|| format!("second {seconds} since 1970"), |stamp| stamp.to_string())
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error = *error;
        // An `io::Error` that wraps another names that one's source as its own.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn trouble(error: &(dyn StdError + 'static)) -> Trouble {
    let mut found = Trouble::Other;
    for error in chain(error) {
        if let Some(tls) = error.downcast_ref::<Tls>() {
            return tls_trouble(tls);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => found = Trouble::Refused,
                io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => found = Trouble::Slow,
                _ => {}
            }
        }
        // hyper-util keeps the type of this one to itself.
        if error.to_string().starts_with("dns error") {
            found = Trouble::Name;
        }
    }
    found
}

fn tls_trouble(error: &Tls) -> Trouble {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    match error {
        Tls::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        ) => Trouble::Expired,
        Tls::InvalidCertificate(_) => Trouble::Certificate,
        Tls::AlertReceived(AlertDescription::CertificateExpired) => Trouble::OwnExpired,
        Tls::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => Trouble::OwnCertificate,
        _ => Trouble::Tls,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_cause_is_found_however_deep_it_lies() {
        let wrapped = |inner: Tls| io::Error::other(io::Error::other(inner));
        for (error, want) in [
            (wrapped(Tls::InvalidCertificate(CertificateError::Expired)), Trouble::Expired),
            (
                wrapped(Tls::InvalidCertificate(CertificateError::UnknownIssuer)),
                Trouble::Certificate,
            ),
            (
                wrapped(Tls::AlertReceived(AlertDescription::CertificateExpired)),
                Trouble::OwnExpired,
            ),
            (wrapped(Tls::AlertReceived(AlertDescription::UnknownCA)), Trouble::OwnCertificate),
            (wrapped(Tls::HandshakeNotComplete), Trouble::Tls),
            (io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused)), Trouble::Refused),
            (io::Error::from(io::ErrorKind::TimedOut), Trouble::Slow),
            (io::Error::other("dns error: failed to look up address"), Trouble::Name),
            (io::Error::other("else"), Trouble::Other),
        ] {
            let text = error.to_string();
            let error = kube::Error::Service(Box::new(error));
            assert_eq!(trouble(&error), want, "{text}");
        }
    }

    #[test]
    fn an_expired_certificate_has_the_same_date_at_each_try() {
        let said = |now| {
            let second = |s| UnixTime::since_unix_epoch(Duration::from_secs(s));
            let inner =
                CertificateError::ExpiredContext { time: second(now), not_after: second(86_400) };
            let error = io::Error::other(Tls::InvalidCertificate(inner));
            let error = kube::Error::Service(Box::new(error));
            ApiError::of(error, "https://api:6443", Kind::Service).to_string()
        };
        let want = "https://api:6443 cannot be trusted: its certificate expired at \
                    1970-01-02T00:00:00Z";
        assert_eq!([said(100_000), said(100_001)], [want, want]);
    }
}
