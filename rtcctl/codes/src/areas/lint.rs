//! Codes of what makes a rollout lose requests: those of the crate that finds it.
//!
//! Invariant: none is left out and none is made up here.

use std::sync::LazyLock;

use manifests::lint::{MEANINGS, Severity};

use super::Code;
use crate::exit;

static ALL: LazyLock<Vec<Code>> = LazyLock::new(|| {
    let of = |meaning: &'static manifests::lint::Meaning| Code {
        id: meaning.id,
        exit: match meaning.severity {
            Severity::Error => exit::BREACHED,
            Severity::Warning => exit::DONE,
        },
        summary: meaning.title,
        cause: "found by looking at all manifests together; docs/MANIFESTS.md says why it matters",
        action: meaning.hint,
    };
    MEANINGS.iter().map(of).collect()
});

pub(super) fn all() -> impl Iterator<Item = &'static Code> {
    ALL.iter()
}

/// The documentation of a finding of `rtcctl deploy lint`.
pub fn of_lint(id: &str) -> &'static Code {
    ALL.iter().find(|code| code.id == id).unwrap_or(&super::INT001)
}
