//! The states of an order and the only ways between them (R20).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an order is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Accepted and durable.
    Placed,
    /// Stock is asked for.
    Reserving,
    /// Stock is reserved.
    Reserved,
    /// The money is asked for.
    Paying,
    /// The money is held; from here the order goes forward.
    Paid,
    /// Stock is committed and the money captured.
    Confirmed,
    /// Handed over.
    Fulfilled,
    /// Stock or money is being given back.
    Compensating,
    Rejected,
    Cancelled,
}

impl OrderState {
    pub const ALL: [OrderState; 10] = [
        OrderState::Placed,
        OrderState::Reserving,
        OrderState::Reserved,
        OrderState::Paying,
        OrderState::Paid,
        OrderState::Confirmed,
        OrderState::Fulfilled,
        OrderState::Compensating,
        OrderState::Rejected,
        OrderState::Cancelled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            OrderState::Placed => "placed",
            OrderState::Reserving => "reserving",
            OrderState::Reserved => "reserved",
            OrderState::Paying => "paying",
            OrderState::Paid => "paid",
            OrderState::Confirmed => "confirmed",
            OrderState::Fulfilled => "fulfilled",
            OrderState::Compensating => "compensating",
            OrderState::Rejected => "rejected",
            OrderState::Cancelled => "cancelled",
        }
    }

    /// The checkout is over: nothing more happens by itself.
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            OrderState::Confirmed | OrderState::Fulfilled | OrderState::Rejected | OrderState::Cancelled
        )
    }

    pub const fn may_become(self, next: OrderState) -> bool {
        use OrderState::{
            Cancelled, Compensating, Confirmed, Fulfilled, Paid, Paying, Placed, Rejected, Reserved,
            Reserving,
        };
        matches!(
            (self, next),
            (Placed, Reserving)
                | (Reserving, Reserved | Rejected | Compensating)
                | (Reserved, Paying)
                | (Paying, Paid | Compensating)
                | (Paid, Confirmed | Compensating)
                | (Confirmed, Fulfilled | Compensating)
                | (Compensating, Rejected | Cancelled)
        )
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrderState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        OrderState::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("not a state of an order: {text:?}"))
    }
}

/// Why an order was rejected or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    OutOfStock,
    PaymentDeclined,
    ByCustomer,
    Timeout,
}

impl EndReason {
    pub const ALL: [EndReason; 4] =
        [EndReason::OutOfStock, EndReason::PaymentDeclined, EndReason::ByCustomer, EndReason::Timeout];

    pub const fn as_str(self) -> &'static str {
        match self {
            EndReason::OutOfStock => "out_of_stock",
            EndReason::PaymentDeclined => "payment_declined",
            EndReason::ByCustomer => "by_customer",
            EndReason::Timeout => "timeout",
        }
    }

    /// Rejected by us, or cancelled.
    pub const fn end(self) -> OrderState {
        match self {
            EndReason::OutOfStock | EndReason::PaymentDeclined => OrderState::Rejected,
            EndReason::ByCustomer | EndReason::Timeout => OrderState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_states_is_allowed_or_not_on_purpose() {
        let allowed: Vec<String> = OrderState::ALL
            .into_iter()
            .flat_map(|from| OrderState::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            allowed.join(" "),
            "placed>reserving reserving>reserved reserving>compensating reserving>rejected reserved>paying \
             paying>paid paying>compensating paid>confirmed paid>compensating confirmed>fulfilled \
             confirmed>compensating compensating>rejected compensating>cancelled"
        );
    }

    #[test]
    fn from_every_state_an_end_can_be_reached_and_ends_are_final() {
        for start in OrderState::ALL {
            let mut reached = vec![start];
            let mut index = 0;
            while let Some(from) = reached.get(index).copied() {
                for to in OrderState::ALL.into_iter().filter(|to| from.may_become(*to)) {
                    if !reached.contains(&to) {
                        reached.push(to);
                    }
                }
                index += 1;
            }
            assert!(reached.iter().any(|state| state.is_settled()), "{start}");
            if matches!(start, OrderState::Fulfilled | OrderState::Rejected | OrderState::Cancelled) {
                assert_eq!(reached, [start]);
            }
            assert_eq!(start.as_str().parse::<OrderState>().unwrap(), start);
        }
    }
}
