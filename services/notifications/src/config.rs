//! The section `[services.notifications]`, with its defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address that mail comes from.
    pub from_address: String,
    pub from_name: String,
    /// The SMTP server. Without one, mail goes to the mailbox on disk.
    pub smtp: Option<SmtpConfig>,
    pub mailbox: MailboxConfig,
    /// How long mail is gathered before it is sent: a batch costs two commits, however many letters are in it.
    pub linger_ms: u64,
    /// Letters in one batch.
    pub batch_max: u32,
    /// A letter that the provider turned away for now this often has failed.
    pub attempts_max: u32,
    pub backoff_first_ms: u64,
    pub backoff_max_ms: u64,
    /// A letter that could not be sent for this long has failed, whoever is at fault.
    pub give_up_after_s: u64,
    /// How long somebody may be busy sending a letter before another may think it crashed.
    pub lease_s: u64,
    /// How long finished notifications are kept.
    pub retention_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            from_address: "shop@rtc.local".to_owned(),
            from_name: "RTC".to_owned(),
            smtp: None,
            mailbox: MailboxConfig::default(),
            linger_ms: 250,
            batch_max: 256,
            attempts_max: 8,
            backoff_first_ms: 2_000,
            backoff_max_ms: 600_000,
            give_up_after_s: 86_400,
            lease_s: 600,
            retention_days: 30,
        }
    }
}

impl Config {
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }

    pub fn give_up_after(&self) -> Duration {
        Duration::from_secs(self.give_up_after_s)
    }

    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.retention_days) * 86_400)
    }

    /// How long to wait after the n-th failure in a row: doubling, and half of it at random (`random` is any number).
    pub fn backoff(&self, failures: u32, random: u64) -> Duration {
        let doubled = self.backoff_first_ms.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let whole = doubled.clamp(1, self.backoff_max_ms.max(1));
        let half = whole / 2;
        Duration::from_millis(whole - half + random % (half + 1))
    }
}

/// The mailbox on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailboxConfig {
    /// A file of this size is closed and another one begun.
    pub segment_bytes_max: u64,
    /// Beyond this the oldest files go.
    pub keep_bytes_max: u64,
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self { segment_bytes_max: 32 << 20, keep_bytes_max: 512 << 20 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// In clear: a relay on the same machine.
    None,
    /// In clear until STARTTLS, which must succeed before anything else is said.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub user: Option<String>,
    /// The name of the secret that holds the password.
    pub password_secret: Option<String>,
    /// What we call ourselves in EHLO.
    pub hello: String,
    /// How long the server may take for one letter, and for a connection.
    pub timeout_ms: u64,
    /// Connections at once.
    pub connections: u32,
    /// How long one batch may take; what is left goes back to the queue.
    pub batch_timeout_ms: u64,
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 587,
            tls: Tls::Starttls,
            user: None,
            password_secret: None,
            hello: "rtc.local".to_owned(),
            timeout_ms: 15_000,
            connections: 4,
            batch_timeout_ms: 60_000,
        }
    }
}
