//! The loop: what comes next is begun, done, checked and written down, until there is an end.
//!
//! Invariant: a step is begun on disk before anything of it happens, and what it gave is on disk before the next one begins.

use crate::failure::{Failure, Lasting};
use crate::given::{
    Applied, BudgetSeen, Built, Collected, Deployed, Digest, Gated, Given, Noticed, Planned, Proved, Pushed,
    RolledBack,
};
use crate::release::{End, Fact, Next, Outcome, Release};
use crate::request::Budgeting;
use crate::standing::Stood;
use crate::step::{How, Step};
use crate::story::Story;

/// Where facts are kept.
pub trait Ledger {
    type Error;

    /// On disk when this returns.
    ///
    /// # Errors
    /// It could not be kept: nothing more is done.
    fn write(&mut self, fact: &Fact) -> Result<(), Self::Error>;

    /// Somebody wrote what cannot be, or a step was begun without what it needs: a defect.
    fn defect(&self, what: &str) -> Self::Error;
}

/// What the steps are done by. Each may be called again after it was cut off anywhere; [`How`] says so.
#[expect(async_fn_in_trait, reason = "one driver, on one task")]
pub trait Steps {
    /// Looks at the budgets, and at what the gate will measure.
    async fn budget(&mut self, judged: Budgeting) -> Result<BudgetSeen, Box<Failure>>;
    async fn plan(&mut self) -> Result<Planned, Box<Failure>>;
    async fn apply(&mut self, judged: &Planned, how: How) -> Result<Applied, Box<Failure>>;
    async fn build(&mut self, how: How) -> Result<Built, Box<Failure>>;
    async fn push(&mut self, built: &Built, how: How) -> Result<Pushed, Box<Failure>>;
    /// `reference` names the image by `digest`.
    async fn deploy(&mut self, reference: &str, digest: &Digest, how: How) -> Result<Deployed, Box<Failure>>;
    async fn prove(&mut self, deployed: &Deployed) -> Result<Proved, Box<Failure>>;
    /// `before` is how each measure stood before the release; one that is not in it was not looked at.
    async fn gate(&mut self, deployed: &Deployed, before: &[Stood]) -> Result<Gated, Box<Failure>>;
    /// What cannot be had is told in what it gives.
    async fn collect(&mut self, deployed: &Deployed, why: &Failure) -> Result<Collected, Box<Failure>>;
    async fn roll_back(&mut self, deployed: &Deployed, how: How) -> Result<RolledBack, Box<Failure>>;
    /// Who cannot be reached is told in what it gives.
    async fn notice(&mut self, story: &Story) -> Result<Noticed, Box<Failure>>;
}

/// Goes on with a release until it ends or stops.
///
/// # Errors
/// The ledger could not be written.
pub async fn drive<D: Steps + Ledger>(release: &mut Release, driver: &mut D) -> Result<End, D::Error> {
    loop {
        let (step, how) = match release.next() {
            Next::End(end) => return Ok(*end),
            Next::Skip { step, reason } => {
                record(release, driver, Fact::Skipped { step, reason })?;
                continue;
            }
            Next::Do { step, how } => (step, how),
        };
        record(release, driver, Fact::Begun { step, inputs: release.inputs(step) })?;
        let done = match carry_out(step, how, release, driver).await {
            None => return Err(driver.defect("a step was begun without what it needs")),
            Some(done) => done,
        };
        let fact = match done.and_then(|given| release.hand_over(&given).map(|()| given)) {
            Ok(given) => Fact::Finished { given },
            Err(why) if why.is_wish() => return Ok(End::Stopped { why: *why, noticed: None }),
            Err(why) => match step {
                Step::Collect => {
                    let missing = vec![why.message];
                    Fact::Finished { given: Given::Collect(Collected { missing, ..Collected::default() }) }
                }
                Step::Notice => {
                    let problems = vec![why.message];
                    Fact::Finished { given: Given::Notice(Noticed { problems, ..Noticed::default() }) }
                }
                // Nothing was changed yet, and somebody may agree later.
                Step::RollBack if why.is_no() => return Ok(stop(release, driver, *why).await),
                // Nobody knows what runs now, and somebody has to look.
                Step::RollBack => Fact::Failed { failure: why.lasting() },
                _ if why.lasting == Lasting::Passing => return Ok(stop(release, driver, *why).await),
                _ => Fact::Failed { failure: *why },
            },
        };
        record(release, driver, fact)?;
    }
}

/// The run stays open, and those who wait for it are told.
async fn stop<D: Steps + Ledger>(release: &Release, driver: &mut D, why: Failure) -> End {
    let end = End::Stopped { why: why.clone(), noticed: None };
    let noticed = match release.request.skips(Step::Notice) {
        Some(_) => None,
        None => match driver.notice(&Story::of(release, &end)).await {
            Ok(noticed) => Some(noticed),
            Err(problem) => Some(Noticed { problems: vec![problem.message], ..Noticed::default() }),
        },
    };
    End::Stopped { why, noticed }
}

/// On disk first, in memory then.
fn record<D: Ledger>(release: &mut Release, driver: &mut D, fact: Fact) -> Result<(), D::Error> {
    driver.write(&fact)?;
    match release.take(fact) {
        Outcome::Done | Outcome::AlreadyDone => Ok(()),
        Outcome::Refused(reason) => Err(driver.defect(reason)),
    }
}

/// `None` where something that the step needs was not given.
async fn carry_out<D: Steps>(
    step: Step,
    how: How,
    release: &Release,
    driver: &mut D,
) -> Option<Result<Given, Box<Failure>>> {
    let outputs = &release.outputs;
    Some(match step {
        Step::Budget => driver.budget(release.request.budget).await.map(Given::Budget),
        Step::Plan => driver.plan().await.map(Given::Plan),
        Step::Apply => driver.apply(outputs.plan.as_ref()?, how).await.map(Given::Apply),
        Step::Build => driver.build(how).await.map(Given::Build),
        Step::Push => driver.push(outputs.build.as_ref()?, how).await.map(Given::Push),
        Step::Deploy => {
            let (reference, digest) = (release.reference()?, release.image()?);
            driver.deploy(reference, digest, how).await.map(Given::Deploy)
        }
        Step::Prove => driver.prove(outputs.deploy.as_ref()?).await.map(Given::Prove),
        Step::Gate => {
            let before = outputs.budget.as_ref().map_or(&[] as &[Stood], |seen| &seen.stood);
            driver.gate(outputs.deploy.as_ref()?, before).await.map(Given::Gate)
        }
        Step::Collect => {
            driver.collect(outputs.deploy.as_ref()?, release.failure()?).await.map(Given::Collect)
        }
        Step::RollBack => driver.roll_back(outputs.deploy.as_ref()?, how).await.map(Given::RollBack),
        Step::Notice => driver.notice(&Story::of(release, &release.end())).await.map(Given::Notice),
    })
}
