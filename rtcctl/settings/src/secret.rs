//! Secrets by reference: `env:NAME`, `file:PATH`, `cmd:COMMAND`.
//!
//! Invariants: a secret is never shown, not even by `Debug`, nor what signs in within an address; a text that is not a
//! reference is refused without being repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use codes::{Error, Result};

/// A secret's text. It is only read where it is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that did not come by reference, such as a token that was given for a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
    Command(&'a str),
}

fn parse(text: &str) -> Option<Reference<'_>> {
    match text.split_once(':')? {
        (_, "") => None,
        ("env", name) => Some(Reference::Variable(name)),
        ("file", path) => Some(Reference::File(path)),
        ("cmd", command) => Some(Reference::Command(command)),
        _ => None,
    }
}

pub(super) fn check(text: &str) -> Result<(), String> {
    match parse(text) {
        Some(_) => Ok(()),
        None => Err("a secret is given by reference: env:NAME, file:PATH or cmd:COMMAND".to_owned()),
    }
}

/// Fetches what a reference names. Paths and commands are relative to `base`.
pub(super) fn resolve(text: &str, base: &Path, variables: &BTreeMap<String, String>) -> Result<Secret> {
    let missing = |what: String| Error::new(&codes::CFG008, what);
    let reference = parse(text).ok_or_else(|| {
        Error::new(&codes::CFG007, "a secret is given by reference: env:NAME, file:PATH or cmd:COMMAND")
    })?;
    let secret = match reference {
        Reference::Variable(name) => {
            variables.get(name).cloned().ok_or_else(|| missing(format!("the variable {name} is not set")))?
        }
        Reference::File(path) => {
            let path = base.join(path);
            std::fs::read_to_string(&path)
                .map_err(|error| missing(format!("cannot read {}", path.display())).with_source(&error))?
        }
        Reference::Command(command) => {
            let output = Command::new("sh")
                .args(["-c", command])
                .current_dir(base)
                .stdin(std::process::Stdio::null())
                .output()
                .map_err(|error| {
                    missing("the command of the reference cannot be started".to_owned()).with_source(&error)
                })?;
            if !output.status.success() {
                return Err(missing(format!("the command of the reference ended with {}", output.status)));
            }
            String::from_utf8(output.stdout).map_err(|_| {
                missing("the command of the reference answered something that is not text".to_owned())
            })?
        }
    };
    match secret.trim_end_matches(['\n', '\r']) {
        "" => Err(missing("what the reference names is empty".to_owned())),
        secret => Ok(Secret(secret.to_owned())),
    }
}

/// An address without what signs in there: `http://user:word@host/` is `http://***@host/`. It is for people to read; a text
/// that is no address is shown as far as it cannot hold a secret.
pub fn masked(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) if !address.contains("://") => {
            masking::masked_address(&format!("{}@{host}", masking::MASK))
        }
        _ => nameless(&masking::masked_address(address)),
    }
}

/// Who signs in is nobody's business either.
fn nameless(masked: &str) -> String {
    let login = format!(":{}@", masking::MASK);
    match masked.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once(&login)?))) {
        Some((scheme, (name, host))) if !name.contains(['/', '?', '#']) => {
            format!("{scheme}://{}@{host}", masking::MASK)
        }
        _ => masked.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_signs_in() {
        let table = [
            ("http://ops:hunter2@prom:9090/base", "http://***@prom:9090/base"),
            ("https://hunter2@prom/", "https://***@prom/"),
            ("https://ops:hun@ter2@prom/x?y=a@b", "https://***@prom/x?y=a@b"),
            ("https://ops:hunter/2@prom", "https://***@prom"),
            ("http://:hunter2@[::1]:9090", "http://***@[::1]:9090"),
            ("ops:hunter2@prom:9090", "***@prom:9090"),
            ("http://prom:9090/a?b#c", "http://prom:9090/a?b#c"),
            ("https://prom/?token=hunter2&x=1", "https://prom/?token=***&x=1"),
            ("https://prom/xoxb-hunter2-hunter2", "https://prom/***"),
            ("ftp://ops:hunter2@prom", "ftp://***@prom"),
            ("prom", "prom"),
        ];
        for (address, shown) in table {
            assert_eq!(masked(address), shown);
        }
    }
}
