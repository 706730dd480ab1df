//! Mail by SMTP (RFC 5321). A batch is shared among a few connections, each used for its whole share.
//!
//! Invariants: a connection on which anything went wrong in mid-letter is closed, never used again, so that no answer is
//! taken for another letter's; what a server says is kept without the addresses in it; no password is sent before TLS,
//! where TLS is asked for; every step has a time-out.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::time::Instant;

use super::{Mail, Mailer, Outcome};
use crate::config::{SmtpConfig, Tls};

pub(crate) struct Smtp {
    config: SmtpConfig,
    tls: Option<TlsParameters>,
    password: Option<Password>,
}

/// A password that may be rotated. Clones see the same; nothing shows it.
#[derive(Clone, Default)]
pub(crate) struct Password(Arc<RwLock<String>>);

impl Password {
    pub(crate) fn set(&self, password: &str) {
        password.clone_into(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn get(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a command got no good answer.
enum Trouble {
    /// 4xx.
    Later(String),
    /// 5xx.
    Never(String),
    /// The server cannot be used: nobody there, shutting down, wants other credentials.
    Server(String),
    /// No answer, or none that can be read.
    Silent(String),
}

impl Trouble {
    fn of(error: &lettre::transport::smtp::Error) -> Self {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        let reason = without_addresses(&reason);
        let code = error.status().map(u16::from);
        match code {
            // Closing down, or it wants credentials that we do not have: true for every letter.
            Some(421 | 454 | 530 | 534 | 535 | 538) => Trouble::Server(reason),
            Some(_) if error.is_transient() => Trouble::Later(reason),
            Some(_) => Trouble::Never(reason),
            None if error.is_tls() => Trouble::Server(reason),
            None => Trouble::Silent(reason),
        }
    }
}

/// What a server says often names the recipient; neither a row nor a log may.
fn without_addresses(said: &str) -> String {
    let word = |word| if str::contains(word, '@') { "<address>" } else { word };
    said.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

impl Smtp {
    pub(crate) fn new(config: SmtpConfig, password: Option<Password>) -> Result<Self, String> {
        let tls = match config.tls {
            Tls::None => None,
            Tls::Starttls | Tls::Tls => {
                Some(TlsParameters::new(config.host.clone()).map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { config, tls, password })
    }

    fn credentials(&self) -> Option<Credentials> {
        let (user, password) = self.config.user.as_ref().zip(self.password.as_ref())?;
        Some(Credentials::new(user.clone(), password.get()))
    }

    async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(Duration::from_millis(self.config.timeout_ms), step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_) => Err(Trouble::Silent("no answer in time".to_owned())),
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let hello = ClientId::Domain(self.config.hello.clone());
        let timeout = Some(Duration::from_millis(self.config.timeout_ms));
        let wrapper = self.tls.clone().filter(|_| self.config.tls == Tls::Tls);
        let server = (self.config.host.as_str(), self.config.port);
        let opening = AsyncSmtpConnection::connect_tokio1(server, timeout, &hello, wrapper, None);
        let mut connection = self.within(Box::pin(opening)).await?;
        if let (Tls::Starttls, Some(tls)) = (self.config.tls, self.tls.clone()) {
            self.within(Box::pin(connection.starttls(tls, &hello))).await?;
        }
        if let Some(credentials) = self.credentials() {
            self.within(connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)).await?;
        }
        Ok(connection)
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        mail: &Mail,
    ) -> Result<Response, Outcome> {
        let before = |trouble| match trouble {
            Trouble::Later(reason) => Outcome::Deferred { reason },
            Trouble::Never(reason) => Outcome::Refused { reason },
            Trouble::Server(reason) => Outcome::Unreachable { reason },
            Trouble::Silent(reason) => Outcome::Deferred { reason },
        };
        self.within(connection.command(MailFrom::new(Some(mail.from.clone()), Vec::new())))
            .await
            .map_err(before)?;
        self.within(connection.command(Rcpt::new(mail.to.clone(), Vec::new()))).await.map_err(before)?;
        self.within(connection.command(Data)).await.map_err(before)?;
        // The end of the text begins with a line break of its own.
        let text = mail.bytes.strip_suffix(b"\r\n").unwrap_or(&mail.bytes);
        self.within(connection.message(text)).await.map_err(|trouble| match trouble {
            Trouble::Silent(reason) => Outcome::Unknown { reason },
            other => before(other),
        })
    }

    /// One connection's share of a batch.
    async fn share(&self, mails: Vec<(usize, Mail)>, deadline: Instant) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(mails.len());
        let mut open: Option<AsyncSmtpConnection> = None;
        let mut down: Option<String> = None;
        for (index, mail) in mails {
            if Instant::now() >= deadline {
                down.get_or_insert_with(|| "the batch took too long".to_owned());
            }
            if let Some(reason) = &down {
                outcomes.push((index, Outcome::Unreachable { reason: reason.clone() }));
                continue;
            }
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => match self.connect().await {
                    Ok(connection) => connection,
                    Err(
                        Trouble::Later(reason)
                        | Trouble::Never(reason)
                        | Trouble::Server(reason)
                        | Trouble::Silent(reason),
                    ) => {
                        outcomes.push((index, Outcome::Unreachable { reason: reason.clone() }));
                        down = Some(reason);
                        continue;
                    }
                },
            };
            match self.hand_over(&mut connection, &mail).await {
                Ok(response) => {
                    let said: String = response.message().collect::<Vec<_>>().join(" ");
                    let provider_id = without_addresses(&said).chars().take(200).collect();
                    outcomes.push((index, Outcome::Sent { provider_id, place: None }));
                    open = Some(connection);
                }
                Err(outcome) => {
                    if let Outcome::Unreachable { reason } = &outcome {
                        down = Some(reason.clone());
                    }
                    outcomes.push((index, outcome));
                }
            }
        }
        if let Some(mut connection) = open {
            let _ = self.within(connection.quit()).await;
        }
        outcomes
    }
}

#[async_trait]
impl Mailer for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    async fn send(&self, batch: Vec<Mail>) -> Vec<Outcome> {
        let count = batch.len();
        let connections = (self.config.connections.max(1) as usize).min(count.max(1));
        let mut shares: Vec<Vec<(usize, Mail)>> = vec![Vec::new(); connections];
        for (index, mail) in batch.into_iter().enumerate() {
            shares[index % connections].push((index, mail));
        }
        let deadline = Instant::now() + Duration::from_millis(self.config.batch_timeout_ms);
        let sent = join_all(shares.into_iter().map(|share| self.share(share, deadline))).await;
        let mut outcomes: Vec<(usize, Outcome)> = sent.into_iter().flatten().collect();
        outcomes.sort_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}
