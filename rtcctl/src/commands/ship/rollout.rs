//! The way into the cluster and back, as steps of a release.
//!
//! Invariant: the run of a rollout is in the journal of the release before it changes anything, so that another process
//! goes on with that run and begins no second one.

use codes::{Error, Result};
use serde_json::json;
use ship::{
    Answered, Collected, Deployed, Digest, Failure, How, Load, OnFailure, Proved, Proving, RolledBack, Step,
};

use super::driver::{self, Driver, failure};
use super::history::{ROLLBACK, ROLLOUT};
use crate::commands::deploy::prove::{self, Proved as Shown};
use crate::commands::deploy::steps::{self as deploy, Seen};
use crate::context::Context;
use crate::load::Verdict;

type Came<T> = std::result::Result<T, Box<Failure>>;

/// Rolls out, or goes on with the rollout that there is.
pub async fn deploy(driver: &mut Driver<'_>, reference: &str, _image: &Digest, how: How) -> Came<Deployed> {
    let context = driver.context;
    let known = driver.known_run(ROLLOUT).filter(|_| how == How::Again);
    let on_failure = match driver.request.on_failure {
        OnFailure::RollBack => ::rollout::lifecycle::OnFailure::RollBack,
        OnFailure::Leave => ::rollout::lifecycle::OnFailure::Leave,
    };
    let proving = proving(driver.request.prove.as_ref());
    let mut run = known.clone();
    let rolled = {
        let began = |id: &str| {
            run = Some(id.to_owned());
            driver.know_run(ROLLOUT, id)
        };
        Box::pin(deploy::roll_out(reference, on_failure, &proving, known.as_deref(), began, context)).await
    };
    match rolled {
        Ok(rolled) => deployed(rolled, context).map_err(|error| failure(Step::Deploy, &error)),
        Err(error) => {
            let mut failed = failure(Step::Deploy, &error);
            if let Some(run) = run {
                failed.evidence = deploy::evidence(&run, context);
            }
            Err(failed)
        }
    }
}

/// As the rollout takes it.
pub fn proving(asked: Option<&Proving>) -> prove::Args {
    asked.map_or_else(prove::Args::default, |asked| prove::Args {
        prove: Some(asked.address.clone().unwrap_or_default()),
        prove_rate: asked.rate,
    })
}

/// What load has shown: what it did not see all of is never well, and what it saw lost is lost.
pub fn shown(seen: Seen, proved: Option<&Shown>) -> (Option<f64>, Load) {
    let Some(proved) = proved else {
        let sentence = "the rollout was over before load could be driven".to_owned();
        return (None, Load { answered: Answered::Unknown, sentence, details: serde_json::Value::Null });
    };
    let measured = proved.sentence();
    let (answered, sentence) = match (&proved.verdict, seen) {
        (Verdict::Breached(_), _) => {
            let errors = proved.figures.errors.iter().map(|(what, count)| format!("{what} {count}"));
            (Answered::NotAll, format!("{measured}: {}", errors.collect::<Vec<_>>().join(", ")))
        }
        (Verdict::Inconclusive(why), _) => (Answered::Unknown, format!("{measured}: {why}")),
        (Verdict::Kept, Seen::All) => (Answered::All, measured),
        (Verdict::Kept, Seen::Rest | Seen::Nothing) => {
            (Answered::Unknown, format!("{measured}, and the rollout had begun before the load"))
        }
    };
    let share = proved.figures.availability_percent.map(|percent| percent / 100.0);
    (share, Load { answered, sentence, details: proved.document.clone() })
}

fn deployed(rolled: deploy::Rolled, context: &Context) -> Result<Deployed> {
    let image = rolled.image.split_once('@').map_or("", |(_, digest)| digest);
    let load = rolled.load.map(|load| shown(load.seen, load.proved.as_ref()));
    let (availability, load) = load.map_or((None, None), |(share, load)| (share, Some(load)));
    Ok(Deployed {
        image: driver::digest(image)?,
        manifest: driver::digest(&rolled.manifest.to_string())?,
        revision: Some(rolled.revision.to_string()),
        previous: rolled.previous.map(|number| number.to_string()),
        availability,
        load,
        done_at_ms: context.clock.now().as_millis(),
        run: Some(rolled.run),
        details: json!({
            "namespace": rolled.namespace, "reference": rolled.image, "previous_image": rolled.previous_image,
        }),
    })
}

fn text<'a>(deployed: &'a Deployed, key: &str) -> &'a str {
    deployed.details[key].as_str().unwrap_or_default()
}

/// What the pods run. That none does is told by the release.
pub async fn running(context: &Context, deployed: &Deployed) -> Result<Proved> {
    let repository = deploy::name_of(text(deployed, "reference"));
    let (digests, pods) = deploy::running(text(deployed, "namespace"), repository, context).await?;
    let running: Vec<Digest> = digests.iter().map(|one| driver::digest(one)).collect::<Result<_>>()?;
    let is_shown = deployed.load.as_ref().is_some_and(|load| load.answered == Answered::All);
    Ok(Proved { running, pods, availability: deployed.availability.filter(|_| is_shown) })
}

/// What shows why it is taken back.
pub async fn collect(driver: &mut Driver<'_>, deployed: &Deployed) -> Came<Collected> {
    let context = driver.context;
    let file = |name: &str| driver.evidence_file(name);
    let kept = deploy::keep(text(deployed, "namespace"), file, context).await;
    let (files, missing) = kept.map_err(|error| failure(Step::Collect, &error))?;
    Ok(Collected { files, missing })
}

/// Brings back what ran before, or goes on with that.
pub async fn roll_back(driver: &mut Driver<'_>, deployed: &Deployed, how: How) -> Came<RolledBack> {
    let context = driver.context;
    let known = driver.known_run(ROLLBACK).filter(|_| how == How::Again);
    let revision = deployed.revision.as_deref().and_then(|revision| revision.parse().ok());
    let revision: u64 = revision.ok_or_else(|| {
        failure(Step::RollBack, &Error::new(&codes::DEP014, "nothing is known of what ran before"))
    })?;
    let began = |id: &str| driver.know_run(ROLLBACK, id);
    let back = deploy::go_back(revision, known.as_deref(), began, context).await;
    let back = back.map_err(|error| failure(Step::RollBack, &error))?;
    let image = back.image.split_once('@').and_then(|(_, digest)| digest.parse().ok());
    Ok(RolledBack { image, revision: Some(back.revision.to_string()) })
}

/// What a rollout would change.
pub async fn survey(context: &Context, reference: &str) -> Result<deploy::Survey> {
    deploy::survey(reference, context).await
}
