//! `[images.NAME]`: what an image is made of, and the repository that holds it.

use std::collections::BTreeMap;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::file::Reader;
use crate::codes;
use crate::error::{Error, Result};

const KEYS: [&str; 18] = [
    "about",
    "base",
    "binaries",
    "command",
    "compression",
    "entrypoint",
    "environment",
    "folders",
    "labels",
    "package",
    "path",
    "ports",
    "repository",
    "source",
    "stop_signal",
    "user",
    "workdir",
    "zones",
];
const REPOSITORY_KEYS: [&str; 5] = ["immutable", "kept_releases", "name", "scan_on_push", "untagged_days"];

/// An image as `rtc.toml` describes it. Paths are relative to that file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    #[serde(default)]
    pub about: String,
    /// One program a platform.
    pub binaries: Vec<String>,
    /// The package in `Cargo.lock` whose dependencies are in the binary; the image's name where it is empty.
    #[serde(default)]
    pub package: String,
    /// `none`, or `registry/repository@sha256:…`.
    #[serde(default = "none")]
    pub base: String,
    /// Where the program is in the image; `/usr/local/bin/NAME` where it is empty.
    #[serde(default)]
    pub path: String,
    /// What is started; the program where it is empty.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    #[serde(default)]
    pub command: Vec<String>,
    /// Who the program runs as, in numbers; group and user are the same.
    #[serde(default = "nobody")]
    pub user: u32,
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Folders that the user may write.
    #[serde(default)]
    pub folders: Vec<String>,
    #[serde(default)]
    pub workdir: String,
    /// The time zones that the image knows; all where it is empty.
    #[serde(default)]
    pub zones: Vec<String>,
    #[serde(default)]
    pub stop_signal: String,
    /// Where the source is published, for the annotation.
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub compression: Compression,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub repository: RepositoryEntry,
    /// Where it stands, for whoever finds fault with it.
    #[serde(skip)]
    pub place: String,
    /// The folder that its paths are relative to.
    #[serde(skip)]
    pub folder: std::path::PathBuf,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Gzip,
    Zstd,
}

/// The repository of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryEntry {
    /// Its name in the registry; the environment's `image_prefix`, a slash and the image's name where it is empty.
    pub name: String,
    pub immutable: bool,
    pub scan_on_push: bool,
    /// So many images stay, the last pushed first.
    pub kept_releases: u32,
    /// What has no tag goes after this many days.
    pub untagged_days: u32,
}

impl Default for RepositoryEntry {
    /// As `terraform/modules/ecr` makes it.
    fn default() -> Self {
        Self { name: String::new(), immutable: true, scan_on_push: true, kept_releases: 50, untagged_days: 7 }
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.starts_with(is_letter)
        && name.ends_with(is_letter)
        && name.chars().all(|letter| is_letter(letter) || matches!(letter, '-' | '_' | '.'))
}

fn none() -> String {
    "none".to_owned()
}

/// A number that no system gives to anybody.
fn nobody() -> u32 {
    65_532
}

impl Reader<'_> {
    /// The table `[images]`, in the order of the file.
    pub(super) fn images(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<(String, ImageEntry)>> {
        let mut images = Vec::new();
        for (name, value) in self.table(value)? {
            for (key, value) in self.table(value)? {
                if !KEYS.contains(&key.get_ref().as_ref()) {
                    return Err(self.unknown(key.get_ref(), key, &KEYS));
                }
                if key.get_ref() == "repository" {
                    for (key, _) in self.table(value)? {
                        if !REPOSITORY_KEYS.contains(&key.get_ref().as_ref()) {
                            return Err(self.unknown(key.get_ref(), key, &REPOSITORY_KEYS));
                        }
                    }
                }
            }
            let mut entry = ImageEntry::deserialize(value.clone().into_deserializer()).map_err(|error| {
                let at = error.span().map_or(name.span().start, |span| span.start);
                Error::new(&codes::CFG004, format!("{}: {}", self.place(at), error.message()))
            })?;
            entry.place = self.place(name.span().start);
            if !is_name(name.get_ref()) {
                let problem = "the name of an image is part of a repository and of a folder";
                let message = format!("{}: {:?}: {problem}", entry.place, name.get_ref());
                return Err(Error::new(&codes::CFG004, message).with_hint("use a to z, 0 to 9, - _ and ."));
            }
            let problem = match &entry {
                ImageEntry { user: 0, .. } => Some("user = 0 is root, which no image of ours runs as"),
                ImageEntry { repository: RepositoryEntry { kept_releases: ..5, .. }, .. } => {
                    Some("kept_releases: at least five images stay, for a rollback needs them")
                }
                ImageEntry { repository: RepositoryEntry { untagged_days: 0, .. }, .. } => {
                    Some("untagged_days: at least one day, which a push may take")
                }
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(Error::new(
                    &codes::CFG004,
                    format!("{}: images.{}: {problem}", entry.place, name.get_ref()),
                ));
            }
            entry.folder = self.folder();
            images.push((name.span().start, name.get_ref().to_string(), entry));
        }
        images.sort_by_key(|(position, ..)| *position);
        Ok(images.into_iter().map(|(_, name, entry)| (name, entry)).collect())
    }
}

pub(super) fn json_schema() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let texts = |about: &str| json!({"type": "array", "items": {"type": "string"}, "description": about});
    let map = |about: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": about});
    let flag = |about: &str| json!({"type": "boolean", "default": true, "description": about});
    let repository = RepositoryEntry::default();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["binaries"],
        "properties": {
            "about": text("what is in the image"),
            "binaries": texts("the program, once for each platform"),
            "package": text("the package of Cargo.lock that the program is built from; the image's name by default"),
            "base": {
                "type": "string", "default": "none",
                "description": "registry/repository@sha256:DIGEST, or none: the libraries that the program needs",
            },
            "path": text("where the program is in the image; /usr/local/bin/NAME by default"),
            "entrypoint": texts("what is started; the program by default"),
            "command": texts("its arguments"),
            "user": {
                "type": "integer", "minimum": 1, "maximum": u32::MAX, "default": nobody(),
                "description": "the number of the user and of the group that it runs as",
            },
            "ports": {
                "type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535},
                "description": "the TCP ports that it listens on",
            },
            "folders": texts("folders that the user may write"),
            "workdir": text("the folder that it is started in"),
            "zones": texts("the time zones that the image knows; all by default"),
            "stop_signal": text("what asks it to stop; SIGTERM by default"),
            "source": text("where the source is published"),
            "compression": {"enum": ["gzip", "zstd"], "default": "gzip", "description": "how layers are packed"},
            "environment": map("variables of the image"),
            "labels": map("labels of the image"),
            "repository": {
                "type": "object",
                "additionalProperties": false,
                "description": "how the repository is made where there is none",
                "properties": {
                    "name": text("its name; the environment's image_prefix/NAME by default"),
                    "immutable": flag("whether a tag stays where it is"),
                    "scan_on_push": flag("whether each push is scanned"),
                    "kept_releases": {
                        "type": "integer", "minimum": 5, "default": repository.kept_releases,
                        "description": "how many images stay, the last pushed first",
                    },
                    "untagged_days": {
                        "type": "integer", "minimum": 1, "default": repository.untagged_days,
                        "description": "after how many days an image without a tag goes",
                    },
                },
            },
        },
    })
}
