//! The plan that somebody agreed to, by its digest: kept in a file between two commands, and compared.
//!
//! Invariant: a plan that differs from the one that was agreed to in anything that it would change is not carried out.

use std::path::{Path, PathBuf};

use codes::{Error, Result};
use oci::Digest;
use terraform::plan::Plan;

use super::screen;
use crate::context::Context;

/// Where the digest of the plan is that was agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Digest(Digest),
    /// `@FILE`
    File(PathBuf),
}

/// As it is typed.
pub fn parse(text: &str) -> Result<Expected, String> {
    match text.strip_prefix('@') {
        Some("") => Err("@ wants the name of a file after it".to_owned()),
        Some(file) => Ok(Expected::File(file.into())),
        None => text.parse().map(Expected::Digest).map_err(|error: oci::Error| error.to_string()),
    }
}

/// Writes a digest where [`Expected::File`] finds it.
pub fn keep(digest: &str, file: &Path, context: &Context) -> Result<()> {
    let path = context.current_dir.join(file);
    let folder = path.parent().unwrap_or(&path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, format!("{digest}\n")))
        .map_err(|error| unusable(&format!("cannot write {}", path.display())).with_source(&error))
}

impl Expected {
    /// The digest itself; a file is read.
    pub fn digest(&self, context: &Context) -> Result<Digest> {
        let file = match self {
            Expected::Digest(digest) => return Ok(*digest),
            Expected::File(file) => context.current_dir.join(file),
        };
        let text = std::fs::read_to_string(&file)
            .map_err(|error| unusable(&format!("cannot read {}", file.display())).with_source(&error))?;
        text.trim().parse().map_err(|error: oci::Error| unusable(&format!("{}: {error}", file.display())))
    }
}

/// Refuses a plan that is not the one of this digest. One with nothing to do changes nothing that nobody agreed to: what was
/// agreed to is done already.
pub fn check(plan: &Plan, agreed: &Digest, env: &str) -> Result<()> {
    let digest = screen::digest(plan);
    if plan.is_empty() || digest == *agreed {
        return Ok(());
    }
    let message = format!("what would be applied to {env} is not the plan that was agreed to");
    Err(Error::new(&codes::INF023, message)
        .with_cause(format!("agreed to was {agreed}"))
        .with_cause(format!("now it is {digest}: {}", screen::sentence(&plan.counts(), plan.outputs.len())))
        .with_hint(format!(
            "rtcctl infra plan --env {env} shows it; if it is meant too, agree to its digest"
        )))
}

fn unusable(message: &str) -> Error {
    Error::new(&codes::INF024, message).with_hint(codes::INF024.action)
}
