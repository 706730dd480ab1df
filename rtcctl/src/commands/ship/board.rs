//! One screen of a release: a line a step on a terminal, a line a change of state elsewhere.
//!
//! Invariant: eleven lines of at most 80 columns say everything; what a step does in detail stands below them.

use std::time::Duration;

use ship::{Mark, Release, Step};
use tokio::time::Instant;

use crate::context::Context;
use crate::human;
use crate::progress::{Line, Reporter, Task};

/// What stands before the words of a line: mark, name, time.
const NAME: usize = 9;
const TIME: usize = 9;

pub struct Board<'a> {
    progress: &'a Reporter,
    lines: Vec<(Step, Line)>,
    /// Where nothing can be redrawn, the step that is under way.
    task: Option<Task>,
    under_way: Option<(Step, Instant, &'static str)>,
}

impl<'a> Board<'a> {
    pub fn new(context: &'a Context, release: &Release) -> Self {
        let progress = &context.progress;
        let steps = Step::FORWARD.into_iter().chain([Step::Notice]);
        let lines: Vec<(Step, Line)> = match progress.is_live() {
            true => steps.map(|step| (step, progress.line())).collect(),
            false => Vec::new(),
        };
        let board = Self { progress, lines, task: None, under_way: None };
        for (step, line) in &board.lines {
            let text = match release.mark(*step) {
                Some(Mark::Finished) => text("✓", *step, None, "done before"),
                Some(Mark::Skipped) => {
                    text("–", *step, None, release.request.skips(*step).unwrap_or_default())
                }
                _ => match release.request.skips(*step) {
                    Some(reason) => text("–", *step, None, reason),
                    None => text("·", *step, None, ""),
                },
            };
            line.show(text);
        }
        board
    }

    fn show(&mut self, step: Step, words: String) {
        if !self.progress.is_live() {
            return;
        }
        // What follows a failure has no line before it happens.
        if !self.lines.iter().any(|(known, _)| *known == step) {
            self.lines.push((step, self.progress.line()));
        }
        if let Some((_, line)) = self.lines.iter().find(|(known, _)| *known == step) {
            line.show(words);
        }
    }

    pub fn begun(&mut self, step: Step) {
        let what = doing(step);
        self.under_way = Some((step, Instant::now(), what));
        if self.progress.is_live() {
            self.progress.event("task_started", &[("task", step.name().into()), ("message", what.into())]);
        } else {
            self.task = Some(self.progress.task(step.name(), what));
        }
        self.tick();
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        if let Some((step, began, what)) = self.under_way {
            self.show(step, text("▸", step, Some(began.elapsed()), what));
        }
    }

    pub fn finished(&mut self, step: Step, took: Duration, says: &str) {
        self.over(step, took, "✓", "task_done", says);
        if let Some(task) = self.task.take() {
            task.done(format!("{says} in {}", human::duration(took)));
        }
    }

    pub fn failed(&mut self, step: Step, took: Duration, says: &str) {
        self.over(step, took, "✗", "task_failed", says);
        if let Some(task) = self.task.take() {
            task.fail(says.to_owned());
        }
    }

    fn over(&mut self, step: Step, took: Duration, mark: &str, event: &str, says: &str) {
        self.under_way = None;
        self.show(step, text(mark, step, Some(took), says));
        if self.progress.is_live() {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.progress.event(
                event,
                &[("task", step.name().into()), ("message", says.into()), ("elapsed_ms", took_ms.into())],
            );
        }
    }

    pub fn skipped(&mut self, step: Step, reason: &str) {
        self.show(step, text("–", step, None, reason));
        if !self.progress.is_live() {
            self.progress.task(step.name(), format!("left out: {reason}")).done(String::new());
        }
    }
}

/// One line.
pub fn text(mark: &str, step: Step, took: Option<Duration>, says: &str) -> String {
    let took = took.map(human::duration).unwrap_or_default();
    format!("{mark} {:<NAME$}{took:>TIME$}  {says}", step.name())
}

/// What is under way.
fn doing(step: Step) -> &'static str {
    match step {
        Step::Budget => "looking at the error budgets",
        Step::Plan => "planning the infrastructure",
        Step::Apply => "changing the infrastructure",
        Step::Build => "building the image",
        Step::Push => "sending the image",
        Step::Deploy => "bringing it into the cluster",
        Step::Prove => "looking at what runs",
        Step::Gate => "measuring",
        Step::Collect => "keeping evidence",
        Step::RollBack => "bringing back what ran before",
        Step::Notice => "telling those who have to know",
    }
}
