//! The port to whoever delivers mail, and what can become of a letter there.

mod mailbox;
mod smtp;

use std::sync::Arc;

use async_trait::async_trait;
use lettre::Address;

pub(crate) use mailbox::{MailboxOnDisk, Place};
pub(crate) use smtp::{Password, Smtp};

/// A letter that is ready to go.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    /// The same for every attempt, so that a second copy can be told for what it is.
    pub message_id: String,
    pub from: Address,
    pub to: Address,
    pub bytes: Arc<[u8]>,
}

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The provider has it.
    Sent { provider_id: String, place: Option<Place> },
    /// Turned away for now (4xx): the same letter may be taken later.
    Deferred { reason: String },
    /// Nobody answered after the whole letter was handed over: it may have been taken.
    Unknown { reason: String },
    /// Turned away for good (5xx).
    Refused { reason: String },
    /// The provider cannot be used at all: not this letter's fault, and the others need not be tried.
    Unreachable { reason: String },
}

/// Delivers mail. Never called inside a transaction.
#[async_trait]
pub(crate) trait Mailer: Send + Sync {
    fn name(&self) -> &'static str;

    /// One outcome a letter, in their order.
    async fn send(&self, batch: Vec<Mail>) -> Vec<Outcome>;
}
