//! From one colour to the other and home again: what a switch adds to going through its steps.
//!
//! Invariants: whoever is sent everything has as many pods as who was before; an autoscaler scales the colour that is sent
//! calls, and nobody scales the other; what is stable is changed only while it is sent nothing; the last thing that goes
//! is what nobody is led to.

use std::time::Duration;

use kubernetes::Gvk;
use kubernetes::write::Change;
use manifests::render::{ENVIRONMENT, TRACK};
use rollout::lifecycle::Step;
use rollout::objects::Kind;
use rollout::verdict::{Applied, Verdict};

use super::beside::{Scene, during};
use super::colours::{self, Colour};
use super::drive::{Came, News, Session};
use super::plan::{Action, Strategy};
use super::watch::Until;
use super::{Error, Result};
use crate::apply;
use crate::manifest::{Id, Item, Manifest, Wave, wanted};
use crate::revision::Revision;

/// In the journal: the names that stay are being given the new version.
const TAKEN_OVER: &str = "taken-over";
/// In the journal: they have the old one again, and stand.
const HOME: &str = "home";
/// How long pods that were deleted may take to be on their way.
const GONE_WITHIN: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_secs(1);

impl Session<'_, '_> {
    /// Whether everything is led from one colour to the other.
    pub(super) fn is_switched(&self) -> bool {
        matches!(self.book.plan().strategy, Strategy::BlueGreen { .. })
    }

    /// Whether nothing of the release is rolled pod by pod while it is sent calls.
    pub(super) fn is_all_switched(&self) -> bool {
        let (targets, plan) = (self.targets_now(), self.book.plan());
        let Action::Apply { manifest } = &plan.action else { return false };
        let mut workloads = manifest.targets().into_iter().filter(|target| target.kind == Kind::Deployment);
        self.is_switched() && workloads.all(|workload| targets.contains(&workload.name))
    }

    /// What is rolled out, and the targets that have two colours meanwhile.
    fn two_coloured(&self, previous: &Revision) -> Option<(Manifest, Vec<String>)> {
        let plan = self.book.plan();
        let (true, Action::Apply { manifest }) = (self.is_switched(), &plan.action) else { return None };
        let targets = colours::targets(&previous.manifest, manifest, plan.strategy.targets());
        Some((manifest.clone(), targets))
    }

    fn targets_now(&self) -> Vec<String> {
        let previous = self.book.recorded().and_then(|recorded| recorded.previous.as_ref());
        previous
            .and_then(|previous| self.two_coloured(previous))
            .map(|(_, targets)| targets)
            .unwrap_or_default()
    }

    /// What leads and what is led to have to be the same before and after.
    pub(super) fn refuse_unlike(&self, previous: &Revision) -> Result<()> {
        let Some((manifest, targets)) = self.two_coloured(previous) else { return Ok(()) };
        match colours::unlike(&previous.manifest, &manifest, &targets) {
            Some(why) => Err(Error::Beside(why)),
            None => Ok(()),
        }
    }

    pub(super) fn green_ids(&self, previous: &Revision) -> Vec<Id> {
        let both = self.two_coloured(previous);
        both.map(|(manifest, targets)| colours::green_ids(&manifest, &targets)).unwrap_or_default()
    }

    pub(super) async fn switch_scene(&mut self, previous: &Revision, weight: u8) -> Result<Scene> {
        let Some((manifest, targets)) =
            self.two_coloured(previous).filter(|(_, targets)| !targets.is_empty())
        else {
            return Err(Error::Beside("none of its targets runs, or none of them will".to_owned()));
        };
        let to = if weight == 0 { Colour::Stable } else { Colour::Green };
        let before = match to {
            // The way in finds one colour alone before there is another.
            Colour::Stable => colours::leading(&previous.manifest, &targets, Colour::Stable),
            Colour::Green if self.book.applied(&during(0)).is_some() => Vec::new(),
            // Whoever wanted all of it now may have wanted it before that was so.
            Colour::Green => {
                let mut before = Vec::new();
                for target in targets.iter().rev().map(std::slice::from_ref) {
                    if !colours::is_led_on(self.driver.port, &manifest, target).await? {
                        before.extend(colours::leading(&previous.manifest, target, Colour::Stable));
                    }
                }
                before
            }
        };
        let leads = match to {
            Colour::Stable => Vec::new(),
            Colour::Green => colours::leading(&manifest, &targets, Colour::Green),
        };
        let mut stands =
            colours::whole(self.driver.port, colours::green(&manifest, &targets, to)).await?.items;
        for item in stands.iter_mut().filter(|item| item.body["kind"] == "Deployment") {
            let id = item.id();
            // The number of one that stands is not ours any more: an autoscaler may have it.
            if colours::replicas(self.driver.port, &id.namespace, &id.name).await?.is_some()
                && let Some(spec) = item.body["spec"].as_object_mut()
            {
                spec.shift_remove("replicas");
            }
        }
        // Green may call who has not been there yet.
        stands.extend(colours::newcomers(&previous.manifest, &manifest, &targets));
        Ok(Scene { before, stands, leads })
    }

    /// Gives green as many pods as what is stable has, unless calls are led to it already. Whether any had too few.
    pub(super) async fn level_green(&mut self, applied: &mut Vec<Applied>) -> Result<bool> {
        let Action::Apply { manifest } = self.book.plan().action.clone() else { return Ok(false) };
        self.level(&manifest, &self.targets_now(), Colour::Green, applied).await
    }

    /// Gives what is stable as many pods as green has, where an autoscaler has decided that. Whether any had too few.
    pub(super) async fn level_stable(
        &mut self,
        manifest: &Manifest,
        applied: &mut Vec<Applied>,
    ) -> Result<bool> {
        self.level(manifest, &self.targets_now(), Colour::Stable, applied).await
    }

    pub(super) async fn level(
        &mut self,
        manifest: &Manifest,
        targets: &[String],
        of: Colour,
        applied: &mut Vec<Applied>,
    ) -> Result<bool> {
        let (port, namespace) = (self.driver.port, self.book.plan().namespace.clone());
        let other = if of == Colour::Green { Colour::Stable } else { Colour::Green };
        let mut is_raised = false;
        for target in targets {
            let own = of.deployment(target);
            match (of, colours::scaled(port, manifest, target).await?) {
                // The manifest says how many.
                (Colour::Stable, None) => continue,
                (_, Some(scaled)) if scaled == own => continue,
                _ => {}
            }
            let live = colours::replicas(port, &namespace, &other.deployment(target)).await?;
            let has = colours::replicas(port, &namespace, &own).await?;
            let (Some(live), Some(has)) = (live, has) else { continue };
            if has >= live {
                continue;
            }
            let answer = apply::replicas(port, &namespace, &own, live).await?;
            let id = Id::of(&answer.object);
            (self.driver.tell)(&News::Applied { id: &id, change: Change::Changed });
            let raised = Applied::answered(&answer.object, wanted(&answer.object), self.driver.clock.now())?;
            match applied.iter_mut().find(|one| one.target == raised.target) {
                Some(known) => *known = raised,
                None => applied.push(raised),
            }
            is_raised = true;
        }
        Ok(is_raised)
    }

    /// The manifest of what is rolled out, while calls are led to green: from now on what is stable is not what it was.
    pub(super) fn while_switched(&mut self, manifest: &Manifest) -> Result<Manifest> {
        let targets = self.targets_now();
        if !targets.is_empty() && self.book.applied(TAKEN_OVER).is_none() {
            self.book.set_applied(TAKEN_OVER, Vec::new())?;
        }
        Ok(colours::dressed(manifest, &targets, Colour::Green))
    }

    /// What leads calls back, where what is stable was not changed yet.
    pub(super) async fn leading_back(&mut self, previous: &Revision) -> Result<Vec<Item>> {
        let Some((_, targets)) = self.two_coloured(previous) else { return Ok(Vec::new()) };
        if !self.is_kept(previous, &targets).await? {
            return Ok(Vec::new());
        }
        // Green may have grown: so many are asked for before they are needed, and nobody waits for them.
        match self.level(&previous.manifest, &targets, Colour::Stable, &mut Vec::new()).await {
            Err(Error::Cluster(error)) if apply::is_refusal(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(colours::leading(&previous.manifest, &targets, Colour::Stable))
    }

    /// Whether what is stable is what it was before the run, and whole.
    async fn is_kept(&self, previous: &Revision, targets: &[String]) -> Result<bool> {
        // What a Deployment says is not yet what its pods are.
        if self.book.applied(TAKEN_OVER).is_some() && self.book.applied(HOME).is_none() {
            return Ok(false);
        }
        for target in targets {
            let Some(said) = colours::deployment(&previous.manifest, target) else { return Ok(false) };
            let id = Id::of(said);
            let live = self.driver.port.get(&id.gvk(), &id.namespace, &id.name).await?;
            if !live.is_some_and(|live| colours::is_as_said(&live, said)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where what is stable is what it was before the run: every Deployment whose pods all have its form, with how many of
    /// them stand. Asked before the way back changes any.
    pub(super) async fn left_alone(&self, previous: &Revision) -> Result<Vec<Applied>> {
        let targets = self.targets_now();
        let mut alone = Vec::new();
        if targets.is_empty() || !self.is_kept(previous, &targets).await? {
            return Ok(alone);
        }
        let workloads = previous.manifest.targets().into_iter();
        for target in workloads.filter(|target| target.kind == Kind::Deployment) {
            let (port, gvk) = (self.driver.port, Gvk::from(target.kind));
            let Some(live) = port.get(&gvk, &target.namespace, &target.name).await? else { continue };
            let pods = |which: &str| live["status"][which].as_u64().unwrap_or(0);
            let available = u32::try_from(pods("availableReplicas")).unwrap_or(u32::MAX);
            if available > 0 && pods("updatedReplicas") == pods("replicas") {
                let one = Applied::answered(&live, Vec::new(), self.driver.clock.now())?;
                alone.push(Applied { stood: Some(available), ..one });
            }
        }
        Ok(alone)
    }

    /// What is applied on the way back: calls stay with green for as long as what is stable is being changed back.
    pub(super) async fn while_going_back(&mut self, previous: &Manifest) -> Result<Manifest> {
        let recorded = self.book.recorded().and_then(|recorded| recorded.previous.clone());
        let both = recorded.and_then(|recorded| Some((self.two_coloured(&recorded)?.1, recorded)));
        let Some((targets, recorded)) = both else { return Ok(previous.clone()) };
        let stand = self.standing_green(&targets).await?;
        if stand == 0 {
            self.until_green_leaves().await?;
            return Ok(previous.clone());
        }
        let is_kept = self.is_kept(&recorded, &targets).await?;
        let on = if stand == targets.len() && !is_kept { Colour::Green } else { Colour::Stable };
        Ok(colours::dressed(previous, &targets, on))
    }

    /// How many of the targets have a green Deployment.
    async fn standing_green(&self, targets: &[String]) -> Result<usize> {
        let namespace = &self.book.plan().namespace;
        let mut stand = 0;
        for target in targets {
            let green = Colour::Green.deployment(target);
            let found = colours::replicas(self.driver.port, namespace, &green).await?;
            stand += usize::from(found.is_some());
        }
        Ok(stand)
    }

    /// Whether there is still something that calls might have to be led back from.
    pub(super) async fn may_be_led_back(&self) -> Result<bool> {
        Ok(!self.is_switched() || self.standing_green(&self.targets_now()).await? > 0)
    }

    /// What is stable stands: calls are led to it, green goes, and everything is as its manifest says.
    pub(super) async fn lead_home(&mut self, manifest: &Manifest, step: Step) -> Result<Option<Came>> {
        let targets = self.targets_now();
        if targets.is_empty() {
            return Ok(None);
        }
        let during = if step == Step::RollBack { "roll-back" } else { "apply" };
        let mut applied = self.book.applied(during).unwrap_or_default().to_vec();
        // The last that goes is what nobody is led to: where it is gone, all were led home.
        let is_home = self.standing_green(&targets).await? == 0;
        // It may have grown meanwhile.
        while self.level_stable(manifest, &mut applied).await? {
            let mut watch = self.new_watch(&applied);
            let whole = self.watch_until(&mut watch, &applied, Until::Done).await?;
            if let Verdict::Failed { cause, .. } = whole.verdict {
                return self.fail(step, cause).map(Some);
            }
        }
        if step == Step::RollBack && self.book.applied(HOME).is_none() {
            self.book.set_applied(HOME, Vec::new())?;
        }
        let leading = match is_home {
            true => Vec::new(),
            false => colours::leading(manifest, &targets, Colour::Stable),
        };
        if let Some(refused) = self.apply_items(&leading, step, &mut Vec::new()).await? {
            return Ok(Some(refused));
        }
        self.clear_beside().await?;
        self.until_green_leaves().await?;
        let plain = colours::plain(manifest, &targets);
        let plain = plain.iter().filter(|item| item.wave == Wave::Workloads);
        self.apply_items(plain, step, &mut Vec::new()).await
    }

    /// Waits until no pod of green is found by who asks for no track.
    pub(super) async fn until_green_leaves(&self) -> Result<()> {
        self.until_leaves(Colour::Green.track()).await
    }

    /// The same of a track. Where they stay, nobody is led to them: whoever takes the run up looks again.
    pub(super) async fn until_leaves(&self, track: &str) -> Result<()> {
        let (port, plan) = (self.driver.port, self.book.plan());
        let labels = format!("{ENVIRONMENT}={},{TRACK}={track}", plan.environment);
        let end = self.driver.clock.now().plus(GONE_WITHIN);
        loop {
            let pods = match port.list(&Gvk::from(Kind::Pod), &plan.namespace, &labels).await {
                Ok(pods) => pods,
                // Who may not look does not wait.
                Err(kubernetes::Error::Forbidden { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let left = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count();
            if left == 0 {
                return Ok(());
            }
            if self.driver.clock.now() >= end {
                return Err(Error::Lingering(left));
            }
            tokio::time::sleep(TICK).await;
        }
    }
}
