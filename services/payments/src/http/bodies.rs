//! What is asked at the bank's counter and what it shows, as JSON.

use contracts::{OrderId, PaymentId, UserId};
use kernel::{Currency, Money, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bank::accounts::Account;
use crate::bank::pin::Pin;
use crate::bank::{Held, HoldId};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenAccount {
    pub currency: Currency,
    pub pin: Pin,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deposit {
    pub amount: Money,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceHold {
    /// What it pays for; one hold each on this account, and the same request again gets the same hold.
    pub key: String,
    pub amount: Money,
    pub pin: Pin,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// The whole where it is absent.
    #[serde(default)]
    pub amount: Option<Money>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(super) struct AccountView {
    pub number: String,
    pub owner: UserId,
    pub currency: Currency,
    /// `available` and `held` together.
    pub balance: Money,
    pub held: Money,
    pub available: Money,
    pub has_pin: bool,
    pub opened_at: Timestamp,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        let money = |minor| Money::new(minor, account.currency);
        Self {
            number: account.number.clone(),
            owner: account.owner,
            currency: account.currency,
            balance: money(account.available.saturating_add(account.held)),
            held: money(account.held),
            available: money(account.available),
            has_pin: account.has_pin,
            opened_at: account.opened_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct EntryView {
    pub id: i64,
    /// What became available, or (negative) ceased to be.
    pub amount: Money,
    /// `deposit`, `hold`, `capture` (the part that was not taken), `release`, `expire`, `refund`.
    pub action: String,
    /// What the hold paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct HoldView {
    pub id: HoldId,
    pub key: String,
    pub account: Option<String>,
    pub amount: Money,
    pub captured: Money,
    pub refunded: Money,
    pub state: String,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

/// What the owner called it.
pub(super) fn shown_key(hold_key: &str) -> String {
    hold_key.splitn(3, ':').nth(2).unwrap_or(hold_key).to_owned()
}

impl From<&Held> for HoldView {
    fn from(hold: &Held) -> Self {
        let money = |minor| Money::new(minor, hold.currency);
        Self {
            id: hold.id,
            key: shown_key(&hold.hold_key),
            account: hold.account.clone(),
            amount: money(hold.amount),
            captured: money(hold.captured),
            refunded: money(hold.refunded),
            state: hold.state.to_string(),
            expires_at: hold.expires_at,
            created_at: hold.created_at,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct PaymentView {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Money>,
    /// Why it was declined, or why the hold ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
