//! The envelope of every message: CloudEvents 1.0 attributes plus what order and tracing need (R87).
//!
//! Invariant: `subject` is the aggregate's id and the key that orders messages; `sequence` rises by one for each
//! message of one aggregate from one source.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::time::Timestamp;

crate::define_id!(EventId, "evt", "One message.");

/// A message on its way. `data` is kept as the JSON text that was published: whoever does not know a type passes it
/// on unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique for ever: the inbox remembers it.
    pub id: EventId,
    /// `rtc.<service>.<what_happened>.v<n>`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The service that says so.
    pub source: String,
    /// The aggregate's id, and the ordering key.
    pub subject: String,
    /// Position among the messages of this aggregate from this source; 0 where order has no meaning.
    #[serde(default)]
    pub sequence: i64,
    pub time: Timestamp,
    /// What belongs together for a person: the order, the booking, the import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    pub data: Box<RawValue>,
}

impl Envelope {
    /// Reads the data as the type that `event_type` promises.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data.get())
    }
}

/// What a message says: its type name and the service that owns it.
pub trait Event: Serialize + DeserializeOwned {
    /// `rtc.<service>.<what_happened>.v<n>`.
    const TYPE: &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_passes_through_unchanged() {
        let text = r#"{"id":"evt_0199b4a0000070008000000000000000","type":"rtc.orders.order_placed.v1","source":"orders","subject":"ord_1","sequence":3,"time":"2026-03-01T09:00:00.000Z","data":{"n":1.10,"unknown":[ 1 ]}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&envelope).unwrap(), text);
    }
}
