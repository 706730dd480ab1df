//! Codes of what can go wrong with a rollout: those of the crate that recognises them.
//!
//! Invariant: none is left out and none is made up here; a test of the whole list sees to it.

use std::sync::LazyLock;

use super::Code;
use crate::exit;

static ALL: LazyLock<Vec<(rollout::code::Code, Code)>> =
    LazyLock::new(|| rollout::code::Code::ALL.iter().map(|code| (*code, documented(*code))).collect());

fn documented(code: rollout::code::Code) -> Code {
    use rollout::code::Code as C;
    Code {
        id: code.id(),
        exit: match code {
            C::OutOfTime => exit::TIMED_OUT,
            C::Superseded => exit::CONFLICT,
            _ => exit::ROLLOUT_FAILED,
        },
        summary: code.summary(),
        cause: code.cause(),
        action: code.action(),
    }
}

/// Every code of a rollout.
pub(super) fn all() -> impl Iterator<Item = &'static Code> {
    ALL.iter().map(|(_, documented)| documented)
}

/// The documentation of a code.
pub fn of_rollout(code: rollout::code::Code) -> &'static Code {
    let found = ALL.iter().find(|(known, _)| *known == code);
    found.map_or(&super::INT001, |(_, documented)| documented)
}
