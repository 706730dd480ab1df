//! Is it done? A pure function of what was applied, what is known, and the time.
//!
//! Invariants:
//! - Nothing is done while any rule is open: the wish has been seen by its controller, as many pods of the new template
//!   as are wanted are available, none of an old one counts any more, and each runs the image that was wanted.
//! - A condition that stood when the wish was applied accuses nobody until its controller has written it again.
//! - Only pods of the new template are judged, found by the uid of their owner; the restarts of old ones are not
//!   blamed on the new image.
//! - While a watch is broken nothing is done, and the time without activity does not run.

mod digest;
mod stand;

pub use stand::current_set;

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::failure::{self, Allowance, Cause, Finality, Reference};
use crate::objects::{Condition, Error, Object, Uid};
use crate::world::{Target, World};

/// References that one cause carries.
const ABOUT_MAX: usize = 20;

/// An image that a container has to run, by any of its digests: that of the index and those of its platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub container: String,
    /// Each `sha256:…`.
    pub digests: Vec<String>,
}

/// What was applied, as the API answered: small enough for the journal, enough to go on watching after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub target: Target,
    pub uid: Uid,
    pub generation: i64,
    /// Of the template, if it has one; not comparable between versions of this program.
    pub fingerprint: Option<u64>,
    pub created_at: Option<Timestamp>,
    /// When a deadline that had passed before was last written: until it is written again, it is about the past.
    pub old_deadline_at: Option<Timestamp>,
    pub wanted: Vec<Wanted>,
    /// When, by our clock.
    pub at: Timestamp,
    /// So many pods were available when it was done. From then on no deadline is waited for, and growth that finds no room
    /// is no failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<u32>,
}

impl Applied {
    /// From the object with which the API answered the apply.
    pub fn answered(answer: &serde_json::Value, wanted: Vec<Wanted>, at: Timestamp) -> Result<Self, Error> {
        let object = Object::parse(answer)?;
        let meta = object.meta();
        let old_deadline_at = match &object {
            Object::Deployment(deployment) => {
                stand::deadline_exceeded(&deployment.status.conditions).map(written_at)
            }
            _ => None,
        };
        Ok(Self {
            target: Target::new(object.kind(), &meta.namespace, &meta.name),
            uid: meta.uid.clone(),
            generation: meta.generation,
            fingerprint: stand::template(&object).map(|template| template.fingerprint),
            created_at: meta.created_at,
            old_deadline_at,
            wanted,
            at,
            stood: None,
        })
    }
}

fn written_at(condition: &Condition) -> Timestamp {
    condition.updated_at.or(condition.changed_at).unwrap_or_default()
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How long nothing may move.
    pub no_activity: Duration,
    /// How long it may take in all.
    pub deadline: Option<Duration>,
    pub allowance: Allowance,
}

impl Default for Rules {
    fn default() -> Self {
        Self { no_activity: Duration::from_secs(240), deadline: None, allowance: Allowance::default() }
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub desired: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    /// Pods of older templates that are still there.
    pub old_left: u32,
    pub since: Timestamp,
    pub moved_at: Timestamp,
    /// Whether every watch that is needed is up.
    pub is_fresh: bool,
    /// The rule that is open, in words; empty when none is.
    pub open: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Progress {
        progress: Progress,
    },
    /// Something stands in the way that may pass.
    Waiting {
        cause: Cause,
        /// What else does.
        #[serde(default)]
        others: Vec<Cause>,
        progress: Progress,
    },
    Done {
        progress: Progress,
    },
    Failed {
        cause: Cause,
        /// What else is wrong.
        others: Vec<Cause>,
        progress: Progress,
    },
}

impl Verdict {
    pub fn progress(&self) -> &Progress {
        match self {
            Verdict::Progress { progress }
            | Verdict::Waiting { progress, .. }
            | Verdict::Done { progress }
            | Verdict::Failed { progress, .. } => progress,
        }
    }

    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Verdict::Waiting { cause, .. } | Verdict::Failed { cause, .. } => Some(cause),
            Verdict::Progress { .. } | Verdict::Done { .. } => None,
        }
    }

    /// Everything that is wrong, what decides first.
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        let others = match self {
            Verdict::Waiting { others, .. } | Verdict::Failed { others, .. } => others.as_slice(),
            Verdict::Progress { .. } | Verdict::Done { .. } => &[],
        };
        self.cause().into_iter().chain(others)
    }

    pub fn code(&self) -> Option<Code> {
        self.cause().map(|cause| cause.code)
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Verdict::Done { .. })
    }

    pub fn is_failed(&self) -> bool {
        matches!(self, Verdict::Failed { .. })
    }

    /// Nothing more is to be waited for.
    pub fn is_settled(&self) -> bool {
        self.is_done() || self.is_failed()
    }
}

/// Judges one workload.
pub fn judge(applied: &Applied, rules: &Rules, world: &World, now: Timestamp) -> Verdict {
    let mut progress = Progress {
        desired: 0,
        updated: 0,
        ready: 0,
        available: 0,
        old_left: 0,
        since: applied.at,
        moved_at: world.moved_at(&applied.uid).unwrap_or(applied.at).max(applied.at),
        is_fresh: world.is_listed(&applied.target) && world.broken_since(&applied.target).is_none(),
        open: String::new(),
    };
    let object = match found(applied, world) {
        Found::Here(object) => object,
        Found::Failed(cause) => return Verdict::Failed { cause: *cause, others: Vec::new(), progress },
        Found::NotYet => {
            progress.open = "the API has not shown it yet".to_owned();
            return timed(applied, rules, world, now, Vec::new(), progress, 0);
        }
    };
    let stand = stand::of(applied, object, world);
    progress.desired = stand.desired;
    progress.updated = stand.updated;
    progress.ready = stand.ready;
    progress.available = stand.available;
    progress.old_left = stand.old_left;

    let images = digest::one(applied, object, &stand.pods, stand.updated.min(stand.desired));
    if let Some(cause) = superseded(applied, object) {
        return Verdict::Failed { cause, others: Vec::new(), progress };
    }
    if let digest::Images::Other(cause) = images {
        return Verdict::Failed { cause: *cause, others: Vec::new(), progress };
    }
    let open = match (stand.open, images) {
        (Some(open), _) => Some(open),
        (None, digest::Images::Unknown(open)) => Some(open),
        (None, _) if !progress.is_fresh => Some("the watch is broken; what is known may be old".to_owned()),
        (None, _) => None,
    };
    let Some(open) = open else { return Verdict::Done { progress } };
    progress.open = open;

    // Whoever stood and only grows has no deadline, whoever set it.
    let has_stood = applied.stood.is_some_and(|stood| progress.available >= stood);
    let is_late = |cause: &Cause| has_stood && cause.code == Code::DeadlineExceeded;
    let mut causes: Vec<Cause> = stand.ending.into_iter().filter(|cause| !is_late(cause)).collect();
    causes.extend(stand.owners.iter().filter_map(|owner| failure::of_owner(world, owner)));
    for pod in &stand.pods {
        causes.extend(failure::of_pod(world, pod, &rules.allowance, now));
    }
    for pod in &stand.old_pods {
        // An old pod is asked about nothing but whether it can go.
        causes.extend(
            failure::of_pod(world, pod, &rules.allowance, now)
                .into_iter()
                .filter(|cause| cause.code == Code::BudgetDeadlock),
        );
    }
    timed(applied, rules, world, now, gathered(causes), progress, stand.min_ready_seconds)
}

/// What the passing of time adds.
fn timed(
    applied: &Applied,
    rules: &Rules,
    world: &World,
    now: Timestamp,
    mut causes: Vec<Cause>,
    progress: Progress,
    min_ready_seconds: u32,
) -> Verdict {
    let first = (!causes.is_empty()).then(|| causes.remove(0));
    if let Some(cause) = first.clone().filter(Cause::is_final) {
        return Verdict::Failed { cause, others: causes, progress };
    }
    let about = || Reference {
        kind: applied.target.kind,
        namespace: applied.target.namespace.clone(),
        name: applied.target.name.clone(),
        uid: applied.uid.clone(),
        container: None,
    };
    let why_not = || match &first {
        Some(cause) => format!(": {} ({})", cause.why, cause.code),
        None => format!(": {}", progress.open),
    };
    if let Some(deadline) = rules.deadline.filter(|_| applied.stood.is_none())
        && now.since(applied.at) >= deadline
    {
        let why = format!("{} is not done after {} s{}", applied.target, deadline.as_secs(), why_not());
        let cause = Cause { code: Code::OutOfTime, finality: Finality::Final, why, about: vec![about()] };
        return Verdict::Failed { cause, others: first.into_iter().chain(causes).collect(), progress };
    }
    let seen_until = world.broken_since(&applied.target).unwrap_or(now).min(now);
    let idle = seen_until.since(progress.moved_at);
    // Ready pods have to stay so for that long, and nothing moves meanwhile.
    let patience = rules.no_activity + Duration::from_secs(u64::from(min_ready_seconds));
    let is_node_coming = first.as_ref().is_some_and(|cause| cause.code == Code::NodeComing);
    if idle >= patience && !is_node_coming && !lacks_room(applied, first.as_ref(), &progress) {
        let why = format!("nothing has moved for {} s{}", idle.as_secs(), why_not());
        let (code, about) = match &first {
            Some(cause) => (cause.code, cause.about.clone()),
            None => (Code::NoActivity, vec![about()]),
        };
        let cause = Cause { code, finality: Finality::Final, why, about };
        return Verdict::Failed { cause, others: causes, progress };
    }
    match first {
        Some(cause) => Verdict::Waiting { cause, others: causes, progress },
        None => Verdict::Progress { progress },
    }
}

/// Whether it has as many pods as when it stood, and room alone keeps it from having more.
fn lacks_room(applied: &Applied, cause: Option<&Cause>, progress: &Progress) -> bool {
    let is_room = cause.is_some_and(|cause| {
        matches!(
            cause.code,
            Code::NoRoom
                | Code::Tainted
                | Code::NoMatch
                | Code::VolumeUnbound
                | Code::NodeComing
                | Code::QuotaExceeded
        )
    });
    is_room && applied.stood.is_some_and(|stood| progress.available >= stood)
}

enum Found<'a> {
    Here(&'a Object),
    NotYet,
    Failed(Box<Cause>),
}

fn found<'a>(applied: &Applied, world: &'a World) -> Found<'a> {
    let failed = |code: Code, why: String, about: Reference| {
        Found::Failed(Box::new(Cause { code, finality: Finality::Final, why, about: vec![about] }))
    };
    let was_ours = world.is_gone(&applied.uid);
    let Some(object) = world.workload(&applied.target) else {
        if was_ours {
            let about = Reference {
                kind: applied.target.kind,
                namespace: applied.target.namespace.clone(),
                name: applied.target.name.clone(),
                uid: applied.uid.clone(),
                container: None,
            };
            return failed(Code::Deleted, format!("{} was deleted", applied.target), about);
        }
        return Found::NotYet;
    };
    let meta = object.meta();
    if meta.uid != applied.uid {
        let is_newer = meta.created_at > applied.created_at;
        if was_ours || is_newer {
            let why =
                format!("{} was made anew: uid {} instead of {}", applied.target, meta.uid, applied.uid);
            return failed(Code::Recreated, why, Reference::to(object));
        }
        return Found::NotYet;
    }
    if meta.is_deleting() {
        return failed(Code::Deleted, format!("{} is being deleted", applied.target), Reference::to(object));
    }
    Found::Here(object)
}

/// Somebody changed the template after us. A scaler that changes the number of replicas does not.
fn superseded(applied: &Applied, object: &Object) -> Option<Cause> {
    let (ours, theirs) = (applied.fingerprint?, stand::template(object)?.fingerprint);
    if object.meta().generation <= applied.generation || ours == theirs {
        return None;
    }
    let why = format!(
        "{} has another template since generation {}, ours was {}",
        applied.target,
        object.meta().generation,
        applied.generation
    );
    Some(Cause { code: Code::Superseded, finality: Finality::Final, why, about: vec![Reference::to(object)] })
}

/// One cause a code, about all whom it befell; what ends the rollout first, then what befell most.
fn gathered(causes: Vec<Cause>) -> Vec<Cause> {
    let mut groups: BTreeMap<(Finality, Code), (Cause, usize)> = BTreeMap::new();
    for cause in causes {
        match groups.get_mut(&(cause.finality, cause.code)) {
            Some((known, count)) => {
                *count += 1;
                let room = ABOUT_MAX.saturating_sub(known.about.len());
                known.about.extend(cause.about.into_iter().take(room));
            }
            None => {
                groups.insert((cause.finality, cause.code), (cause, 1));
            }
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((finality, code), (_, count))| (*finality, std::cmp::Reverse(*count), *code));
    groups
        .into_iter()
        .map(|(_, (mut cause, count))| {
            if count > 1 {
                cause.why = format!("{} (and {} more)", cause.why, count - 1);
            }
            cause
        })
        .collect()
}

/// Several workloads as one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    pub each: Vec<(Target, Verdict)>,
    /// Failed as soon as one is, done when all are.
    pub verdict: Verdict,
}

impl Whole {
    /// What was applied, with how many pods of it stand.
    pub fn stood(&self, mut applied: Vec<Applied>) -> Vec<Applied> {
        for one in &mut applied {
            let known = self.each.iter().find(|(target, verdict)| *target == one.target && verdict.is_done());
            if let Some((_, verdict)) = known {
                one.stood = Some(verdict.progress().available);
            }
        }
        applied
    }

    /// Whether all of it is done, but for growth that finds no room.
    pub fn holds(&self, applied: &[Applied]) -> bool {
        self.each.iter().all(|(target, verdict)| {
            let of = applied.iter().find(|one| one.target == *target);
            verdict.is_done()
                || !verdict.is_failed()
                    && of.is_some_and(|one| lacks_room(one, verdict.cause(), verdict.progress()))
        })
    }
}

/// Judges several workloads as one rollout.
pub fn judge_all(applied: &[Applied], rules: &Rules, world: &World, now: Timestamp) -> Whole {
    let each: Vec<(Target, Verdict)> =
        applied.iter().map(|one| (one.target.clone(), judge(one, rules, world, now))).collect();
    let sum = |of: fn(&Progress) -> u32| each.iter().map(|(_, verdict)| of(verdict.progress())).sum();
    let parts = || each.iter().map(|(_, verdict)| verdict.progress());
    let progress = Progress {
        desired: sum(|one| one.desired),
        updated: sum(|one| one.updated),
        ready: sum(|one| one.ready),
        available: sum(|one| one.available),
        old_left: sum(|one| one.old_left),
        since: parts().map(|one| one.since).min().unwrap_or(now),
        moved_at: parts().map(|one| one.moved_at).max().unwrap_or(now),
        is_fresh: parts().all(|one| one.is_fresh),
        open: each
            .iter()
            .filter(|(_, verdict)| !verdict.progress().open.is_empty())
            .map(|(target, verdict)| format!("{target}: {}", verdict.progress().open))
            .collect::<Vec<_>>()
            .join("; "),
    };
    let failed = each.iter().position(|(_, verdict)| verdict.is_failed());
    let decisive = failed.or_else(|| each.iter().position(|(_, verdict)| verdict.cause().is_some()));
    let verdict = match decisive {
        None if each.iter().all(|(_, verdict)| verdict.is_done()) => Verdict::Done { progress },
        None => Verdict::Progress { progress },
        Some(at) => {
            // Of the one that decides first, then of all others.
            let rest = each.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, one)| one);
            let mut causes =
                each.iter().skip(at).take(1).chain(rest).flat_map(|(_, verdict)| verdict.causes()).cloned();
            match causes.next() {
                Some(cause) if failed.is_some() => {
                    Verdict::Failed { cause, others: causes.collect(), progress }
                }
                Some(cause) => Verdict::Waiting { cause, others: causes.collect(), progress },
                None => Verdict::Progress { progress },
            }
        }
    };
    Whole { each, verdict }
}
