//! Certificates that are fetched from an authority and renewed by themselves (ACME, RFC 8555).
//!
//! Each domain has a certificate of its own. The authority asks this server's DNS for a proof
//! ([`challenges`]); what it gave is kept on disk, and shown again at once after a restart.

pub mod challenges;
pub mod config;
mod connect;
mod shown;
mod storage;
mod validity;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};
use rustls::server::ResolvesServerCert;
use tokio::{sync::Notify, time::sleep};

use self::{
    challenges::Challenges, config::Acme, connect::Http, shown::Certificates, storage::Storage,
    validity::Validity,
};

/// Pauses after a failure: at first, and at most. Authorities count them.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// Longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How long an authority may take for its checks.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Acme(#[from] Error),
    #[error("the authority does not offer the proof by DNS (dns-01)")]
    NoChallenge,
    #[error("the authority's checks ended with the order {0:?}")]
    Refused(OrderStatus),
    #[error("nothing can be kept in `storage`: {0}")]
    Storage(#[from] io::Error),
    #[error("it can't be used: {0}")]
    Unusable(String),
    #[error("the account's credentials can't be written: {0}")]
    Credentials(#[from] serde_json::Error),
}

/// Certificates in use, kept up to date for as long as this lives.
pub struct Managed {
    shown: Arc<Certificates>,
    /// Tells that listeners are open.
    served: Arc<Notify>,
    task: tokio::task::AbortHandle,
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Managed {
    /// Shows what was kept, and waits for [`Managed::served`] to fetch what is missing.
    ///
    /// # Errors
    /// In words for people.
    pub fn start(config: &Acme, challenges: Arc<Challenges>) -> Result<Self, String> {
        let shown = Arc::new(Certificates::new(&config.domains));
        let storage = Storage::new(&config.storage, &config.directory, config.email.as_deref());
        let http = Http::new(config)?;
        let keeper =
            Keeper { config: config.clone(), http, storage, challenges, shown: Arc::clone(&shown) };
        let due: Vec<Due> = config.domains.iter().map(|domain| keeper.resume(domain)).collect();
        let served = Arc::new(Notify::new());
        let begin = Arc::clone(&served);
        let task = tokio::spawn(async move {
            begin.notified().await;
            keeper.run(due).await;
        });
        Ok(Managed { shown, served, task: task.abort_handle() })
    }

    /// What begins the work: authorities ask this server, so it has to be there.
    pub fn served(&self) -> Arc<Notify> {
        Arc::clone(&self.served)
    }

    /// What handshakes show.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.shown) as _
    }
}

/// When something is to be done for a domain.
struct Due {
    domain: Box<str>,
    at: SystemTime,
    /// How long to wait after the next failure.
    pause: Duration,
}

struct Keeper {
    config: Acme,
    http: Http,
    storage: Storage,
    challenges: Arc<Challenges>,
    shown: Arc<Certificates>,
}

impl Keeper {
    /// Shows a domain's certificate if one was kept. Without one it is due now.
    fn resume(&self, domain: &str) -> Due {
        let kept = self.storage.certificate(domain);
        let at = kept.and_then(|(certificate, key)| {
            match self.shown.show(domain, &certificate, &key) {
                Ok(validity) => Some(validity.renewal()),
                Err(error) => {
                    tracing::warn!(target: "plugin/tls", "the certificate that was kept for {domain} is not used: {error}");
                    None
                }
            }
        });
        Due { domain: domain.into(), at: at.unwrap_or(SystemTime::UNIX_EPOCH), pause: FIRST_PAUSE }
    }

    async fn run(self, mut all: Vec<Due>) {
        loop {
            for due in &mut all {
                if SystemTime::now() < due.at {
                    continue;
                }
                match self.fetch(&due.domain).await {
                    Ok(validity) => {
                        tracing::info!(target: "plugin/tls", "got a certificate for {}", due.domain);
                        // One that is short-lived, or of a clock that goes wrong, is not asked for all the time.
                        let soonest = SystemTime::now() + FIRST_PAUSE;
                        (due.at, due.pause) = (validity.renewal().max(soonest), FIRST_PAUSE);
                    }
                    Err(error) => {
                        tracing::error!(
                            target: "plugin/tls",
                            "no certificate for {} from {}, trying again in {:?}: {error}",
                            due.domain, self.config.directory, due.pause
                        );
                        due.at = SystemTime::now() + due.pause;
                        due.pause = (due.pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            let next = all.iter().map(|due| due.at).min().unwrap_or(SystemTime::UNIX_EPOCH);
            let left = next.duration_since(SystemTime::now()).unwrap_or_default();
            sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    /// Gets a new certificate, keeps it and shows it.
    async fn fetch(&self, domain: &str) -> Result<Validity, FetchError> {
        self.storage.check()?;
        let account = self.account().await?;
        let identifiers = [Identifier::Dns(domain.to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        // The records are there until the certificate has come.
        let mut records = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::Dns01);
            let mut challenge = challenge.ok_or(FetchError::NoChallenge)?;
            let base = domain.strip_prefix("*.").unwrap_or(domain);
            let value = challenge.key_authorization().dns_value();
            records.push(self.challenges.show(base, value));
            challenge.set_ready().await?;
        }
        match order.poll_ready(&PATIENCE).await? {
            OrderStatus::Ready => {}
            other => return Err(FetchError::Refused(other)),
        }
        let key = order.finalize().await?;
        let certificate = order.poll_certificate(&PATIENCE).await?;
        let validity = self.shown.show(domain, certificate.as_bytes(), key.as_bytes());
        let validity = validity.map_err(FetchError::Unusable)?;
        if let Err(error) = self.storage.keep(domain, &certificate, &key) {
            // It is shown, and another one would not be kept either.
            tracing::error!(target: "plugin/tls", "the certificate for {domain} is lost at the end: {error}");
        }
        Ok(validity)
    }

    /// The account that was kept, or a new one.
    async fn account(&self) -> Result<Account, FetchError> {
        let builder = || Account::builder_with_http(Box::new(self.http.clone()));
        let kept = self.storage.account();
        if let Some(credentials) = kept.and_then(|kept| serde_json::from_slice(&kept).ok()) {
            return Ok(builder().from_credentials(credentials).await?);
        }
        let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.config.directory.to_string();
        let (account, credentials) = builder().create(&new, directory, None).await?;
        self.storage.keep_account(&serde_json::to_vec(&credentials)?)?;
        Ok(account)
    }
}
