//! `[notices.NAME]`: who is told what a release came to.

use codes::{Error, Result};
use notices::{Kind, Outcome};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::file::Reader;
use super::secret;

const KEYS: [&str; 6] = ["about", "environments", "key", "kind", "on", "url"];

/// A receiver as `rtc.toml` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeEntry {
    #[serde(default)]
    pub about: String,
    pub kind: Kind,
    /// A reference to the address, which is a secret.
    pub url: String,
    /// A reference to the key that what is sent is signed with; a webhook's alone.
    #[serde(default)]
    pub key: String,
    /// The outcomes that are told; all where it is empty.
    #[serde(default)]
    pub on: Vec<Outcome>,
    /// The environments that are told of; all where it is empty.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Where it stands, for whoever finds fault with it.
    #[serde(skip)]
    pub place: String,
    /// The folder that paths of references are relative to.
    #[serde(skip)]
    pub folder: std::path::PathBuf,
}

impl NoticeEntry {
    /// Whether what happens in this environment is told.
    pub fn is_of(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.iter().any(|name| name == environment)
    }
}

impl Reader<'_> {
    /// The table `[notices]`, in the order of the file.
    pub(super) fn notices(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<(String, NoticeEntry)>> {
        let mut notices = Vec::new();
        for (name, value) in self.table(value)? {
            for (key, _) in self.table(value)? {
                if !KEYS.contains(&key.get_ref().as_ref()) {
                    return Err(self.unknown(key.get_ref(), key, &KEYS));
                }
            }
            let mut entry = NoticeEntry::deserialize(value.clone().into_deserializer()).map_err(|error| {
                let at = error.span().map_or(name.span().start, |span| span.start);
                Error::new(&codes::CFG004, format!("{}: {}", self.place(at), error.message()))
            })?;
            entry.place = self.place(name.span().start);
            entry.folder = self.folder();
            let of = format!("{}: notices.{}", entry.place, name.get_ref());
            for (key, text) in [("url", &entry.url), ("key", &entry.key)] {
                if !text.is_empty() || key == "url" {
                    // The text is not repeated: it may be the secret itself.
                    secret::check(text)
                        .map_err(|problem| Error::new(&codes::CFG007, format!("{of}.{key}: {problem}")))?;
                }
            }
            if entry.kind == Kind::Slack && !entry.key.is_empty() {
                let message = format!("{of}.key: Slack checks no signature; a webhook may");
                return Err(Error::new(&codes::CFG004, message).with_hint("leave key out"));
            }
            notices.push((name.span().start, name.get_ref().to_string(), entry));
        }
        notices.sort_by_key(|(position, ..)| *position);
        Ok(notices.into_iter().map(|(_, name, entry)| (name, entry)).collect())
    }
}

pub(super) fn json_schema() -> Value {
    let reference =
        |about: &str| json!({"type": "string", "pattern": "^(env|file|cmd):.+", "description": about});
    let outcomes = Outcome::ALL.map(Outcome::word);
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["kind", "url"],
        "properties": {
            "about": {"type": "string", "description": "who they are"},
            "kind": {"enum": ["slack", "webhook"], "description": "what is sent: blocks of Slack, or JSON"},
            "url": reference("a reference to the address, which is a secret"),
            "key": reference("a reference to the key that a webhook's body is signed with (HMAC-SHA-256)"),
            "on": {
                "type": "array", "items": {"enum": outcomes},
                "description": "the outcomes that are told; all by default",
            },
            "environments": {
                "type": "array", "items": {"type": "string"},
                "description": "the environments that are told of; all by default",
            },
        },
    })
}
