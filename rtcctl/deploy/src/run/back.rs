//! The way back: what was recorded is brought back, and what the run has brought goes.
//!
//! Invariants: what is sent calls is left alone until what ran before stands; what the run has left alone stands with the pods
//! that it has; what was there before the run, and what is not ours, stays; a refusal or pods that do not come end the way
//! back, and nothing more is done.

use std::collections::BTreeSet;

use rollout::lifecycle::{Step, Trigger};
use rollout::verdict::{Applied, Verdict};
use serde_json::json;

use super::Result;
use super::drive::{Came, Session};
use super::watch::Until;
use crate::apply;
use crate::manifest::{Id, Item, Manifest, Wave};

impl Session<'_, '_> {
    pub(super) async fn roll_back(&mut self) -> Result<Came> {
        let Some(recorded) = self.book.recorded().cloned() else {
            return Ok(Came::of(Trigger::RestoreFailed));
        };
        let Some(previous) = recorded.previous else { return Ok(Came::of(Trigger::RestoreFailed)) };
        if self.may_be_led_back().await? {
            self.call_back(&previous).await?;
        }
        let alone = self.left_alone(&previous).await?;
        let mut manifest = self.while_going_back(&previous.manifest).await?;
        // What finds pods of a canary as well finds none of them until they are gone.
        let apart = self.apart(&previous.manifest);
        for item in &mut manifest.items {
            if let Some(own) = apart.iter().find(|own| own.id() == item.id()) {
                *item = own.clone();
            }
        }
        // What is sent everything lives by the new policies until it is sent nothing.
        let is_switched = self.is_switched();
        let (policies, items): (Vec<Item>, Vec<Item>) =
            manifest.items.into_iter().partition(|item| is_switched && is_policy(item));
        let manifest = Manifest { items };
        let mut applied = Vec::new();
        for wave in [Wave::Ground, Wave::Surroundings, Wave::Workloads, Wave::Entry] {
            let refused = self.apply_wave(&manifest, wave, Step::RollBack, &mut applied).await?;
            if refused.is_some() {
                return Ok(Came::of(Trigger::RestoreFailed));
            }
        }
        // What is sent everything goes when it is sent nothing any more.
        let beside = self.beside_ids(Some(&previous))?;
        let added: BTreeSet<Id> = recorded.added.into_iter().collect();
        let is_extra = |id: &Id| apply::may_go(id) && !previous.manifest.has(id) && !beside.contains(id);
        let extra: Vec<Id> = added.into_iter().filter(is_extra).collect();
        if !is_switched {
            self.clear_beside().await?;
            if self.rejoin(&previous.manifest, &apart, Step::RollBack).await?.is_some() {
                return Ok(Came::of(Trigger::RestoreFailed));
            }
            self.delete_all(&extra).await?;
        }
        self.level_stable(&manifest, &mut applied).await?;
        let applied = standing(&alone, applied);
        self.book.set_applied("roll-back", applied.clone())?;
        let mut watch = self.new_watch(&applied);
        // The room that who was left alone would grow into is what stands beside it, and goes after this.
        let until = Until::HoldsAt(self.driver.clock.now());
        let whole = self.watch_until(&mut watch, &applied, until).await?;
        if let Verdict::Failed { cause, .. } = whole.verdict {
            self.book.add_cause(cause)?;
            return Ok(Came::of(Trigger::RestoreFailed));
        }
        if self.lead_home(&previous.manifest, Step::RollBack).await?.is_some() {
            return Ok(Came::of(Trigger::RestoreFailed));
        }
        if is_switched {
            if self.apply_items(&policies, Step::RollBack, &mut Vec::new()).await?.is_some() {
                return Ok(Came::of(Trigger::RestoreFailed));
            }
            self.delete_all(&extra).await?;
        }
        Ok(Came::with(Trigger::Restored, json!({ "revision": previous.head.number })))
    }

    async fn delete_all(&self, ids: &[Id]) -> Result<()> {
        for id in ids {
            self.delete(&id.clone().into()).await?;
        }
        Ok(())
    }
}

/// What was answered, where what was left alone has the same form still with how many pods of it stand.
fn standing(alone: &[Applied], mut applied: Vec<Applied>) -> Vec<Applied> {
    for one in &mut applied {
        let known = alone.iter().find(|known| {
            known.target == one.target && known.uid == one.uid && known.fingerprint == one.fingerprint
        });
        one.stood = known.and_then(|known| known.stood);
    }
    applied
}

/// Whether it says who may talk to whom.
fn is_policy(item: &Item) -> bool {
    let kind = item.body["kind"].as_str().unwrap_or_default();
    ["NetworkPolicy", "PeerAuthentication", "AuthorizationPolicy"].contains(&kind)
}
