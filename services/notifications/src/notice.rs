//! What is to be told, as it is kept until it is sent.
//!
//! Invariant: an address and a code are in it only sealed.

use contracts::OrderId;
use contracts::orders::OrderSummary;
use contracts::users::Sealed;
use kernel::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Notice {
    Verification { email: Sealed, code: Sealed, expires_at: Timestamp, locale: String },
    OrderConfirmed { order: OrderSummary },
    OrderRejected { order: OrderSummary, reason: String },
    OrderCancelled { order: OrderSummary, reason: String, was_confirmed: bool },
    OrderFulfilled { order_id: OrderId },
}

impl Notice {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Notice::Verification { .. } => "verification",
            Notice::OrderConfirmed { .. } => "order_confirmed",
            Notice::OrderRejected { .. } => "order_rejected",
            Notice::OrderCancelled { .. } => "order_cancelled",
            Notice::OrderFulfilled { .. } => "order_fulfilled",
        }
    }

    /// Whether it can be sent only once the recipient's contact is known.
    pub(crate) const fn needs_contact(&self) -> bool {
        !matches!(self, Notice::Verification { .. })
    }
}
