//! The mock bank: accounts, a double-entry ledger, holds and refunds, behind a port.
//!
//! Invariants:
//! - the payments service reaches money only through [`Bank`]; nothing outside this module writes a `bank_*` table;
//! - every operation has a key that the client chose, and one key has one effect: its result is kept in the bank's
//!   own operation log in the transaction of the effect, and given again;
//! - an error of the port ([`BankError`]) says nothing about the effect: ask by key.

pub(crate) mod accounts;
pub(crate) mod faulty;
pub(crate) mod ledger;
pub(crate) mod mock;
mod operations;
pub(crate) mod pin;
mod rows;
pub(crate) mod schema;

pub use faulty::{Callback, Callbacks, Faults, FaultyBank};
pub use mock::MockBank;
pub(crate) use rows::Held;

use std::collections::HashMap;

use async_trait::async_trait;
use contracts::UserId;
use kernel::{Currency, Error, Kind, Money, Timestamp};

use crate::words::words;

kernel::define_id!(HoldId, "hld", "A hold at the bank.");

words! {
    /// What an operation does.
    pub enum Action {
        Hold => "hold",
        Capture => "capture",
        Release => "release",
        Refund => "refund",
        Expire => "expire",
        Deposit => "deposit",
    }
}

words! {
    /// A hold's life: pending, then exactly one end.
    pub enum HoldState {
        Pending => "pending",
        Captured => "captured",
        Released => "released",
        Expired => "expired",
    }
}

words! {
    /// Why the bank says no. Final for the key that it was said to.
    pub enum Refusal {
        AccountNotFound => "account_not_found",
        InsufficientFunds => "insufficient_funds",
        Declined => "declined",
        AmountInvalid => "amount_invalid",
        AmountTooLarge => "amount_too_large",
        HoldConflict => "hold_conflict",
        HoldNotFound => "hold_not_found",
        HoldExpired => "hold_expired",
        HoldReleased => "hold_released",
        HoldCaptured => "hold_captured",
        NotCaptured => "not_captured",
        /// The key was used for another operation. Not kept: the log has what the key was first used for.
        KeyReused => "idempotency_key_reused",
    }
}

impl Refusal {
    /// As an HTTP error.
    pub fn into_error(self) -> Error {
        let (kind, status, message) = match self {
            Refusal::AccountNotFound => (Kind::NotFound, 404, "there is no such account"),
            Refusal::InsufficientFunds => {
                (Kind::Conflict, 402, "the account does not have that much available")
            }
            Refusal::Declined => (Kind::Conflict, 402, "the bank declined"),
            Refusal::AmountInvalid => (Kind::Invalid, 422, "the amount is not valid"),
            Refusal::AmountTooLarge => (Kind::Invalid, 422, "that is more than is left of the hold"),
            Refusal::HoldConflict => (Kind::Conflict, 409, "there is another hold for this already"),
            Refusal::HoldNotFound => (Kind::NotFound, 404, "there is no such hold"),
            Refusal::HoldExpired => (Kind::Conflict, 409, "the hold has expired"),
            Refusal::HoldReleased => (Kind::Conflict, 409, "the hold was released"),
            Refusal::HoldCaptured => (Kind::Conflict, 409, "the hold was captured"),
            Refusal::NotCaptured => (Kind::Conflict, 409, "nothing was captured that could be given back"),
            Refusal::KeyReused => (Kind::Invalid, 422, "this key was used for another operation"),
        };
        Error::new(kind, self.as_str(), message).with_status(status)
    }
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Absent where nothing was held: a release that came before its hold.
    pub hold_id: Option<HoldId>,
    /// Minor units that moved.
    pub amount_minor: i64,
}

/// The bank's answer: final, and the same for every call with this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub result: Result<Done, Refusal>,
    /// The operation had been done before.
    pub replayed: bool,
}

impl Reply {
    pub(crate) fn refused(refusal: Refusal) -> Self {
        Self { result: Err(refusal), replayed: false }
    }
}

/// No answer. Whether the operation took effect is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    #[error("the bank did not answer in time")]
    Timeout,
    #[error("the bank failed: {0}")]
    Failed(String),
    #[error("the connection to the bank was reset")]
    Reset,
}

impl From<db::Error> for BankError {
    fn from(error: db::Error) -> Self {
        BankError::Failed(error.to_string())
    }
}

impl From<BankError> for Error {
    fn from(error: BankError) -> Self {
        match error {
            BankError::Timeout => Error::new(
                Kind::Timeout,
                "bank_timeout",
                "the bank did not answer in time; send the request again under the same key",
            ),
            other => Error::unavailable(
                "bank_unavailable",
                "the bank does not answer right now; send the request again under the same key",
            )
            .with_source(other),
        }
    }
}

/// Holds money of `owner`: on `account`, or on the oldest account in the amount's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    pub key: String,
    /// What it pays for; one hold each.
    pub hold_key: String,
    pub owner: UserId,
    pub account: Option<String>,
    pub amount: Money,
}

/// Does something to a hold. `amount_minor` absent: the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHold {
    pub key: String,
    pub hold_key: String,
    pub amount_minor: Option<i64>,
}

/// One line of the bank's operation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    pub position: i64,
    pub action: Action,
    pub hold_key: String,
    pub done: bool,
    pub amount_minor: i64,
}

/// A hold, as the bank has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldFacts {
    pub state: HoldState,
    pub amount_minor: i64,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub currency: Currency,
}

/// The bank's terms, as they are configured.
pub(crate) fn mock_terms(config: &crate::PaymentsConfig) -> operations::Terms {
    operations::Terms {
        hold_for: std::time::Duration::from_secs(u64::from(config.hold_days) * 86_400),
        fee_basis_points: i64::from(config.fee_basis_points),
    }
}

/// What the payments service may ask of a bank.
#[async_trait]
pub trait Bank: Send + Sync {
    async fn hold(&self, request: HoldRequest) -> Result<Reply, BankError>;

    /// Takes the hold or a part of it; the rest is free again.
    async fn capture(&self, request: OnHold) -> Result<Reply, BankError>;

    /// Frees the hold. For a hold that never came it leaves a mark, and the late hold is refused.
    async fn release(&self, request: OnHold) -> Result<Reply, BankError>;

    /// Gives back what was captured, or a part of it.
    async fn refund(&self, request: OnHold) -> Result<Reply, BankError>;

    /// What became of the operation with this key; `None` where the bank has never heard of it.
    async fn status(&self, key: &str) -> Result<Option<Reply>, BankError>;

    /// The operation log after a position, up to an instant of the bank's clock.
    async fn statement(
        &self,
        after: i64,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<StatementLine>, BankError>;

    /// The holds with these keys.
    async fn holds(&self, hold_keys: Vec<String>) -> Result<HashMap<String, HoldFacts>, BankError>;
}
