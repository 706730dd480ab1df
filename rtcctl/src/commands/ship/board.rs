//! One screen of a release: a line a step on a terminal, a line a change of state elsewhere.
//!
//! Invariant: a line a step, never wider than the screen, says everything; what a step does in detail stands below them.

use std::time::Duration;

use ship::{Mark, Release, Step};
use tokio::time::Instant;

use crate::human;
use crate::progress::{Line, Reporter, Task};

/// What stands before the words of a line: mark, name, time.
const NAME: usize = 9;
const TIME: usize = 11;

pub struct Board<'a> {
    progress: &'a Reporter,
    /// Of the screen, where there is one.
    width: Option<usize>,
    rows: Vec<Row>,
    /// Where nothing can be redrawn, the step that is under way.
    task: Option<Task>,
    under_way: Option<(Step, Instant, &'static str)>,
}

/// One step on the screen.
struct Row {
    step: Step,
    words: String,
    line: Line,
}

impl<'a> Board<'a> {
    pub fn new(progress: &'a Reporter, width: Option<usize>, release: &Release) -> Self {
        let mut board = Self { progress, width, rows: Vec::new(), task: None, under_way: None };
        for step in Step::WAY {
            let words = match (release.mark(*step), release.request.skips(*step)) {
                (Some(Mark::Finished), _) => text("✓", *step, None, "done before"),
                (_, Some(reason)) => text("–", *step, None, &format!("left out: {reason}")),
                _ => text("·", *step, None, ""),
            };
            board.show(*step, &words);
        }
        board
    }

    fn show(&mut self, step: Step, words: &str) {
        let words = fitted(words, self.width);
        match self.rows.iter_mut().find(|row| row.step == step) {
            Some(row) => {
                row.line.show(&words);
                row.words = words;
            }
            // What follows a failure has no line before it happens. Notices come last, whatever comes between.
            None => {
                let line = self.progress.line();
                line.show(&words);
                self.rows.push(Row { step, words, line });
            }
        }
    }

    /// What the screen shows.
    #[cfg(test)]
    fn screen(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", row.words.trim_end())).collect()
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
            let took = Some(began.elapsed()).filter(|took| took.as_secs() > 0);
            self.show(step, &text("▸", step, took, what));
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
        self.show(step, &text(mark, step, Some(took), says));
        if self.progress.is_live() {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.progress.event(
                event,
                &[("task", step.name().into()), ("message", says.into()), ("elapsed_ms", took_ms.into())],
            );
        }
    }

    pub fn skipped(&mut self, step: Step, reason: &str) {
        self.show(step, &text("–", step, None, &format!("left out: {reason}")));
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

/// What does not fit ends in a sign of it.
fn fitted(words: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if words.chars().count() > width => {
            words.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => words.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kernel::{ManualClock, Timestamp};
    use ship::{BudgetSeen, Fact, Failure, Given, Request};

    use super::*;
    use crate::io::{Captured, Sink};
    use crate::progress::{ProgressMode, Settings, Verbosity};

    fn reporter() -> Reporter {
        let settings = Settings {
            mode: ProgressMode::None,
            verbosity: Verbosity::Normal,
            colour: false,
            live_terminal: false,
            events: None,
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        Reporter::new(settings, Sink::new(Captured::default()), clock)
    }

    fn released() -> Release {
        let skip = [Step::Plan, Step::Apply].into();
        let mut release = Release::new(Request::new("dev", "rtcd", None, &skip).unwrap());
        release.take(Fact::Begun { step: Step::Budget, inputs: String::new() });
        release.take(Fact::Finished { given: Given::Budget(BudgetSeen::default()) });
        release
    }

    const SENT: &str = "sha256:1c9d4f2ab03e sent";
    const BREACHED: &str =
        "errors: {service=\"orders\"} is 0.08, and at most 0.01 is allowed; before the release it was 0.002";

    /// A release that was resumed, and fails at its gate.
    fn played(width: usize) -> String {
        let reporter = reporter();
        let mut board = Board::new(&reporter, Some(width), &released());
        for (step, seconds, says) in [
            (Step::Build, 3, "rtcd sha256:1c9d4f2ab03e"),
            (Step::Push, 12, SENT),
            (Step::Deploy, 95, "sha256:1c9d4f2ab03e, revision 7, 100.000 % available"),
            (Step::Prove, 1, "6 pods run sha256:1c9d4f2ab03e, 100.000 % available"),
        ] {
            board.begun(step);
            board.finished(step, Duration::from_secs(seconds), says);
        }
        board.begun(Step::Gate);
        let failure = Failure::new(Step::Gate, 30, "SHP007", BREACHED);
        board.failed(Step::Gate, Duration::from_secs(121), &failure.message);
        board.begun(Step::Collect);
        board.finished(Step::Collect, Duration::from_secs(2), "14 files kept");
        board.under_way = Some((Step::RollBack, Instant::now(), doing(Step::RollBack)));
        board.tick();
        board.screen()
    }

    #[tokio::test(start_paused = true)]
    async fn at_eighty_columns_every_step_is_one_line_and_what_is_cut_says_so() {
        let screen = played(80);
        assert_eq!(
            screen,
            "\
✓ budget                done before
– plan                  left out: asked for
– apply                 left out: asked for
✓ build            3 s  rtcd sha256:1c9d4f2ab03e
✓ push            12 s  sha256:1c9d4f2ab03e sent
✓ deploy    1 min 35 s  sha256:1c9d4f2ab03e, revision 7, 100.000 % available
✓ prove            1 s  6 pods run sha256:1c9d4f2ab03e, 100.000 % available
✗ gate       2 min 1 s  errors: {service=\"orders\"} is 0.08, and at most 0.01 is…
· notice
✓ collect          2 s  14 files kept
▸ rollback              bringing back what ran before
"
        );
        assert!(screen.lines().count() <= 24 && screen.lines().all(|line| line.chars().count() <= 80));
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_wide_screen_nothing_is_cut() {
        let screen = played(200);
        assert!(screen.contains(BREACHED) && !screen.contains('…'), "{screen}");
    }
}
