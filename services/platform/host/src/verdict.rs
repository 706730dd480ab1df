//! What an oracle found: an invariant, how much was looked at, and what breaks it.

use serde::Serialize;

/// The result of checking one invariant over durable data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `I1` … `I13`, as in docs/INVARIANTS.md.
    pub id: &'static str,
    pub title: &'static str,
    /// How many rows, orders or messages were looked at.
    pub checked: u64,
    /// At most a handful, each naming what is wrong and where.
    pub violations: Vec<String>,
}

/// How many violations are named one by one.
pub const NAMED_MAX: usize = 20;

impl Verdict {
    pub fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title, checked: 0, violations: Vec::new() }
    }

    /// Looks at one thing; `problem` says what is wrong with it, if anything.
    pub fn look(&mut self, problem: Option<String>) {
        self.checked += 1;
        if let Some(problem) = problem
            && self.violations.len() < NAMED_MAX
        {
            self.violations.push(problem);
        }
    }

    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}
