//! A second version beside the first: weights one after another, each judged, before everything is replaced.
//!
//! Invariants: what is stable is described as it runs, with another image beside it and nothing else changed; every state
//! is in the journal before it is made true; a failure leads to the way back that every rollout has.

use kernel::Timestamp;
use manifests::description::Canary as Beside;
use manifests::{Description, Release};
use rollout::canary::analysis::Verdict as Analysis;
use rollout::canary::split::Split;
use rollout::canary::{Action as CanaryAction, By, Canary, Plan as CanaryPlan, Reason, State, Trigger};
use rollout::lifecycle::{Failure, Step};
use rollout::verdict::{Applied, Verdict};

use super::drive::{Came, News, Session};
use super::plan::{Action, Strategy};
use super::steps::pods_of;
use super::watch::Until;
use super::{Error, Result};
use crate::gate::{Standing, View};
use crate::manifest::{Id, Manifest, Wave};
use crate::revision::Revision;

/// Where the first applied list of a step is kept.
fn during(step: usize) -> String {
    format!("canary-{step}")
}

/// So many pods beside `stable` that they make this share of all: whole ones, at least one.
pub fn pods_beside(stable: u32, weight: u8) -> u32 {
    let weight = u32::from(weight.min(99));
    let total = (stable.max(1) * 100).div_ceil(100 - weight);
    Split::of(total, u8::try_from(weight).unwrap_or(99)).canary.max(1)
}

impl Session<'_, '_> {
    fn canary_strategy(&self) -> Option<(Vec<String>, By, Vec<rollout::canary::Step>)> {
        match &self.book.plan().strategy {
            Strategy::Canary { targets, by, steps, .. } => Some((targets.clone(), *by, steps.clone())),
            Strategy::Rolling => None,
        }
    }

    /// What stands beside `previous` at a weight: its objects with the second version among them.
    fn canary_manifest(&self, previous: &Revision, weight: u8) -> Result<Manifest> {
        let Some((targets, by, _)) = self.canary_strategy() else { return Ok(Manifest::default()) };
        let mut description: Description = serde_json::from_value(previous.description.clone())
            .map_err(|error| Error::Canary(error.to_string()))?;
        let stable = match by {
            By::Replicas { total } => total,
            By::Mesh => targets
                .iter()
                .filter_map(|name| description.targets.get(name))
                .map(Release::replicas_min)
                .max()
                .unwrap_or(1),
        };
        let image = self.book.plan().image.clone();
        let replicas = pods_beside(stable, weight);
        description.canary =
            Some(Beside { image, weight: u32::from(weight.clamp(1, 99)), replicas, targets });
        let release = Release::of(description).map_err(|faults| {
            Error::Canary(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let mut manifest = Manifest::of(&release);
        if let Strategy::Canary { pods, .. } = &self.book.plan().strategy {
            for item in manifest.items.iter_mut().filter(|item| item.body["kind"] == "Deployment") {
                let name =
                    item.body["metadata"]["name"].as_str().and_then(|name| name.strip_suffix("-canary"));
                // Each target has pods of its own number, and its share is of those.
                if let Some(stable) = name.and_then(|name| pods.get(name)) {
                    item.body["spec"]["replicas"] = pods_beside(*stable, weight).into();
                }
            }
        }
        Ok(manifest)
    }

    /// What the canary adds to what runs.
    pub(super) fn canary_ids(&self, previous: Option<&Revision>) -> Result<Vec<Id>> {
        let Some((_, _, steps)) = self.canary_strategy() else { return Ok(Vec::new()) };
        let previous = previous.ok_or(Error::NothingStable)?;
        let first = steps.first().map_or(1, |step| step.weight);
        let manifest = self.canary_manifest(previous, first)?;
        Ok(manifest.ids().filter(|id| !previous.manifest.has(id)).collect())
    }

    /// Goes through the weights. `None`: the new version takes everything over.
    pub(super) async fn canary(&mut self) -> Result<Option<Came>> {
        let Some((_, by, steps)) = self.canary_strategy() else { return Ok(None) };
        let Some(previous) = self.book.recorded().and_then(|recorded| recorded.previous.clone()) else {
            return Err(Error::NothingStable);
        };
        let mut canary = match self.book.canary().cloned() {
            Some(canary) => canary,
            None => {
                Canary::new(CanaryPlan::new(by, steps).map_err(|error| Error::Canary(error.to_string()))?)
            }
        };
        canary.take(Trigger::Begin, self.driver.clock.now());
        loop {
            self.book.set_canary(canary.clone())?;
            (self.driver.tell)(&News::Canary(&canary.state));
            let trigger = match (canary.state, canary.action()) {
                (State::Paused { step, why }, _) => return Ok(Some(Came::Paused { step, why })),
                (State::Aborting { why } | State::Aborted { why }, _) => {
                    return Ok(Some(Came::failed(failure_of(why, self.book.causes()))));
                }
                (State::Promoting | State::Promoted, _) => return Ok(None),
                (State::Shifting { step }, CanaryAction::SetWeight { weight }) => {
                    self.shift(&previous, step, weight).await?
                }
                (State::Holding { .. }, CanaryAction::Analyse { step, until }) => {
                    self.analyse(step, until).await?
                }
                (state, action) => {
                    return Err(Error::Canary(format!("{state:?} asks for {action:?}")));
                }
            };
            canary.take(trigger, self.driver.clock.now());
        }
    }

    /// Makes the weight true.
    async fn shift(&mut self, previous: &Revision, step: usize, weight: u8) -> Result<Trigger> {
        let whole = self.canary_manifest(previous, weight)?;
        let other = |item: &crate::manifest::Item| {
            previous.manifest.find(&item.id()).is_none_or(|known| known.body != item.body)
        };
        let items =
            whole.items.into_iter().filter(other).filter(|item| item.wave != Wave::Migration).collect();
        let manifest = Manifest { items };
        let mut applied: Vec<Applied> = Vec::new();
        for wave in [Wave::Ground, Wave::Surroundings, Wave::Workloads, Wave::Entry] {
            if self.apply_wave(&manifest, wave, Step::Apply, &mut applied).await?.is_some() {
                return Ok(Trigger::PodsFailed);
            }
        }
        self.book.set_applied(&during(step), applied.clone())?;
        let mut watch = self.new_watch(&applied);
        let seen = self.watch_until(&mut watch, &applied, Until::Done).await?;
        self.watch = Some(watch);
        Ok(match seen.verdict {
            Verdict::Failed { cause, .. } => {
                self.book.add_cause(cause)?;
                Trigger::PodsFailed
            }
            _ => Trigger::Shifted { step },
        })
    }

    /// Measures until that is final, and not before the time is over where it is good.
    async fn analyse(&mut self, step: usize, until: Timestamp) -> Result<Trigger> {
        let applied = self.book.applied(&during(step)).unwrap_or_default().to_vec();
        let mut watch = match self.watch.take().filter(|watch| watch.follows(&applied)) {
            Some(watch) => watch,
            None => self.new_watch(&applied),
        };
        let gate = self.book.plan().gate.clone();
        let mut standing = gate.as_ref().map(Standing::new);
        let pods = pods_of(applied.iter().map(|one| one.target.name.clone()));
        let since = applied.iter().map(|one| one.at).min().unwrap_or(until);
        let judged = |verdict| Ok(Trigger::Judged { step, verdict });
        loop {
            let now = self.driver.clock.now();
            let pause = gate.as_ref().map_or(until, |gate| now.plus(gate.interval()));
            // Once the time is over, only the gate's own pace is left.
            let next = if now < until { pause.min(until) } else { pause };
            let seen = self.watch_until(&mut watch, &applied, Until::DoneAt(next)).await?;
            if let Verdict::Failed { cause, .. } = seen.verdict {
                self.book.add_cause(cause)?;
                return Ok(Trigger::PodsFailed);
            }
            let (Some(gate), Some(standing), Some(gauge)) = (&gate, &mut standing, self.driver.gauge) else {
                // Nobody can say that it is good.
                return judged(Analysis::Inconclusive);
            };
            let now = self.driver.clock.now();
            standing.measure(gate, gauge, &View { since, now, pods: pods.clone() }).await;
            let (verdict, says) = standing.verdict(gate);
            let is_time = now >= until;
            match verdict {
                Analysis::Fail | Analysis::Error => {}
                Analysis::Running => continue,
                // More may come to be seen until the time is over.
                Analysis::Inconclusive if !is_time => {
                    *standing = Standing::new(gate);
                    continue;
                }
                Analysis::Pass if !is_time => {
                    *standing = Standing::new(gate);
                    continue;
                }
                Analysis::Inconclusive | Analysis::Pass => {}
            }
            (self.driver.tell)(&News::Gate { says: &says });
            self.book.set_said(says)?;
            self.watch = Some(watch);
            return judged(verdict);
        }
    }

    /// The new version stands everywhere: the one beside it goes.
    pub(super) async fn end_canary(&mut self) -> Result<usize> {
        let Some(mut canary) = self.book.canary().cloned() else { return Ok(0) };
        let recorded = self.book.recorded().cloned();
        let Some(previous) = recorded.and_then(|recorded| recorded.previous) else { return Ok(0) };
        let Action::Apply { manifest } = self.book.plan().action.clone() else { return Ok(0) };
        let gone: Vec<Id> =
            self.canary_ids(Some(&previous))?.into_iter().filter(|id| !manifest.has(id)).collect();
        for id in &gone {
            self.delete(&id.clone().into()).await?;
        }
        canary.take(Trigger::TookOver, self.driver.clock.now());
        self.book.set_canary(canary)?;
        Ok(gone.len())
    }
}

fn failure_of(why: Reason, causes: &[rollout::failure::Cause]) -> Failure {
    match (why, causes.last()) {
        (Reason::Asked, _) => Failure::Asked,
        (Reason::Failed, _) => Failure::Gate,
        (Reason::Error, _) | (Reason::Pods, None) => Failure::Inconclusive,
        (Reason::Pods, Some(cause)) => rollout::lifecycle::failure_of(cause.code, Step::Apply),
    }
}
