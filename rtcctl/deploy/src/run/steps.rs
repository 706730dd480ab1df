//! Each step of a run on its way there.

use std::time::Duration;

use kernel::Timestamp;
use kubernetes::write::{Change, Delete, Force, Owned};
use kubernetes::{Error as ApiError, Gvk};
use rollout::canary::analysis::Verdict as Analysis;
use rollout::code::Code;
use rollout::failure::{Cause, Finality, Reference};
use rollout::lifecycle::{Failure, OnFailure, Step, Trigger};
use rollout::objects::{Kind, Uid};
use rollout::verdict::{Applied, Verdict, Whole};
use rollout::world::Target;
use serde_json::{Value as Json, json};

use super::drive::{Came, News, Session, counted};
use super::plan::{Action, Migration, Removal};
use super::watch::{Until, Watch};
use super::{Error, Recorded, Result};
use crate::apply;
use crate::gate::{Standing, View};
use crate::manifest::{Id, Item, Manifest, Wave, wanted};
use crate::revision::{Head, Heard, History, Others, Revision, Status, under_way};

/// Says when pods were asked to be made anew.
pub const RESTARTED: &str = "rtc.io/restarted-at";
/// Who owns that annotation: an apply of the release leaves it.
pub const RESTART_MANAGER: &str = "rtcctl-restart";
/// How long a job that failed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(60);

impl<'a> Session<'a, '_> {
    fn history(&self) -> History<'_> {
        let plan = self.book.plan();
        History { port: self.driver.port, namespace: &plan.namespace, environment: &plan.environment }
    }

    /// Tells the cluster's own memory what became of the revision.
    pub(super) async fn history_ended(&self, status: Status) -> Result<()> {
        match self.book.plan().action {
            Action::Apply { .. } => Ok(self.history().ended(&self.book.id(), status).await?),
            Action::Restart { .. } => Ok(()),
        }
    }

    fn force(&self) -> Force {
        if self.book.plan().takes_fields { Force::Take } else { Force::Never }
    }

    pub(super) async fn record(&mut self) -> Result<Came> {
        if self.book.recorded().is_none() {
            let all = self.history().all().await?;
            let now = self.driver.clock.now();
            let is_release = matches!(self.book.plan().action, Action::Apply { .. });
            if is_release
                && self.book.plan().others == Others::Respected
                && let Some(other) = under_way(&all, &self.book.id(), now)
            {
                return Err(Error::UnderWay(Box::new(other)));
            }
            let previous = all.into_iter().find(|revision| revision.head.status == Status::Deployed);
            let mut added = Vec::new();
            if let Action::Apply { manifest } = self.book.plan().action.clone() {
                if let Some(previous) = &previous {
                    self.refuse_unlike(previous)?;
                    if let Some(failed) = self.bring_home(&previous.manifest).await? {
                        return Ok(failed);
                    }
                }
                let mut wanted: Vec<Id> = manifest.ids().collect();
                wanted.extend(self.beside_ids(previous.as_ref())?);
                for id in wanted {
                    if self.driver.port.get(&id.gvk(), &id.namespace, &id.name).await?.is_none() {
                        added.push(id);
                    }
                }
            }
            self.book.set_recorded(Recorded { previous, added })?;
        }
        let previous = self.book.recorded().and_then(|recorded| recorded.previous.as_ref());
        let number = previous.map(|previous| previous.head.number);
        if number.is_none() && self.book.lifecycle().on_failure == OnFailure::RollBack {
            // There is nothing to go back to.
            self.book.set_on_failure(OnFailure::Leave)?;
        }
        Ok(Came::with(Trigger::Recorded, json!({ "previous": number })))
    }

    pub(super) async fn migrate(&mut self) -> Result<Came> {
        let Action::Apply { manifest } = self.book.plan().action.clone() else {
            return Ok(Came::of(Trigger::Migrated));
        };
        for wave in [Wave::Ground, Wave::Surroundings] {
            if let Some(failed) = self.apply_wave(&manifest, wave, Step::Migrate, &mut Vec::new()).await? {
                return Ok(failed);
            }
            if wave == Wave::Ground {
                self.begin_revision(&manifest).await?;
            }
        }
        if self.book.plan().migration == Migration::Skip {
            return Ok(Came::with(Trigger::Migrated, json!("skipped: schemas only go forward")));
        }
        let jobs: Vec<Item> = manifest.wave(Wave::Migration).cloned().collect();
        if jobs.is_empty() {
            return Ok(Came::with(Trigger::Migrated, json!("there is none")));
        }
        let mut applied = Vec::new();
        for job in &jobs {
            match self.run_job(job).await {
                Ok(answer) => applied.push(Applied::answered(&answer, Vec::new(), self.driver.clock.now())?),
                Err(Error::Cluster(error)) if apply::is_refusal(&error) => {
                    return self.refused(Step::Migrate, &job.id(), &error);
                }
                Err(error) => return Err(error),
            }
        }
        self.book.set_applied("migrate", applied.clone())?;
        let mut watch = self.new_watch(&applied);
        let whole = self.watch_until(&mut watch, &applied, Until::Done).await?;
        match whole.verdict {
            Verdict::Failed { cause, .. } => self.fail(Step::Migrate, cause),
            _ => Ok(Came::with(Trigger::Migrated, counted(Step::Migrate, "jobs", jobs.len()))),
        }
    }

    /// The job, as it is: found, or made. One that failed in a run before is made again.
    async fn run_job(&mut self, job: &Item) -> Result<Json> {
        let (port, id) = (self.driver.port, job.id());
        if let Some(found) = port.get(&id.gvk(), &id.namespace, &id.name).await? {
            let has_failed = found["status"]["conditions"].as_array().is_some_and(|conditions| {
                conditions.iter().any(|one| one["type"] == "Failed" && one["status"] == "True")
            });
            let is_ours = self.book.applied("migrate").is_some();
            if !has_failed || is_ours {
                return Ok(found);
            }
            let uid = found["metadata"]["uid"].as_str().map(Uid::from);
            let how = Delete { uid, owned: Owned::Background, ..Delete::default() };
            port.delete(&id.gvk(), &id.namespace, &id.name, &how).await?;
            let end = self.driver.clock.now().plus(GONE_WITHIN);
            while port.get(&id.gvk(), &id.namespace, &id.name).await?.is_some()
                && self.driver.clock.now() < end
            {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        let applied = apply::one(port, job, self.force()).await?;
        (self.driver.tell)(&News::Applied { id: &id, change: applied.change });
        Ok(applied.object)
    }

    async fn begin_revision(&self, manifest: &Manifest) -> Result<Head> {
        let plan = self.book.plan();
        let head = Head {
            number: 0,
            status: Status::Pending,
            run: self.book.id(),
            by: plan.by.clone(),
            command: plan.command.clone(),
            image: plan.image.clone(),
            version: plan.version.clone(),
            at: self.driver.clock.now(),
        };
        let description = plan.description.clone();
        let others = plan.others;
        let (manifest, heard) = (manifest.clone(), Heard::Never);
        self.history().begin(Revision { head, manifest, description, heard }, others).await
    }

    pub(super) async fn apply(&mut self) -> Result<Came> {
        if let Some(came) = self.go_beside().await? {
            return Ok(came);
        }
        match self.book.plan().action.clone() {
            Action::Apply { manifest } => {
                let manifest = self.while_switched(&manifest)?;
                self.apply_manifest(&manifest).await
            }
            Action::Restart { targets, at } => self.apply_restart(&targets, at).await,
        }
    }

    async fn apply_manifest(&mut self, manifest: &Manifest) -> Result<Came> {
        let mut applied = Vec::new();
        for wave in [Wave::Workloads, Wave::Entry] {
            if let Some(failed) = self.apply_wave(manifest, wave, Step::Apply, &mut applied).await? {
                return Ok(failed);
            }
        }
        self.level_stable(manifest, &mut applied).await?;
        self.applied_now(Step::Apply, "apply", applied, manifest.items.len())
    }

    fn applied_now(&mut self, step: Step, during: &str, list: Vec<Applied>, objects: usize) -> Result<Came> {
        // The first answer is what is watched: when it is applied again, nothing changes.
        let list = match self.book.applied(during) {
            Some(known) => renewed(known, list),
            None => list,
        };
        self.book.set_applied(during, list)?;
        Ok(Came::with(Trigger::Applied, counted(step, "objects", objects)))
    }

    async fn apply_restart(&mut self, targets: &[Target], at: Timestamp) -> Result<Came> {
        let mut applied = Vec::new();
        for target in targets {
            let gvk = Gvk::from(target.kind);
            let object = json!({
                "apiVersion": gvk.api_version(), "kind": gvk.kind,
                "metadata": { "name": target.name, "namespace": target.namespace },
                "spec": { "template": { "metadata": { "annotations": { RESTARTED: at.to_string() } } } },
            });
            let how = kubernetes::write::Apply {
                manager: RESTART_MANAGER.to_owned(),
                force: Force::Take,
                ..Default::default()
            };
            let id = Id::of(&object);
            match self.driver.port.apply(&object, &how).await {
                Ok(answer) => {
                    (self.driver.tell)(&News::Applied { id: &id, change: answer.change });
                    let wanted = wanted(&answer.object);
                    applied.push(Applied::answered(&answer.object, wanted, self.driver.clock.now())?);
                }
                Err(error) if apply::is_refusal(&error) => return self.refused(Step::Apply, &id, &error),
                Err(error) => return Err(error.into()),
            }
        }
        self.applied_now(Step::Apply, "apply", applied, targets.len())
    }

    /// Applies a wave, and keeps what is to be watched. `Some` where the cluster refused an object.
    pub(super) async fn apply_wave(
        &mut self,
        manifest: &Manifest,
        wave: Wave,
        step: Step,
        applied: &mut Vec<Applied>,
    ) -> Result<Option<Came>> {
        self.apply_items(manifest.wave(wave), step, applied).await
    }

    /// As [`Self::apply_wave`], of these.
    pub(super) async fn apply_items<'i>(
        &mut self,
        items: impl IntoIterator<Item = &'i Item>,
        step: Step,
        applied: &mut Vec<Applied>,
    ) -> Result<Option<Came>> {
        self.is_still_ours().await?;
        let force = if step == Step::RollBack { Force::Take } else { self.force() };
        for item in items {
            let id = item.id();
            let answer = match apply::one(self.driver.port, item, force).await {
                Ok(answer) => answer,
                Err(error) if apply::is_refusal(&error) => return self.refused(step, &id, &error).map(Some),
                Err(error) => return Err(error.into()),
            };
            if answer.change != Change::Unchanged {
                (self.driver.tell)(&News::Applied { id: &id, change: answer.change });
            }
            if item.target().is_some() {
                let now = self.driver.clock.now();
                applied.push(Applied::answered(&answer.object, wanted(&item.body), now)?);
            }
        }
        Ok(None)
    }

    /// The cluster said no to an object.
    fn refused(&mut self, step: Step, id: &Id, error: &ApiError) -> Result<Came> {
        let code = match error {
            ApiError::Quota { .. } => Code::QuotaExceeded,
            ApiError::Forbidden { .. } => Code::NotCreated,
            ApiError::Admission { message, .. } if message.contains("PodSecurity") => Code::PodSecurity,
            _ => Code::Refused,
        };
        let about = Kind::named(&id.kind).map(|kind| Reference {
            kind,
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: Uid::default(),
            container: None,
        });
        // Not behind a mark: the name of a secret would hide what follows it.
        let why = format!("{id} is refused; {}", apply::said(error));
        let cause = Cause { code, finality: Finality::Final, why, about: about.into_iter().collect() };
        self.fail(step, cause)
    }

    /// Follows what was applied.
    pub(super) fn new_watch(&self, applied: &[Applied]) -> Watch<'a> {
        let targets = applied.iter().map(|one| one.target.clone()).collect();
        Watch::new(self.driver.port, self.driver.clock, targets)
    }

    pub(super) async fn watch_until(
        &self,
        watch: &mut Watch<'a>,
        applied: &[Applied],
        until: Until,
    ) -> Result<Whole> {
        let tell = self.driver.tell;
        watch.until(applied, &self.book.plan().rules, until, &|whole| tell(&News::Pods(whole))).await
    }

    /// What was applied by this run, and who follows it.
    fn followed(&mut self) -> (Vec<Applied>, Watch<'a>) {
        let applied = self.book.applied("apply").unwrap_or_default().to_vec();
        // A canary's pods are others.
        let watch = match self.watch.take().filter(|watch| watch.follows(&applied)) {
            Some(watch) => watch,
            None => self.new_watch(&applied),
        };
        (applied, watch)
    }

    pub(super) async fn watch_applied(&mut self) -> Result<Came> {
        let (applied, mut watch) = self.followed();
        let whole = self.watch_until(&mut watch, &applied, Until::Done).await?;
        self.watch = Some(watch);
        match whole.verdict {
            Verdict::Failed { cause, .. } => self.fail(Step::Watch, cause),
            ref verdict => {
                let pods = verdict.progress().available as usize;
                self.book.set_applied("apply", whole.stood(applied))?;
                Ok(Came::with(Trigger::Watched, counted(Step::Watch, "pods", pods)))
            }
        }
    }

    pub(super) async fn bake(&mut self) -> Result<Came> {
        let bake = self.book.plan().bake;
        if bake.is_zero() {
            return Ok(Came::of(Trigger::Baked));
        }
        if self.is_all_switched() {
            return Ok(Came::with(Trigger::Baked, json!("it stood while it was sent everything")));
        }
        let now = self.driver.clock.now();
        let until = self.book.began(Step::Bake).unwrap_or(now).plus(bake);
        (self.driver.tell)(&News::Baking { left_s: until.since(now).as_secs() });
        let (applied, mut watch) = self.followed();
        let whole = self.watch_until(&mut watch, &applied, Until::HoldsAt(until)).await?;
        self.watch = Some(watch);
        match whole.verdict {
            Verdict::Failed { cause, .. } => self.fail(Step::Bake, cause),
            _ => Ok(Came::with(Trigger::Baked, json!({ "seconds": bake.as_secs() }))),
        }
    }

    pub(super) async fn gate(&mut self) -> Result<Came> {
        let (Some(gate), Some(gauge)) = (self.book.plan().gate.clone(), self.driver.gauge) else {
            return Ok(Came::with(Trigger::Gated, json!("there is none")));
        };
        if self.is_all_switched() {
            return Ok(Came::with(Trigger::Gated, json!("it was asked while the other was sent everything")));
        }
        let since = self.book.applied("apply").into_iter().flatten().map(|one| one.at).min();
        let since = since.or(self.book.began(Step::Gate)).unwrap_or(self.driver.clock.now());
        let names = self.book.applied("apply").into_iter().flatten().map(|one| one.target.name.clone());
        let pods = pods_of(names);
        let mut standing = Standing::new(&gate);
        loop {
            let view = View { since, now: self.driver.clock.now(), pods: pods.clone() };
            standing.measure(&gate, gauge, &view).await;
            let (verdict, says) = standing.verdict(&gate);
            if verdict != Analysis::Running {
                (self.driver.tell)(&News::Gate { says: &says });
                self.book.set_said(says.clone())?;
            }
            match verdict {
                Analysis::Running => tokio::time::sleep(gate.interval()).await,
                Analysis::Pass => return Ok(Came::with(Trigger::Gated, json!(says))),
                Analysis::Fail => return Ok(Came::failed(Failure::Gate)),
                Analysis::Inconclusive | Analysis::Error => return Ok(Came::failed(Failure::Inconclusive)),
            }
        }
    }

    pub(super) async fn end(&mut self) -> Result<Came> {
        if let Action::Apply { manifest } = self.book.plan().action.clone()
            && let Some(failed) = self.lead_home(&manifest, Step::End).await?
        {
            return Ok(failed);
        }
        let mut gone = self.clear_beside().await?;
        for removal in self.book.plan().removes.clone().iter().filter(|one| apply::may_go(&one.id)) {
            gone += usize::from(self.delete(removal).await?);
        }
        self.took_over()?;
        Ok(Came::with(Trigger::Ended, counted(Step::End, "deleted", gone)))
    }

    /// Deletes the object that is meant, if what bears its name now is that one and has our labels. Whether it went.
    pub(super) async fn delete(&self, removal: &Removal) -> Result<bool> {
        let (port, id) = (self.driver.port, &removal.id);
        let Some(found) = port.get(&id.gvk(), &id.namespace, &id.name).await? else { return Ok(false) };
        let uid = found["metadata"]["uid"].as_str();
        let is_meant = removal.uid.as_deref().is_none_or(|meant| Some(meant) == uid);
        if !is_meant || !apply::is_ours(&found, &self.book.plan().environment) {
            (self.driver.tell)(&News::Spared(id));
            return Ok(false);
        }
        let uid = uid.map(Uid::from);
        port.delete(&id.gvk(), &id.namespace, &id.name, &Delete { uid, ..Delete::default() }).await?;
        (self.driver.tell)(&News::Deleted(id));
        Ok(true)
    }
}

/// A regular expression of the names of pods of Deployments.
pub(super) fn pods_of(names: impl Iterator<Item = String>) -> String {
    format!("(?:{})-.*", names.collect::<Vec<_>>().join("|"))
}

/// What was answered first, unless the object was changed since by us.
fn renewed(known: &[Applied], answered: Vec<Applied>) -> Vec<Applied> {
    answered
        .into_iter()
        .map(|new| {
            let same = known.iter().find(|old| {
                old.target == new.target
                    && old.uid == new.uid
                    && old.generation == new.generation
                    && old.fingerprint == new.fingerprint
            });
            same.cloned().unwrap_or(new)
        })
        .collect()
}
