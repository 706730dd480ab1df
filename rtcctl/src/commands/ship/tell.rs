//! The notice of a release: what changed, by whom, which digest, how long, where to look.
//!
//! Invariant: that somebody cannot be told is a finding, and nothing else.

use std::time::Duration;

use notices::{Link, Notice, Sent};
use ship::{Noticed, Step, Story, Word};

use crate::context::Context;
use crate::notifying;
use crate::output::Finding;

/// A release in the form of notices.
pub fn notice(story: &Story, run: &str, took: Duration, context: &Context) -> Notice {
    let outcome = match story.word {
        Word::Released => notices::Outcome::Released,
        Word::RolledBack => notices::Outcome::RolledBack,
        Word::Refused => notices::Outcome::Refused,
        Word::Stopped if story.exit == 31 => notices::Outcome::Inconclusive,
        Word::Stopped => notices::Outcome::Stopped,
        Word::Failed | Word::RollbackFailed => notices::Outcome::Failed,
    };
    let mut notice = Notice::new(outcome, &story.environment, "ship");
    let tells = |step: &Step| !matches!(step, Step::Budget | Step::Collect);
    notice.changed =
        story.done.iter().filter(|(step, _)| tells(step)).map(|(step, says)| line(*step, says)).collect();
    if let Some(revision) = &story.revision {
        notice.changed.insert(0, format!("source: {revision}"));
    }
    for (step, reason) in &story.skipped {
        notice.changed.push(format!("{}: left out, {reason}", step.name()));
    }
    notice.by = context.config.operator();
    notice.run = Some(run.to_owned());
    notice.digest.clone_from(&story.digest);
    notice.took = Some(took);
    notice.why = story.failure.as_ref().map(|failure| {
        let mut why = format!("{} in {}: {}", failure.code, failure.step.name(), failure.message);
        if let Some(cause) = failure.causes.first() {
            why.push_str(&format!(" ({cause})"));
        }
        if let Some(problem) = &story.problem {
            why.push_str(&format!("; the way back: {} {}", problem.code, problem.message));
        }
        why
    });
    if let Some(url) = context.config.text("api_url") {
        notice.links.push(Link::new("the platform", url));
    }
    // A pipeline says where it is looked at.
    for (label, variable) in [("the build", "BUILD_URL"), ("the build", "CODEBUILD_BUILD_URL")] {
        if let Some(url) = context.config.variable(variable) {
            notice.links.push(Link::new(label, url));
        }
    }
    notice.at = context.clock.now().to_string();
    notice
}

fn line(step: Step, says: &str) -> String {
    let what = match step {
        Step::Plan => "planned",
        Step::Apply => "infrastructure",
        Step::Build => "image",
        Step::Push => "registry",
        Step::Deploy => "deployed",
        Step::Prove => "running",
        Step::Gate => "measured",
        Step::RollBack => "rolled back",
        Step::Budget | Step::Collect | Step::Notice => step.name(),
    };
    format!("{what}: {says}")
}

/// Tells everybody whom it concerns.
pub async fn tell(notice: &Notice, context: &Context) -> (Noticed, Vec<Finding>) {
    let told = notifying::tell(notice, context).await;
    let mut noticed = Noticed::default();
    for delivery in &told.deliveries {
        match &delivery.sent {
            Sent::Delivered => noticed.told.push(delivery.target.clone()),
            Sent::Failed { reason } => noticed.problems.push(format!("{}: {reason}", delivery.target)),
            Sent::NotWanted => {}
        }
    }
    (noticed, told.findings())
}
