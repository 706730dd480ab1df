//! Terraform under way: its lines as progress, the operator's wish to stop as one interrupt.

use std::collections::HashMap;
use std::convert::Infallible;

use codes::{Error, Result};
use rustix::process::{Pid, Signal as Unix, kill_process};
use terraform::process::{Ended, Identity, Run, Stop};
use terraform::stream::{Event, Line};
use terraform::watch::Watch;
use tokio::sync::mpsc;

use super::screen::brief;
use crate::context::Context;
use crate::progress::{Reporter, Task};

/// What a second Ctrl-C costs.
const COST: &str = "terraform was told to end at once: what it was creating may exist without being in the state, and its \
                    lock may be left (rtcctl infra locks)";

/// Follows a run to its end. The first wish to stop is passed on as one interrupt, after which Terraform ends by itself.
pub async fn follow(context: &Context, run: Run, each: impl FnMut(Line)) -> Result<Ended> {
    let (tell, mut stops) = mpsc::channel(1);
    if let Some(identity) = run.identity() {
        context.interrupts.cost_of_leaving(COST);
        context.interrupts.before_leaving(move || interrupt(identity));
    }
    let asking = async {
        context.interrupts.wait().await;
        context.progress.say(
            "stopping: terraform finishes what is under way and releases its lock; once more to leave now",
        );
        let _ = tell.send(Stop).await;
        std::future::pending::<Infallible>().await
    };
    let ended = tokio::select! {
        ended = run.follow(&mut stops, each) => ended,
        never = asking => match never {},
    };
    context.interrupts.nothing_before_leaving();
    ended.map_err(|error| Error::internal("cannot follow terraform, which may go on").with_source(&error))
}

fn interrupt(identity: Identity) {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw);
    if let (Some(pid), true) = (pid, identity.is_alive()) {
        let _ = kill_process(pid, Unix::INT);
    }
}

/// Lines of an apply as tasks: one for all, and one a resource that is under way.
pub struct Display<'a> {
    progress: &'a Reporter,
    /// Of the terminal, where there is one.
    width: Option<usize>,
    whole: Task,
    open: HashMap<String, Task>,
}

/// What a bar has beside the address.
const BESIDE_ADDRESS: usize = 24;
/// Longer ids are names of the resource once more.
const ID_LETTERS_MAX: usize = 32;

impl<'a> Display<'a> {
    pub fn new(progress: &'a Reporter, what: &str, width: Option<usize>) -> Self {
        Self { progress, width, whole: progress.task("apply", what), open: HashMap::new() }
    }

    /// Shows what an event has changed in `watch`, which has seen it.
    pub fn saw(&mut self, event: &Event, watch: &Watch) {
        match event {
            Event::ApplyStart { resource, action } => {
                let doing = self.named(doing(action), &resource.address);
                let task = self.progress.task(resource.address.clone(), doing);
                self.open.insert(resource.address.clone(), task);
            }
            Event::ApplyProgress { resource, action, elapsed_s } => {
                if let Some(task) = self.open.get(&resource.address) {
                    let doing = format!("{} {elapsed_s} s", doing(action));
                    task.show(self.named(&doing, &resource.address));
                }
            }
            Event::ApplyComplete { resource, action, elapsed_s, id } => {
                if let Some(task) = self.open.remove(&resource.address) {
                    let id = id.as_deref().filter(|id| id.chars().count() <= ID_LETTERS_MAX);
                    let id = id.map_or_else(String::new, |id| format!(" {id}"));
                    let done = format!("{}{id} in {elapsed_s} s", done(action));
                    task.done(self.named(&done, &resource.address));
                }
            }
            Event::ApplyErrored { resource, action, elapsed_s } => {
                if let Some(task) = self.open.remove(&resource.address) {
                    let failed = format!("could not {action} ({elapsed_s} s)");
                    task.fail(self.named(&failed, &resource.address));
                }
            }
            _ => return,
        }
        let tally = watch.tally();
        self.whole.position((tally.done + tally.failed) as u64, tally.total() as u64);
    }

    /// A line of a log begins with the address already; of a bar, the end of the address tells most.
    fn named(&self, what: &str, address: &str) -> String {
        if !self.progress.has_bars() {
            return what.to_owned();
        }
        let room = self.width.unwrap_or(80).saturating_sub(BESIDE_ADDRESS).max(20);
        format!("{what} · {}", ending(brief(address), room))
    }

    pub fn done(self, message: String) {
        self.whole.done(message);
    }

    pub fn fail(self, message: String) {
        self.whole.fail(message);
    }
}

/// The end of a text that is too long.
fn ending(text: &str, letters: usize) -> String {
    let count = text.chars().count();
    if count <= letters {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(count + 1 - letters)).collect()
}

fn doing(action: &str) -> &str {
    match action {
        "create" => "creating",
        "update" => "updating",
        "delete" => "deleting",
        "read" => "reading",
        other => other,
    }
}

fn done(action: &str) -> &str {
    match action {
        "create" => "created",
        "update" => "updated",
        "delete" => "deleted",
        other => other,
    }
}

/// How far an apply got, in words.
pub fn how_far(watch: &Watch) -> String {
    let tally = watch.tally();
    let mut text = format!("{} of {} resources done", tally.done, tally.total());
    if tally.failed > 0 {
        text.push_str(&format!(", {} failed", tally.failed));
    }
    let unknown: Vec<&str> = watch.under_way_now().map(|(address, _)| address).collect();
    if !unknown.is_empty() {
        text.push_str(&format!(", begun and not ended: {}", unknown.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_address_keeps_its_end() {
        assert_eq!(ending("network.aws_eip.a[\"zone\"]", 12), "…p.a[\"zone\"]");
        assert_eq!(ending("aws_eip.a", 9), "aws_eip.a");
    }
}
