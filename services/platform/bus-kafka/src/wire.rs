//! Messages as the brokers have them: the envelope as the value, its CloudEvents attributes as headers.
//!
//! Invariant: whatever lies in a partition becomes a delivery; what is not ours is left for the consumer to park.

use std::borrow::Cow;
use std::sync::Arc;

use bus::Delivery;
use kernel::Timestamp;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};
use serde::Deserialize;

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    traceparent: Option<Cow<'a, str>>,
}

/// The binary binding of CloudEvents 1.0 for Kafka. A payload that is no envelope has its media type alone.
pub(crate) fn headers(payload: &str) -> OwnedHeaders {
    let header =
        |headers: OwnedHeaders, key: &str, value: &str| headers.insert(Header { key, value: Some(value) });
    let headers = header(OwnedHeaders::new_with_capacity(8), "content-type", "application/json");
    let Ok(event) = serde_json::from_str::<Attributes<'_>>(payload) else { return headers };
    let attributes = [
        ("ce_specversion", "1.0"),
        ("ce_id", &event.id),
        ("ce_type", &event.event_type),
        ("ce_source", &event.source),
        ("ce_subject", &event.subject),
        ("ce_time", &event.time),
    ];
    let headers = attributes.into_iter().fold(headers, |headers, (key, value)| header(headers, key, value));
    match &event.traceparent {
        Some(traceparent) => header(headers, "ce_traceparent", traceparent),
        None => headers,
    }
}

/// A value that is not UTF-8 keeps what is readable of it, one that is missing is empty: neither is an envelope, and
/// consumers park it.
pub(crate) fn delivery(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Delivery {
    Delivery {
        topic: topic.clone(),
        partition: u32::try_from(message.partition()).unwrap_or(0),
        offset: message.offset(),
        published_at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        payload: String::from_utf8_lossy(message.payload().unwrap_or_default()).into(),
    }
}
