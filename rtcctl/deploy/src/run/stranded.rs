//! The second colour of a run that nobody takes up any more: led home from, and gone, before something new begins.
//!
//! Invariants: whoever is sent everything is left only for as many pods that stand, of the revision that is deployed; nobody
//! is ever led to two colours; a run that is taken up again finds its own colour as it was.

use kubernetes::Gvk;
use manifests::render::{ENVIRONMENT, OWNER, TRACK};
use rollout::lifecycle::Step;
use rollout::verdict::Verdict;

use super::Result;
use super::colours::{self, Colour};
use super::drive::{Came, Session};
use super::plan::Removal;
use super::watch::Until;
use crate::manifest::{Id, Item, Manifest};

impl Session<'_, '_> {
    /// Leads calls back to what is deployed where another run has led them to green, and takes green away. `Some` where what
    /// is deployed does not stand: then calls stay where they are.
    pub(super) async fn bring_home(&mut self, deployed: &Manifest) -> Result<Option<Came>> {
        let found = self.stranded().await?;
        let names: Vec<String> = found.iter().filter_map(target_of).collect();
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
        for removal in &found {
            self.delete(removal).await?;
        }
        if !found.is_empty() {
            self.until_green_leaves().await?;
        }
        Ok(None)
    }

    /// What there is of green now.
    async fn stranded(&self) -> Result<Vec<Removal>> {
        let (port, plan) = (self.driver.port, self.book.plan());
        let (environment, track) = (&plan.environment, Colour::Green.track());
        let labels = format!("{}={},{ENVIRONMENT}={environment},{TRACK}={track}", OWNER.0, OWNER.1);
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

/// The target whose second colour it is.
fn target_of(removal: &Removal) -> Option<String> {
    let suffix = Colour::Green.deployment("");
    let is_deployment = removal.id.kind == "Deployment";
    removal.id.name.strip_suffix(&suffix).filter(|_| is_deployment).map(str::to_owned)
}
