//! Commands to payments on `rtc.payments.commands` and its events on `rtc.payments` (key: order id).
//!
//! Every command is idempotent by order and step: the same command twice has one effect at the bank.

use kernel::Money;
use serde::{Deserialize, Serialize};

use crate::{OrderId, PaymentId, UserId, events};

/// Holds the amount on the user's account in that currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPayment {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub amount: Money,
    /// The account to charge; the user's oldest account in that currency where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePayment {
    pub order_id: OrderId,
}

/// Frees what is held. Releasing what was never held leaves a mark, so that a late hold is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePayment {
    pub order_id: OrderId,
}

/// Gives back all that was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundPayment {
    pub order_id: OrderId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentHeld {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    pub amount: Money,
}

/// The bank said no, and the answer is final. `code` is the bank's: `insufficient_funds`, `account_not_found` …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDeclined {
    pub order_id: OrderId,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    pub amount: Money,
}

/// The hold ended before it was captured (it expires after 7 days).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptureRefused {
    pub order_id: OrderId,
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReleased {
    pub order_id: OrderId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRefunded {
    pub order_id: OrderId,
    pub amount: Money,
}

events! {
    HoldPayment => "rtc.payments.hold_payment.v1",
    CapturePayment => "rtc.payments.capture_payment.v1",
    ReleasePayment => "rtc.payments.release_payment.v1",
    RefundPayment => "rtc.payments.refund_payment.v1",
    PaymentHeld => "rtc.payments.payment_held.v1",
    PaymentDeclined => "rtc.payments.payment_declined.v1",
    PaymentCaptured => "rtc.payments.payment_captured.v1",
    PaymentCaptureRefused => "rtc.payments.payment_capture_refused.v1",
    PaymentReleased => "rtc.payments.payment_released.v1",
    PaymentRefunded => "rtc.payments.payment_refunded.v1",
}
