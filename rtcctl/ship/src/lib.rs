//! A release from plan to proof, as steps that a journal keeps.
//!
//! ```text
//! budget → plan → apply → build → push → deploy → prove → gate → notice
//!                                            └──── failed ────┴→ collect → roll back → notice
//! ```
//!
//! Invariants:
//! - [`Release::next`] follows from what was asked for and what the journal says, and from nothing else: a process that
//!   was killed anywhere is followed by one that does what is left.
//! - A step may be begun again: [`STEPS`] says of each how it is taken up, and why its effect is there once.
//! - One digest goes from the build to the pods; each hand-over asserts it.
//! - What a measure is judged by after a release is how it stood before, as the journal has it.
//! - Nothing is changed before the budget was looked at and the plan was judged; nothing is rolled back before its evidence was
//!   asked for.
//! - The exit code follows from the end alone.

mod budget;
mod drive;
mod failure;
mod given;
mod left;
mod release;
mod request;
mod standing;
mod step;
mod story;

pub use budget::{Budget, BudgetVerdict, Left, judge_budgets, unknown};
pub use drive::{Ledger, Steps, drive};
pub use failure::{After, EXITS, Failure, Lasting, after};
pub use given::{
    Answered, Applied, BudgetSeen, Built, Collected, Deployed, Digest, Gated, Given, Load, NoDigest, Noticed,
    Outputs, Planned, PlannedChange, Proved, Pushed, RolledBack,
};
pub use left::{Rest, what_is_left};
pub use release::{
    End, Fact, LOST, Mark, NOT_AGREED, Next, OTHER_DIGEST, OTHER_RUNS, Outcome, Release, UNKNOWN,
};
pub use request::{Budgeting, IfUnknown, OnFailure, Pinned, Proving, Refusal, Request};
pub use standing::{Compared, Figure, Stands, Stood, Worse, compare, stood};
pub use step::{How, Resume, Row, STEPS, Step};
pub use story::{Story, Word};

#[cfg(test)]
mod tests;
