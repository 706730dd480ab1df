//! A page of a list, as it comes over the wire.
//!
//! Invariants: of each item only what is read here is kept in memory, never the whole that the API says of it; an item
//! that cannot be read hides no other.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Error, Kind, Object, deserialized, or_default};

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    pub objects: Vec<Object>,
    /// Why items were left out.
    pub unread: Vec<Error>,
    /// By what the next page is asked for; empty on the last one.
    pub rest: String,
    /// The place in the stream from which changes follow.
    pub resource_version: String,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    metadata: Place,
    // Not merely absent as empty: what has no items at all is no list.
    #[serde(borrow, deserialize_with = "items")]
    items: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    #[serde(rename = "continue", deserialize_with = "or_default")]
    rest: String,
    #[serde(deserialize_with = "or_default")]
    resource_version: String,
}

fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Page {
    /// Of what the API answered.
    ///
    /// # Errors
    /// Where it is no list.
    pub fn read(kind: Kind, answer: &[u8]) -> Result<Page, serde_json::Error> {
        let answer: Answer<'_> = serde_json::from_slice(answer)?;
        let mut objects = Vec::with_capacity(answer.items.len());
        let mut unread = Vec::new();
        for item in answer.items {
            match deserialized(kind, &mut serde_json::Deserializer::from_str(item.get())) {
                Ok(object) => objects.push(object),
                Err(error) => unread.push(error),
            }
        }
        let Place { rest, resource_version } = answer.metadata;
        Ok(Page { objects, unread, rest, resource_version })
    }
}
