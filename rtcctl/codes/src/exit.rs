//! The public exit codes: what a script may rely on.
//!
//! Invariants: every process exit of `rtcctl` is one of these; a number never changes its meaning.

use std::process::ExitCode;

/// An exit status that is documented here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exit(u8);

impl Exit {
    /// The number that the caller of the process sees.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether it is 0.
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.0)
    }
}

impl From<kernel::Kind> for Exit {
    /// The platform's nine kinds of failure decide the exit code of the command that met them.
    fn from(kind: kernel::Kind) -> Self {
        Exit(kind.exit_code())
    }
}

pub const DONE: Exit = Exit(0);
pub const INTERNAL: Exit = Exit(1);
pub const USAGE: Exit = Exit(2);
pub const CONFIGURATION: Exit = Exit(3);
pub const DENIED: Exit = Exit(4);
pub const NOT_FOUND: Exit = Exit(5);
pub const TIMED_OUT: Exit = Exit(6);
pub const REFUSED: Exit = Exit(7);
pub const CONFLICT: Exit = Exit(8);
pub const UNAVAILABLE: Exit = Exit(9);
pub const CHANGES: Exit = Exit(10);
pub const TERRAFORM_FAILED: Exit = Exit(20);
pub const BUILD_FAILED: Exit = Exit(21);
pub const PUSH_FAILED: Exit = Exit(22);
pub const ROLLOUT_FAILED: Exit = Exit(23);
pub const ROLLED_BACK: Exit = Exit(24);
pub const ROLLBACK_FAILED: Exit = Exit(25);
pub const PIPELINE_FAILED: Exit = Exit(26);
pub const PIPELINE_UNSTABLE: Exit = Exit(27);
pub const PIPELINE_ABORTED: Exit = Exit(28);
pub const QUEUE_GONE: Exit = Exit(29);
pub const BREACHED: Exit = Exit(30);
pub const INCONCLUSIVE: Exit = Exit(31);
pub const PARTIAL: Exit = Exit(40);
pub const INTERRUPTED: Exit = Exit(130);
pub const TERMINATED: Exit = Exit(143);

/// Every code with its meaning, in order: the table that `rtcctl explain exit-codes` prints.
pub const ALL: [(Exit, &str); 26] = [
    (DONE, "done, or nothing to do"),
    (INTERNAL, "internal: a defect, or a failure that no other code describes"),
    (USAGE, "usage: the command line or a request was wrong"),
    (CONFIGURATION, "configuration or a prerequisite is wrong or missing"),
    (DENIED, "authentication or authorization failed"),
    (NOT_FOUND, "there is no such thing"),
    (TIMED_OUT, "timed out; the state is unknown and the message says so"),
    (REFUSED, "refused by a guard, or not confirmed"),
    (CONFLICT, "conflict: a lock, a stale plan, an occupied port, a newer version"),
    (UNAVAILABLE, "not running or not reachable after retries; safe to repeat"),
    (CHANGES, "changes are present (only with --exit-code)"),
    (TERRAFORM_FAILED, "terraform failed"),
    (BUILD_FAILED, "an image build failed"),
    (PUSH_FAILED, "an image push failed"),
    (ROLLOUT_FAILED, "a rollout failed and was not rolled back"),
    (ROLLED_BACK, "a rollout failed and was rolled back"),
    (ROLLBACK_FAILED, "a rollback failed"),
    (PIPELINE_FAILED, "a pipeline failed"),
    (PIPELINE_UNSTABLE, "a pipeline ended unstable"),
    (PIPELINE_ABORTED, "a pipeline was aborted"),
    (QUEUE_GONE, "a queue item was cancelled or expired"),
    (BREACHED, "a threshold, an objective or an invariant is breached"),
    (INCONCLUSIVE, "inconclusive: no data, or too few samples"),
    (PARTIAL, "some of several targets failed"),
    (INTERRUPTED, "interrupted (Ctrl-C) after cleaning up"),
    (TERMINATED, "terminated (SIGTERM) after cleaning up"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_numbers_stand() {
        let numbers: Vec<u8> = ALL.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(
            numbers,
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 40, 130, 143]
        );
    }

    #[test]
    fn every_kind_of_failure_has_a_documented_exit_code() {
        for kind in kernel::Kind::ALL {
            let exit = Exit::from(kind);
            assert!(!exit.is_success());
            assert!(ALL.iter().any(|(known, _)| *known == exit), "{kind:?}");
        }
    }
}
