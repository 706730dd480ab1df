//! A sale from outside, as it is sent and as it is taken.
//!
//! Invariant: a [`Transaction`] has passed every check that needs no database; what has not is a [`Refusal`] with a
//! stable code.

use std::fmt;
use std::str::FromStr;

use kernel::{Currency, Error, Timestamp};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// 1970-01-01 and 2200-01-01, in milliseconds: what the calendar of every total can hold.
const OCCURRED_AT_MS: std::ops::Range<i64> = 0..7_258_118_400_000;

/// Who sends sales: 1–64 letters, digits, `.`, `_`, `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::field("/source", "invalid_value", "a source is 1 to 64 letters, digits, '.', '_' or '-'"))
    }
}

/// One sale, or the taking back of one (a negative amount).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactionInput {
    /// Names the line within its source, for ever: 1–128 characters.
    pub external_id: String,
    pub occurred_at: Timestamp,
    /// Minor units of `currency`; negative where it is a cancellation.
    pub amount: i64,
    pub currency: Currency,
    /// 0–500 characters.
    pub description: String,
    /// 1–100 characters.
    pub category: String,
    /// 1–128 characters.
    pub customer_ref: Option<String>,
    /// 1–64 characters.
    pub sku: Option<String>,
    pub quantity: Option<i64>,
    /// 1–64 characters; one that begins with `C` is a cancellation.
    pub invoice: Option<String>,
}

/// Why a line was not taken. Stable, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    MalformedJson,
    UnknownField,
    /// A field is missing, twice there, or of the wrong type.
    InvalidValue,
    OutOfRange,
    /// The line was taken before with another content.
    ContentDiffers,
    /// A total of this source would leave the range of 64 bits.
    TotalOverflow,
    /// A line of a stream is longer than 64 KiB.
    LineTooLong,
    /// Nothing arrived on a stream for too long.
    IdleTimeout,
    /// The storage did not take the chunk; send its lines again.
    NotStored,
}

impl RefusalCode {
    pub const fn as_str(self) -> &'static str {
        match self {
            RefusalCode::MalformedJson => "malformed_json",
            RefusalCode::UnknownField => "unknown_field",
            RefusalCode::InvalidValue => "invalid_value",
            RefusalCode::OutOfRange => "out_of_range",
            RefusalCode::ContentDiffers => "content_differs",
            RefusalCode::TotalOverflow => "total_overflow",
            RefusalCode::LineTooLong => "line_too_long",
            RefusalCode::IdleTimeout => "idle_timeout",
            RefusalCode::NotStored => "not_stored",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
}

impl Refusal {
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// It was there before with the same content.
    Duplicate,
    Rejected(Refusal),
}

/// A checked line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction(TransactionInput);

impl Transaction {
    pub fn fields(&self) -> &TransactionInput {
        &self.0
    }

    /// Reads one JSON object.
    pub fn read(json: &[u8]) -> Result<Self, Refusal> {
        let input: TransactionInput = serde_json::from_slice(json).map_err(|error| explain(&error))?;
        // A struct can also be read from an array of its fields, which nobody is told of.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::new(RefusalCode::InvalidValue, "a transaction is an object"));
        }
        Self::try_from(input)
    }
}

fn explain(error: &serde_json::Error) -> Refusal {
    if !error.is_data() {
        return Refusal::new(
            RefusalCode::MalformedJson,
            format!("this is not a JSON object (column {})", error.column()),
        );
    }
    let text = error.to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let code = match detail.starts_with("unknown field") {
        true => RefusalCode::UnknownField,
        false => RefusalCode::InvalidValue,
    };
    Refusal::new(code, detail.chars().take(300).collect::<String>())
}

impl TryFrom<TransactionInput> for Transaction {
    type Error = Refusal;

    fn try_from(input: TransactionInput) -> Result<Self, Refusal> {
        let fields = [
            ("external_id", Some(&input.external_id), 1..=128),
            ("category", Some(&input.category), 1..=100),
            ("customer_ref", input.customer_ref.as_ref(), 1..=128),
            ("sku", input.sku.as_ref(), 1..=64),
            ("invoice", input.invoice.as_ref(), 1..=64),
        ];
        for (name, text, lengths) in fields {
            let Some(text) = text else { continue };
            if !lengths.contains(&text.chars().count()) {
                let (least, most) = (lengths.start(), lengths.end());
                return Err(Refusal::new(
                    RefusalCode::OutOfRange,
                    format!("{name} has {least} to {most} characters"),
                ));
            }
            if text.chars().any(char::is_control) {
                return Err(Refusal::new(
                    RefusalCode::InvalidValue,
                    format!("{name} has no control characters"),
                ));
            }
        }
        if input.description.chars().count() > 500 {
            return Err(Refusal::new(RefusalCode::OutOfRange, "description has 0 to 500 characters"));
        }
        if input.description.contains('\0') {
            return Err(Refusal::new(RefusalCode::InvalidValue, "description has no NUL"));
        }
        if !OCCURRED_AT_MS.contains(&input.occurred_at.as_millis()) {
            return Err(Refusal::new(RefusalCode::OutOfRange, "occurred_at lies in the years 1970 to 2199"));
        }
        Ok(Self(input))
    }
}

/// The body of `POST /api/v1/transactions`: `{"transactions": […]}`, or one transaction, which is a batch of one.
///
/// The items are kept as text: one that cannot be read must not hold up the others.
#[derive(Debug)]
pub struct Submission {
    pub items: Vec<Box<RawValue>>,
}

/// How [`Submission`] is documented.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub enum SubmissionSchema {
    Batch { transactions: Vec<TransactionInput> },
    One(TransactionInput),
}

impl<'de> Deserialize<'de> for Submission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SubmissionVisitor)
    }
}

struct SubmissionVisitor;

impl<'de> Visitor<'de> for SubmissionVisitor {
    type Value = Submission;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object: {\"transactions\": […]} or one transaction")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Submission, A::Error> {
        let mut items = None;
        let mut single = String::from("{");
        let mut other = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "transactions" {
                if items.replace(map.next_value::<Vec<Box<RawValue>>>()?).is_some() {
                    return Err(de::Error::duplicate_field("transactions"));
                }
                continue;
            }
            let value: Box<RawValue> = map.next_value()?;
            let name = to_json::<A::Error>(&key)?;
            let comma = if single.len() > 1 { "," } else { "" };
            single.push_str(&format!("{comma}{name}:{}", value.get()));
            other.get_or_insert(key);
        }
        match (items, other) {
            (Some(_), Some(other)) => {
                Err(de::Error::custom(format!("unknown field `{other}`, expected `transactions`")))
            }
            (Some(items), None) => Ok(Submission { items }),
            (None, _) => {
                single.push('}');
                let item = RawValue::from_string(single).map_err(de::Error::custom)?;
                Ok(Submission { items: vec![item] })
            }
        }
    }
}

fn to_json<E: de::Error>(text: &str) -> Result<String, E> {
    serde_json::to_string(text).map_err(E::custom)
}
