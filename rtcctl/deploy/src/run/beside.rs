//! A second version beside the first: weights one after another, each judged, before everything is replaced.
//!
//! A strategy is its steps and its scenes: what has to stand at a weight, and what leads calls to it. Whoever goes through the
//! steps is the same for all of them.
//!
//! Invariants: nothing is sent to what does not stand yet; every state is in the journal before it is made true; what goes
//! wrong is sent nothing any more before anything else is done about it, and stays for whoever looks at it; a failure
//! leads to the way back that every rollout has.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use manifests::description::Canary as Second;
use manifests::{Description, Release};
use rollout::canary::analysis::Verdict as Analysis;
use rollout::canary::split::Split;
use rollout::canary::{
    Action as CanaryAction, By, Canary, Plan as CanaryPlan, Reason, State, Step as At, Trigger,
};
use rollout::lifecycle::{Failure, Step};
use rollout::verdict::{Applied, Verdict};

use super::colours::{self, Colour};
use super::drive::{Came, News, Session};
use super::plan::{Action, Removal, Strategy};
use super::steps::pods_of;
use super::watch::Until;
use super::{Error, Result};
use crate::apply;
use crate::gate::{Gate, Standing, View};
use crate::manifest::{Id, Item, Manifest, Wave};
use crate::revision::Revision;

/// The track of a canary's pods.
pub(super) const CANARY: &str = "canary";

/// What nobody measures is looked at this often.
const TICK: Duration = Duration::from_secs(1);

/// Where the first applied list of a step is kept.
pub(super) fn during(step: usize) -> String {
    format!("canary-{step}")
}

/// What is made true at a weight, in this order.
#[derive(Default)]
pub(super) struct Scene {
    /// Before anything stands.
    pub before: Vec<Item>,
    /// What has to stand.
    pub stands: Vec<Item>,
    /// What leads calls to it then.
    pub leads: Vec<Item>,
}

/// So many pods beside `stable` that they make this share of all: whole ones, at least one.
pub fn pods_beside(stable: u32, weight: u8) -> u32 {
    let weight = u32::from(weight.min(99));
    let total = (stable.max(1) * 100).div_ceil(100 - weight);
    Split::of(total, u8::try_from(weight).unwrap_or(99)).canary.max(1)
}

/// So many pods of a canary are asked this share of what `stable` of them answered alone. Routes divide the calls: those pods
/// stay, and add nothing to the share.
pub fn pods_of_share(stable: u32, weight: u8) -> u32 {
    let pods = (u64::from(stable) * u64::from(weight.min(100))).div_ceil(100);
    u32::try_from(pods).unwrap_or(u32::MAX).max(1)
}

impl Session<'_, '_> {
    pub(super) fn steps_beside(&self) -> Option<(By, Vec<At>)> {
        let plan = self.book.plan();
        plan.strategy.steps(plan.bake)
    }

    /// What stands beside `previous` at a weight: its objects with the second version among them.
    fn canary_manifest(&self, previous: &Revision, weight: u8) -> Result<Manifest> {
        let Strategy::Canary { targets, by, pods, .. } = &self.book.plan().strategy else {
            return Ok(Manifest::default());
        };
        let mut description: Description = serde_json::from_value(previous.description.clone())
            .map_err(|error| Error::Beside(error.to_string()))?;
        let stable = match by {
            By::Replicas { total } => *total,
            By::Mesh | By::Switch => targets
                .iter()
                .filter_map(|name| description.targets.get(name))
                .map(Release::replicas_min)
                .max()
                .unwrap_or(1),
        };
        let image = self.book.plan().image.clone();
        let size = if *by == By::Mesh { pods_of_share } else { pods_beside };
        let replicas = size(stable, weight);
        let weight_of_all = u32::from(weight.clamp(1, 99));
        description.canary =
            Some(Second { image, weight: weight_of_all, replicas, targets: targets.clone() });
        let release = Release::of(description).map_err(|faults| {
            Error::Beside(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        let mut manifest = Manifest::of(&release);
        for item in manifest.items.iter_mut().filter(|item| item.body["kind"] == "Deployment") {
            let name = item.body["metadata"]["name"].as_str().and_then(|name| name.strip_suffix("-canary"));
            // Each target has pods of its own number, and its share is of those.
            if let Some(stable) = name.and_then(|name| pods.get(name)) {
                item.body["spec"]["replicas"] = size(*stable, weight).into();
            }
        }
        Ok(manifest)
    }

    async fn canary_scene(&self, previous: &Revision, weight: u8) -> Result<Scene> {
        let mut whole = self.canary_manifest(previous, weight)?;
        let is_by_mesh = matches!(self.book.plan().strategy, Strategy::Canary { by: By::Mesh, .. });
        for item in whole.items.iter_mut().filter(|item| is_by_mesh && item.body["kind"] == "Deployment") {
            let (port, id) = (self.driver.port, item.id());
            let Some(target) = id.name.strip_suffix("-canary") else { continue };
            // Its share of the calls is that of all who answer now, whatever the manifest says of their number.
            if let Some(live) = colours::replicas(port, &id.namespace, target).await? {
                let share = pods_of_share(u32::try_from(live).unwrap_or(u32::MAX), weight);
                // Where those before it have become fewer because it is asked, it is needed as it is.
                let has = colours::replicas(port, &id.namespace, &id.name).await?.unwrap_or(0);
                item.body["spec"]["replicas"] = has.max(share.into()).into();
            }
        }
        // What another version of this program renders otherwise is not the canary's.
        let targets = self.book.plan().strategy.targets();
        let is_beside = |item: &Item| {
            item.wave != Wave::Migration && (is_route_of(item, targets) || !previous.manifest.has(&item.id()))
        };
        let (routes, stands): (Vec<Item>, Vec<Item>) =
            whole.items.into_iter().filter(is_beside).partition(is_route);
        // Those that somebody has made to find what is stable alone would send it nothing.
        let mut leads = as_said(&previous.manifest, &finding_stable(&previous.manifest, targets));
        leads.extend(routes);
        Ok(Scene { before: Vec::new(), stands, leads })
    }

    async fn scene(&mut self, previous: &Revision, weight: u8) -> Result<Scene> {
        match self.book.plan().strategy {
            Strategy::BlueGreen { .. } => self.switch_scene(previous, weight).await,
            Strategy::Canary { .. } | Strategy::Rolling => self.canary_scene(previous, weight).await,
        }
    }

    /// What the second version adds to what runs.
    pub(super) fn beside_ids(&self, previous: Option<&Revision>) -> Result<Vec<Id>> {
        let Some((by, steps)) = self.steps_beside() else { return Ok(Vec::new()) };
        let previous = previous.ok_or(Error::NothingStable)?;
        if by == By::Switch {
            return Ok(self.green_ids(previous));
        }
        let first = steps.first().map_or(1, |step| step.weight);
        let manifest = self.canary_manifest(previous, first)?;
        Ok(manifest.ids().filter(|id| !previous.manifest.has(id)).collect())
    }

    /// Goes through the weights. `None`: the new version takes everything over.
    pub(super) async fn go_beside(&mut self) -> Result<Option<Came>> {
        let Some((by, steps)) = self.steps_beside() else { return Ok(None) };
        let Some(previous) = self.book.recorded().and_then(|recorded| recorded.previous.clone()) else {
            return Err(Error::NothingStable);
        };
        let last = steps.len().saturating_sub(1);
        let mut canary = match self.book.canary().cloned() {
            Some(canary) => canary,
            None => {
                Canary::new(CanaryPlan::new(by, steps).map_err(|error| Error::Beside(error.to_string()))?)
            }
        };
        canary.take(Trigger::Begin, self.driver.clock.now());
        loop {
            self.book.set_canary(canary.clone())?;
            (self.driver.tell)(&News::Canary(&canary.state));
            let trigger = match (canary.state, canary.action()) {
                (State::Paused { step, why }, _) => return Ok(Some(Came::Paused { step, why })),
                (State::Aborting { why } | State::Aborted { why }, _) => {
                    self.call_back(&previous).await?;
                    return Ok(Some(Came::failed(failure_of(why, self.book.causes()))));
                }
                // Whoever said so may have said it before it stood.
                (State::Promoting | State::Promoted, _) if by == By::Switch => {
                    match self.shift(&previous, last, 100).await? {
                        Trigger::Shifted { .. } => return Ok(None),
                        failed => failed,
                    }
                }
                (State::Promoting | State::Promoted, _) => return Ok(None),
                (State::Shifting { step }, CanaryAction::SetWeight { weight }) => {
                    self.shift(&previous, step, weight).await?
                }
                (State::Holding { .. }, CanaryAction::Analyse { step, until }) => {
                    self.analyse(step, until).await?
                }
                (state, action) => {
                    return Err(Error::Beside(format!("{state:?} asks for {action:?}")));
                }
            };
            canary.take(trigger, self.driver.clock.now());
        }
    }

    /// Makes the weight true.
    async fn shift(&mut self, previous: &Revision, step: usize, weight: u8) -> Result<Trigger> {
        let scene = self.scene(previous, weight).await?;
        let mut applied: Vec<Applied> = Vec::new();
        for items in [&scene.before, &scene.stands] {
            if self.apply_items(items, Step::Apply, &mut applied).await?.is_some() {
                return Ok(Trigger::PodsFailed);
            }
        }
        self.book.set_applied(&during(step), applied.clone())?;
        if let Some(cause) = self.stand(applied, &during(step)).await? {
            self.book.add_cause(cause)?;
            return Ok(Trigger::PodsFailed);
        }
        if self.apply_items(&scene.leads, Step::Apply, &mut Vec::new()).await?.is_some() {
            return Ok(Trigger::PodsFailed);
        }
        Ok(Trigger::Shifted { step })
    }

    /// Waits until all of it stands, and is as much as it has to be.
    async fn stand(
        &mut self,
        mut applied: Vec<Applied>,
        during: &str,
    ) -> Result<Option<rollout::failure::Cause>> {
        let mut watch = self.new_watch(&applied);
        loop {
            let seen = self.watch_until(&mut watch, &applied, Until::Done).await?;
            if let Verdict::Failed { cause, .. } = seen.verdict {
                self.watch = Some(watch);
                return Ok(Some(cause));
            }
            if !self.level_green(&mut applied).await? {
                self.watch = Some(watch);
                self.book.set_applied(during, seen.stood(applied))?;
                return Ok(None);
            }
            self.book.set_applied(during, applied.clone())?;
        }
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
        let is_switch = self.steps_beside().is_some_and(|(by, _)| by == By::Switch);
        let weight = self.steps_beside().and_then(|(_, steps)| steps.get(step).map(|step| step.weight));
        // What is not whole by then is for somebody to decide: what finds no room has none for what takes over either.
        let patience = until.max(self.driver.clock.now()).plus(self.book.plan().rules.no_activity);
        loop {
            let now = self.driver.clock.now();
            let pace = gate.as_ref().map_or(TICK, Gate::interval);
            // Once the time is over, only the gate's own pace is left.
            let next = match (&gate, now < until) {
                (Some(_), true) => now.plus(pace).min(until),
                (None, true) => until,
                (_, false) => now.plus(pace),
            };
            // Also what is not whole is measured: it is sent calls.
            let seen = self.watch_until(&mut watch, &applied, Until::At(next)).await?;
            if let Verdict::Failed { cause, .. } = seen.verdict {
                self.book.add_cause(cause)?;
                return Ok(Trigger::PodsFailed);
            }
            let now = self.driver.clock.now();
            let is_whole = seen.verdict.is_done();
            let open = (!is_whole && now >= patience).then(|| seen.verdict.progress().open.clone());
            let (Some(gate), Some(standing), Some(gauge)) = (&gate, &mut standing, self.driver.gauge) else {
                if let Some(open) = open {
                    self.book.set_said(open)?;
                    return judged(Analysis::Inconclusive);
                }
                if !is_whole || now < until {
                    continue;
                }
                // The pods alone say that a whole is good; of a share of the calls nobody can.
                return judged(if is_switch { Analysis::Pass } else { Analysis::Inconclusive });
            };
            standing.measure(gate, gauge, &View { since, now, pods: pods.clone() }).await;
            let (verdict, mut says) = standing.verdict(gate);
            let is_time = now >= until;
            let verdict = match verdict {
                // Nobody asks it yet: that there is nothing to be seen of it says nothing.
                Analysis::Inconclusive if weight == Some(0) => Analysis::Pass,
                verdict => verdict,
            };
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
                Analysis::Pass if !is_whole && open.is_none() => {
                    *standing = Standing::new(gate);
                    continue;
                }
                Analysis::Inconclusive | Analysis::Pass => {}
            }
            let verdict = match (verdict, open) {
                (Analysis::Pass, Some(open)) => {
                    says = format!("{says}; {open}");
                    Analysis::Inconclusive
                }
                (verdict, _) => verdict,
            };
            (self.driver.tell)(&News::Gate { says: &says });
            self.book.set_said(says)?;
            self.watch = Some(watch);
            return judged(verdict);
        }
    }

    /// Leads all calls to what is stable, at once. What stands beside stays, and is sent nothing.
    pub(super) async fn call_back(&mut self, previous: &Revision) -> Result<()> {
        let items = match &self.book.plan().strategy {
            Strategy::Rolling => return Ok(()),
            Strategy::BlueGreen { .. } => self.leading_back(previous).await?,
            Strategy::Canary { targets, .. } => leading_back(&previous.manifest, targets),
        };
        // Where that is refused, the way back says so.
        self.apply_items(&items, Step::RollBack, &mut Vec::new()).await.map(drop)
    }

    /// As [`finding_stable`], of this run's canary.
    pub(super) fn apart(&self, previous: &Manifest) -> Vec<Item> {
        match &self.book.plan().strategy {
            Strategy::Canary { targets, .. } => finding_stable(previous, targets),
            Strategy::Rolling | Strategy::BlueGreen { .. } => Vec::new(),
        }
    }

    /// Once no pod of a canary is left, what found those that are stable alone finds whom it found before.
    pub(super) async fn rejoin(
        &mut self,
        manifest: &Manifest,
        apart: &[Item],
        step: Step,
    ) -> Result<Option<Came>> {
        if apart.is_empty() {
            return Ok(None);
        }
        self.until_canaries_leave(manifest).await?;
        self.apply_items(&as_said(manifest, apart), step, &mut Vec::new()).await
    }

    /// What stands beside and is of no use any more goes, also that of a run that nobody has ended. How much went.
    pub(super) async fn clear_beside(&mut self) -> Result<usize> {
        let Action::Apply { manifest } = self.book.plan().action.clone() else { return Ok(0) };
        self.is_still_ours().await?;
        let previous = self.book.recorded().and_then(|recorded| recorded.previous.clone());
        let mut gone: BTreeMap<Id, Removal> = BTreeMap::new();
        if let Some(previous) = previous {
            gone.extend(self.beside_ids(Some(&previous))?.into_iter().map(|id| (id.clone(), id.into())));
        }
        // What is seen now is what is meant.
        gone.extend(self.found_beside().await?.into_iter().map(|one| (one.id.clone(), one)));
        let mut count = 0;
        for removal in gone.values().filter(|one| apply::may_go(&one.id) && !manifest.has(&one.id)) {
            count += usize::from(self.delete(removal).await?);
        }
        Ok(count)
    }

    /// The new version stands everywhere, and nothing beside it.
    pub(super) fn took_over(&mut self) -> Result<()> {
        let Some(mut canary) = self.book.canary().cloned() else { return Ok(()) };
        canary.take(Trigger::TookOver, self.driver.clock.now());
        self.book.set_canary(canary)
    }
}

/// Whether it divides calls behind a name.
fn is_route(item: &Item) -> bool {
    item.body["kind"] == "VirtualService"
}

fn is_route_of(item: &Item, targets: &[String]) -> bool {
    is_route(item) && targets.iter().any(|target| item.body["metadata"]["name"] == *target)
}

/// The Services of a canary's targets behind which no route decides, finding what is stable alone.
pub(super) fn finding_stable(manifest: &Manifest, targets: &[String]) -> Vec<Item> {
    let tracked = colours::targets(manifest, manifest, targets);
    let is_changed = |item: &Item| {
        item.body["kind"] == "Service"
            && manifest.find(&item.id()).is_some_and(|plain| plain.body != item.body)
    };
    let mut items = colours::leading(manifest, &tracked, Colour::Stable);
    items.retain(is_changed);
    items
}

/// What leads every call of a canary's targets to what is stable.
pub(super) fn leading_back(manifest: &Manifest, targets: &[String]) -> Vec<Item> {
    let mut items = finding_stable(manifest, targets);
    items.extend(manifest.items.iter().filter(|item| is_route_of(item, targets)).cloned());
    items
}

/// The same objects as their manifest has them.
fn as_said(manifest: &Manifest, items: &[Item]) -> Vec<Item> {
    items.iter().filter_map(|item| manifest.find(&item.id()).cloned()).collect()
}

fn failure_of(why: Reason, causes: &[rollout::failure::Cause]) -> Failure {
    match (why, causes.last()) {
        (Reason::Asked, _) => Failure::Asked,
        (Reason::Failed, _) => Failure::Gate,
        (Reason::Error, _) | (Reason::Pods, None) => Failure::Inconclusive,
        (Reason::Pods, Some(cause)) => rollout::lifecycle::failure_of(cause.code, Step::Apply),
    }
}
