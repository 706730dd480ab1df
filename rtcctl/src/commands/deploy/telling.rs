//! What a run says while it goes on: to people on a line, to programs with its code.
//!
//! Invariants: a state is said once, and so is each trouble; what others wrote is masked.

use ::deploy::run::{End, News};
use kubernetes::write::Change;
use rollout::code::Code as Wrong;
use rollout::evidence::masked_text;
use rollout::failure::Cause;
use rollout::lifecycle::{State, Step};
use rollout::verdict::Whole;
use serde_json::Value;

use crate::context::Context;
use crate::human;
use crate::progress::Task;

/// Says what goes on, a line a change of state.
pub(super) struct Teller<'a> {
    context: &'a Context,
    task: std::sync::Mutex<Option<Task>>,
    /// What was said of pods last: the same in other words is no change of state.
    pods: std::sync::Mutex<Option<Counts>>,
}

/// New pods available, wanted and old ones left, and everything that is wrong.
type Counts = (u32, u32, u32, Vec<Wrong>);

impl<'a> Teller<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, task: std::sync::Mutex::new(None), pods: std::sync::Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&Task)) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            act(task);
        }
    }

    fn replace(&self, next: Option<Task>) -> Option<Task> {
        std::mem::replace(&mut *self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner), next)
    }

    pub(super) fn tell(&self, news: &News<'_>) {
        match news {
            News::Begun(step) => {
                if let Some((name, what)) = doing(*step) {
                    self.replace(Some(self.context.progress.task(name, what)));
                }
            }
            News::Finished(_) => {
                if let Some(task) = self.replace(None) {
                    task.done("");
                }
            }
            News::Failed { cause, .. } => {
                if let Some(task) = self.replace(None) {
                    task.fail(cause.map_or_else(
                        || "failed".to_owned(),
                        |cause| format!("{} {}", cause.code, why(cause)),
                    ));
                }
            }
            News::Applied { id, change } => {
                let word = if *change == Change::Created { "made" } else { "changed" };
                self.with(|task| task.state(format!("{word} {id}")));
            }
            News::Spared(id) => {
                self.context
                    .progress
                    .write(&format!("{id} stays: it is not ours, or not the one that was meant\n"));
            }
            News::Deleted(id) => self.with(|task| task.state(format!("deleted {id}"))),
            News::Pods(whole) => {
                let progress = whole.verdict.progress();
                let mut codes: Vec<Wrong> = whole.verdict.causes().map(|cause| cause.code).collect();
                codes.sort_unstable();
                codes.dedup();
                let counts = (progress.available, progress.desired, progress.old_left, codes.clone());
                let said = self
                    .pods
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .replace(counts.clone());
                let known = said.as_ref().map_or(&[][..], |(.., codes)| codes.as_slice());
                for cause in whole.verdict.causes().filter(|cause| !known.contains(&cause.code)) {
                    // Of several with one code the first stands for all.
                    if let Ok(at) = codes.binary_search(&cause.code) {
                        codes.remove(at);
                        self.context.progress.event("trouble", &trouble(cause));
                    }
                }
                self.with(|task| {
                    task.position(u64::from(progress.available), u64::from(progress.desired));
                    match said.as_ref() == Some(&counts) {
                        true => task.show(pods(whole)),
                        false => task.state(pods(whole)),
                    }
                });
            }
            News::Baking { left_s } => {
                let left = human::duration(std::time::Duration::from_secs(*left_s));
                self.with(|task| task.state(format!("it has to stand for {left}")));
            }
            News::Gate { says } => self.with(|task| task.state((*says).to_owned())),
            News::Canary(state) => self.with(|task| task.state(format!("second version: {}", weight(state)))),
            News::Evidence { file } => self.with(|task| task.show(format!("saved {}", file.display()))),
        }
    }

    pub(super) fn finish(&self, end: End) {
        if let Some(task) = self.replace(None) {
            match end {
                End::Over { state: State::Done, .. } => task.done(""),
                End::Over { .. } => task.fail("it is over"),
                End::Paused { .. } => task.done("it stands still"),
            }
        }
    }
}

fn weight(state: &rollout::canary::State) -> String {
    use rollout::canary::State as C;
    match state {
        C::Planned => "planned".to_owned(),
        C::Shifting { step } => format!("step {} is being set", step + 1),
        C::Holding { step, .. } => format!("step {} is being judged", step + 1),
        C::Paused { step, .. } => format!("stands still at step {}", step + 1),
        C::Promoting | C::Promoted => "the new version takes over".to_owned(),
        C::Aborting { .. } | C::Aborted { .. } => "it is taken back".to_owned(),
    }
}

/// What is under way, in words.
fn doing(step: Step) -> Option<(&'static str, &'static str)> {
    match step {
        Step::Record => Some(("record", "looking at what runs")),
        Step::Migrate => Some(("migrate", "settings, rights and the migration")),
        Step::Apply => Some(("apply", "applying what serves")),
        Step::Watch => Some(("watch", "waiting for every pod")),
        Step::Bake => Some(("bake", "letting it stand")),
        Step::Gate => Some(("gate", "asking the metrics")),
        Step::Collect => Some(("collect", "saving evidence")),
        Step::RollBack => Some(("roll back", "bringing back what ran before")),
        Step::End => None,
    }
}

/// One line about all pods.
fn pods(whole: &Whole) -> String {
    let progress = whole.verdict.progress();
    let counts = format!(
        "{} of {} new pods available, {} old left",
        progress.available, progress.desired, progress.old_left
    );
    let mut text = counts;
    let mut told: Vec<Wrong> = Vec::new();
    for cause in whole.verdict.causes() {
        if !told.contains(&cause.code) {
            let sign = if told.is_empty() { ": " } else { "; " };
            text.push_str(&format!("{sign}{} {}", cause.code, why(cause)));
            told.push(cause.code);
        }
    }
    text
}

/// Why it is wrong, as it may be shown: what others wrote is in it.
pub(super) fn why(cause: &Cause) -> String {
    masked_text(&cause.why)
}

/// Of something that is wrong, for programs that follow.
fn trouble(cause: &Cause) -> [(&'static str, Value); 5] {
    let about = cause.about.first();
    [
        ("code", cause.code.id().into()),
        ("final", cause.is_final().into()),
        ("why", why(cause).into()),
        ("about", about.map_or(Value::Null, |about| format!("{}/{}", about.kind.name(), about.name).into())),
        ("befell", cause.about.len().into()),
    ]
}
