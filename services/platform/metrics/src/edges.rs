//! Requests, messages, and what carries them: counted by the platform for every service alike.

use crate::{Label, Metric, SERVICE, Unit, Values, When, counter, gauge, label, seconds};

/// OpenTelemetry's advised bounds for `http.server.request.duration`.
pub const HTTP_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// For what takes microseconds in this process and milliseconds on a server.
pub const WORK_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Any other method, any other path.
pub const OTHER: &str = "_OTHER";

pub const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", OTHER];

/// From outside, or from a process of ours that has counted the request already.
pub const HOPS: [&str; 2] = ["entry", "inner"];

/// The status of a request whose caller went away before it was answered.
pub const CALLER_GONE: u16 = 499;

const HOP: Label = label("hop", Values::OneOf(&HOPS));
const METHOD: Label = label("http_request_method", Values::OneOf(&METHODS));
const ROUTE: Label = label("http_route", Values::AtMost(300, "templates of routes"));
const STATUS: Label =
    label("http_response_status_code", Values::AtMost(30, "statuses that the house answers"));
const GROUP: Label = label("group", Values::AtMost(64, "consumer groups"));
const TOPIC: Label = label("topic", Values::AtMost(64, "topics"));
const OTEL_GROUP: Label = label("messaging_consumer_group_name", Values::AtMost(64, "consumer groups"));
const OTEL_TOPIC: Label = label("messaging_destination_name", Values::AtMost(64, "topics"));
/// Why a batch was not handled whole: it is taken again.
const PROCESS_ERROR: Label = label("error_type", Values::OneOf(&["", "retried"]));
const SEND_ERROR: Label = label("error_type", Values::OneOf(&["", "refused", "unavailable"]));

pub const HTTP_SERVER_REQUEST_DURATION: Metric = seconds(
    "http_server_request_duration_seconds",
    &HTTP_BUCKETS,
    &[SERVICE, METHOD, ROUTE, STATUS, HOP],
    "web",
    "Duration of HTTP requests; 499 is one whose caller went away before it was answered",
);

pub const HTTP_SERVER_ACTIVE_REQUESTS: Metric =
    gauge("http_server_active_requests", &[SERVICE], "web", "Requests that are being worked on");

/// Why a request was refused before anything was done for it.
pub const SHED_REASONS: [&str; 4] = ["overloaded", "pressure", "deadline", "rate_limited"];

pub const HTTP_SHED: Metric = counter(
    "rtc_http_shed_total",
    &[SERVICE, label("reason", Values::OneOf(&SHED_REASONS))],
    "web",
    "Requests refused before anything was done for them, by reason",
);

pub const MESSAGING_PROCESS_DURATION: Metric = seconds(
    "messaging_process_duration_seconds",
    &WORK_BUCKETS,
    &[OTEL_GROUP, OTEL_TOPIC, PROCESS_ERROR],
    "host",
    "From the delivery of a batch of messages to the commit of its offsets",
);

pub const MESSAGING_CONSUMED: Metric = counter(
    "messaging_client_consumed_messages_total",
    &[OTEL_GROUP, OTEL_TOPIC],
    "host",
    "Messages delivered to a consumer, those that come again included",
);

pub const MESSAGING_SENT: Metric = counter(
    "messaging_client_sent_messages_total",
    &[OTEL_TOPIC, SEND_ERROR],
    "host",
    "Messages given to the bus, by what it answered",
);

pub const MESSAGING_SEND_DURATION: Metric = seconds(
    "messaging_client_operation_duration_seconds",
    &WORK_BUCKETS,
    &[label("messaging_operation_name", Values::OneOf(&["send"])), SEND_ERROR],
    "host",
    "How long the bus took to have a batch of messages durably",
);

pub const CONSUMER_LAG: Metric = gauge(
    "rtc_consumer_lag",
    &[GROUP, TOPIC],
    "host",
    "Messages that a consumer group has not committed yet",
);

pub const DLQ_DEPTH: Metric = gauge(
    "rtc_dlq_depth",
    &[GROUP],
    "host",
    "Messages that a consumer group has parked, those waiting behind them included",
);

pub const OUTBOX_DEPTH: Metric =
    gauge("rtc_outbox_depth", &[SERVICE], "host", "Messages that wait for the relay");

pub const OUTBOX_LAG: Metric = Metric {
    unit: Unit::Seconds,
    ..gauge(
        "rtc_outbox_lag_seconds",
        &[SERVICE],
        "host",
        "Age of the oldest message that waits for the relay",
    )
};

pub const RELAY_LAG: Metric = Metric {
    when: When::Happened,
    ..seconds(
        "rtc_relay_lag_seconds",
        &WORK_BUCKETS,
        &[SERVICE],
        "messaging",
        "From the commit of a message's transaction to the bus having it",
    )
};

pub const BUS_UP: Metric = gauge("rtc_bus_up", &[], "host", "1 while the event bus answers");

pub(crate) const ALL: [&Metric; 14] = [
    &HTTP_SERVER_REQUEST_DURATION,
    &HTTP_SERVER_ACTIVE_REQUESTS,
    &HTTP_SHED,
    &MESSAGING_PROCESS_DURATION,
    &MESSAGING_CONSUMED,
    &MESSAGING_SENT,
    &MESSAGING_SEND_DURATION,
    &CONSUMER_LAG,
    &DLQ_DEPTH,
    &OUTBOX_DEPTH,
    &OUTBOX_LAG,
    &RELAY_LAG,
    &BUS_UP,
    &HTTP_CLIENT_REQUEST_DURATION,
];

pub const HTTP_CLIENT_REQUEST_DURATION: Metric = Metric {
    when: When::Split,
    ..seconds(
        "http_client_request_duration_seconds",
        &HTTP_BUCKETS,
        &[SERVICE, METHOD, label("error_type", Values::OneOf(&["", "4xx", "5xx", "unanswered"]))],
        "web",
        "Duration of calls to services in other processes, retries included, by the service that is called",
    )
};
