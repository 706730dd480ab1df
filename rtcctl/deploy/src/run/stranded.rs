//! What a run has left beside that nobody takes up any more: led home from, and gone, before something new begins.
//!
//! Invariants: green that is sent everything is left only for as many pods that stand, of the revision that is deployed; nobody
//! is ever led to two colours; nobody is led to a canary whose run is not the one that goes on; a run that is taken up again
//! finds its own second version as it was.

use kubernetes::Gvk;
use manifests::render::{ENVIRONMENT, OWNER, TRACK};
use rollout::lifecycle::Step;
use rollout::verdict::Verdict;

use super::Result;
use super::beside::{CANARY, finding_stable, leading_back};
use super::colours::{self, Colour};
use super::drive::{Came, Session};
use super::plan::Removal;
use super::watch::Until;
use crate::manifest::{Id, Item, Manifest};

/// The tracks of what stands beside.
const BESIDE: &str = "(canary,green)";

impl Session<'_, '_> {
    /// Leads calls back to what is deployed where another run has led them elsewhere, and takes away what it has left. `Some`
    /// where what is deployed does not stand: then calls stay where they are.
    pub(super) async fn bring_home(&mut self, deployed: &Manifest) -> Result<Option<Came>> {
        let mut found = self.found_beside().await?;
        found.retain(|one| !deployed.has(&one.id));
        let (canaries, green): (Vec<Removal>, Vec<Removal>) =
            found.into_iter().partition(|one| one.id.name.ends_with(&ending(CANARY)));
        if let Some(failed) = self.leave_green(deployed, &green).await? {
            return Ok(Some(failed));
        }
        self.leave_canaries(deployed, &canaries).await
    }

    async fn leave_green(&mut self, deployed: &Manifest, found: &[Removal]) -> Result<Option<Came>> {
        let green = Colour::Green.track();
        let names: Vec<String> = found.iter().filter_map(|one| target_of(one, green)).collect();
        let targets = colours::targets(deployed, deployed, &names);
        let mut led = Vec::new();
        for target in &targets {
            if colours::is_led_on(self.driver.port, deployed, std::slice::from_ref(target)).await? {
                led.push(target.clone());
            }
        }
        // The run may have died while it gave them its own version.
        let stable = deployed
            .items
            .iter()
            .filter(|item| item.target().is_some_and(|target| led.contains(&target.name)));
        let mut applied = Vec::new();
        if let Some(refused) = self.apply_items(stable, Step::Record, &mut applied).await? {
            return Ok(Some(refused));
        }
        while !led.is_empty() {
            let is_raised = self.level(deployed, &led, Colour::Stable, &mut applied).await?;
            let mut watch = self.new_watch(&applied);
            let whole = self.watch_until(&mut watch, &applied, Until::Done).await?;
            if let Verdict::Failed { cause, .. } = whole.verdict {
                return self.fail(Step::Record, cause).map(Some);
            }
            if !is_raised {
                break;
            }
        }
        let home: Vec<Item> = colours::leading(deployed, &targets, Colour::Stable);
        if let Some(refused) = self.apply_items(&home, Step::Record, &mut Vec::new()).await? {
            return Ok(Some(refused));
        }
        for removal in found {
            self.delete(removal).await?;
        }
        if !found.is_empty() {
            self.until_green_leaves().await?;
        }
        Ok(None)
    }

    /// What finds pods of a canary finds none of them until they are gone, and whom it found before from then on.
    async fn leave_canaries(&mut self, deployed: &Manifest, found: &[Removal]) -> Result<Option<Came>> {
        let targets: Vec<String> = found.iter().filter_map(|one| target_of(one, CANARY)).collect();
        let back = leading_back(deployed, &targets);
        if let Some(refused) = self.apply_items(&back, Step::Record, &mut Vec::new()).await? {
            return Ok(Some(refused));
        }
        for removal in found {
            self.delete(removal).await?;
        }
        // Whoever deleted them may have died before they were gone.
        self.until_canaries_leave(deployed).await?;
        self.rejoin(deployed, &finding_stable(deployed, &targets), Step::Record).await
    }

    /// Waits until no pod of a canary is left, unless the release has one of its own, which stays.
    pub(super) async fn until_canaries_leave(&self, release: &Manifest) -> Result<()> {
        let is_own = |item: &Item| item.body["metadata"]["labels"][TRACK] == CANARY;
        if release.items.iter().any(is_own) {
            return Ok(());
        }
        self.until_leaves(CANARY).await
    }

    /// What there is now of other tracks than the one that runs.
    pub(super) async fn found_beside(&self) -> Result<Vec<Removal>> {
        let (port, plan) = (self.driver.port, self.book.plan());
        let labels =
            format!("{}={},{ENVIRONMENT}={},{TRACK} in {BESIDE}", OWNER.0, OWNER.1, plan.environment);
        let mut found = Vec::new();
        for (version, kind) in [("apps/v1", "Deployment"), ("v1", "Service")] {
            match port.list(&Gvk::named(version, kind), &plan.namespace, &labels).await {
                Ok(bodies) => found.extend(bodies.iter().map(|body| {
                    let uid = body["metadata"]["uid"].as_str().map(str::to_owned);
                    Removal { id: Id::of(body), uid }
                })),
                // What may not be looked for is not there for us.
                Err(kubernetes::Error::Forbidden { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

/// How names of a track's objects end.
fn ending(track: &str) -> String {
    format!("-{track}")
}

/// The target whose second version it is.
fn target_of(removal: &Removal, track: &str) -> Option<String> {
    let is_deployment = removal.id.kind == "Deployment";
    removal.id.name.strip_suffix(&ending(track)).filter(|_| is_deployment).map(str::to_owned)
}
