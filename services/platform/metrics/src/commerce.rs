//! What the shop does: orders, sagas, stock, money, notifications, analytics.

use crate::{Label, Metric, Unit, Values, When, counter, gauge, label, seconds};

pub const ORDER_STATES: [&str; 10] = [
    "placed",
    "reserving",
    "reserved",
    "paying",
    "paid",
    "confirmed",
    "fulfilled",
    "compensating",
    "rejected",
    "cancelled",
];

/// Why an order ended without its goods.
pub const END_REASONS: [&str; 4] = ["out_of_stock", "payment_declined", "by_customer", "timeout"];

/// Steps in which a checkout waits for an answer.
pub const SAGA_STATES: [&str; 5] = ["reserving", "paying", "committing", "capturing", "undoing"];

pub const SAGAS: [&str; 1] = ["checkout"];

const SAGA: Label = label("saga", Values::OneOf(&SAGAS));
const ORDER_STATE: Label = label("state", Values::OneOf(&ORDER_STATES));
const CURRENCY: Label = label("currency", Values::AtMost(40, "traded currencies"));

/// Checkouts take milliseconds; those that wait for somebody take minutes.
pub const SETTLE_BUCKETS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

pub const ORDERS: Metric = counter(
    "rtc_orders_total",
    &[ORDER_STATE],
    "orders",
    "Orders that entered a state; `placed` is every order accepted",
);

pub const ORDERS_ENDED: Metric = counter(
    "rtc_orders_ended_total",
    &[label("reason", Values::OneOf(&END_REASONS))],
    "orders",
    "Orders rejected or cancelled, by reason",
);

pub const ORDER_SETTLE: Metric = seconds(
    "rtc_order_settle_duration_seconds",
    &SETTLE_BUCKETS,
    &[label("outcome", Values::OneOf(&["confirmed", "rejected", "cancelled"]))],
    "orders",
    "From the acceptance of an order to its confirmation, rejection or cancellation",
);

pub const SAGA_STATE: Metric = gauge(
    "rtc_saga_states",
    &[SAGA, label("state", Values::OneOf(&SAGA_STATES))],
    "orders",
    "Sagas that wait in a step",
);

pub const SAGA_STUCK: Metric = gauge(
    "rtc_saga_stuck",
    &[SAGA],
    "orders",
    "Sagas whose deadline passed more than a minute ago and that nobody has taken further",
);

pub const RESERVATIONS: Metric = counter(
    "rtc_reservations_total",
    &[label(
        "answer",
        Values::OneOf(&["reserved", "refused", "committed", "commit_refused", "released", "returned"]),
    )],
    "inventory",
    "Commands on reservations of stock, by their answer",
);

pub const RESERVATIONS_EXPIRED: Metric =
    counter("rtc_reservations_expired_total", &[], "inventory", "Reservations whose time ran out");

pub const STOCK_SKUS: Metric = gauge(
    "rtc_stock_skus",
    &[label("level", Values::OneOf(&["ok", "low", "out"]))],
    "inventory",
    "Articles whose stock is counted, by how much of it can be sold: more than the threshold, less, nothing",
);

pub const PAYMENT_STATES: [&str; 13] = [
    "requested",
    "holding",
    "held",
    "declined",
    "capturing",
    "captured",
    "releasing",
    "released",
    "voiding",
    "voided",
    "refunding",
    "refunded",
    "expired",
];

pub const PAYMENTS: Metric = counter(
    "rtc_payments_total",
    &[label("state", Values::OneOf(&PAYMENT_STATES))],
    "payments",
    "Payments that entered a state",
);

pub const REVENUE: Metric = Metric {
    unit: Unit::Money,
    when: When::Happened,
    ..counter("rtc_revenue_minor_total", &[CURRENCY], "payments", "Money captured")
};

pub const REFUNDS: Metric = Metric {
    unit: Unit::Money,
    when: When::Happened,
    ..counter("rtc_refunds_minor_total", &[CURRENCY], "payments", "Money given back after its capture")
};

pub const BANK_UNKNOWN: Metric =
    counter("rtc_bank_unknown_total", &[], "payments", "Calls to the bank whose outcome was not known");

pub const LEDGER_IMBALANCE: Metric = gauge(
    "rtc_ledger_imbalance",
    &[],
    "payments",
    "Currencies whose postings do not sum to zero, and accounts below zero: must be 0",
);

pub const RECONCILIATION_DIFFERENCES: Metric = gauge(
    "rtc_reconciliation_differences",
    &[],
    "payments",
    "Differences between the bank and the payments at the last reconciliation",
);

pub const RECONCILIATION_CHECKED: Metric = counter(
    "rtc_reconciliation_checked_total",
    &[],
    "payments",
    "Operations and payments that were compared",
);

pub const NOTIFICATIONS: Metric = counter(
    "rtc_notifications_total",
    &[
        label("channel", Values::OneOf(&["email"])),
        label("result", Values::OneOf(&["sent", "deferred", "failed", "suppressed"])),
    ],
    "notifications",
    "Attempts to notify, by channel and what became of them",
);

pub const NOTIFICATIONS_AMBIGUOUS: Metric = counter(
    "rtc_notifications_ambiguous_total",
    &[],
    "notifications",
    "Attempts of which nobody knows whether the provider took them",
);

pub const ANALYTICS_EVENTS: Metric =
    counter("rtc_analytics_events_total", &[], "analytics", "Events of the shop that are in the windows");

pub const LATE_EVENTS: Metric = counter(
    "rtc_late_events_total",
    &[label("window", Values::AtMost(5, "sizes of windows"))],
    "analytics",
    "Events that came too late for their window of this size and are in its late total",
);

pub const ANALYTICS_LISTENERS: Metric =
    gauge("rtc_analytics_listeners", &[], "analytics", "Streams of live numbers that are open");

pub const ANALYTICS_COMPUTATIONS: Metric = counter(
    "rtc_analytics_live_computations_total",
    &[],
    "analytics",
    "How often the live numbers were computed, for however many listeners",
);

pub(crate) const ALL: [&Metric; 21] = [
    &ORDERS,
    &ORDERS_ENDED,
    &ORDER_SETTLE,
    &SAGA_STATE,
    &SAGA_STUCK,
    &RESERVATIONS,
    &RESERVATIONS_EXPIRED,
    &STOCK_SKUS,
    &PAYMENTS,
    &REVENUE,
    &REFUNDS,
    &BANK_UNKNOWN,
    &LEDGER_IMBALANCE,
    &RECONCILIATION_DIFFERENCES,
    &RECONCILIATION_CHECKED,
    &NOTIFICATIONS,
    &NOTIFICATIONS_AMBIGUOUS,
    &ANALYTICS_EVENTS,
    &LATE_EVENTS,
    &ANALYTICS_LISTENERS,
    &ANALYTICS_COMPUTATIONS,
];
