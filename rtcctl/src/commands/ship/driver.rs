//! The steps of a release, done by the functions that the commands are made of.
//!
//! Invariants: a step that handles the wish to stop itself is waited for, any other is dropped where it stands; nothing is
//! changed before the operator was asked; what fails is told under the code that the command alone would give it.

use std::time::Duration;

use codes::{Code, Error, Result, exit};
use journal::{Entry, Run};
use serde_json::{Value, json};
use ship::{
    Applied, BudgetSeen, Budgeting, Built, Collected, Deployed, Digest, End, Fact, Failure, Gated, How,
    Ledger, Noticed, Planned, PlannedChange, Proved, Pushed, Release, Request, Rest, RolledBack, Step, Steps,
    Stood, Story, unknown, what_is_left,
};
use tokio::time::{Instant, MissedTickBehavior};

use super::board::Board;
use super::budgets::{budgets, look_at_budgets, refusal, unjudged};
use super::{gate, history, report, rollout, tell};
use crate::commands::image::steps as images;
use crate::commands::infra::steps as infra;
use crate::commands::runs::told;
use crate::context::Context;
use crate::human;
use crate::output::{Finding, Report, Severity};

type Came<T> = std::result::Result<T, Box<Failure>>;

/// Who is told of the wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// The step is dropped.
    Dropped,
    /// The step sees it itself.
    Itself,
}

/// What was said to this very process, and is in no journal.
#[derive(Debug, Default)]
pub struct Said {
    /// The name of a protected environment.
    pub confirm: Option<String>,
    /// How long somebody else's Terraform is waited for.
    pub wait: Option<Duration>,
}

pub struct Driver<'a> {
    pub(super) context: &'a Context,
    pub(super) run: Run,
    pub(super) request: Request,
    board: Board<'a>,
    /// What this process has planned, which dies with it.
    planned: Option<infra::Plan<'a>>,
    pub(super) findings: Vec<Finding>,
    /// Whether the operator has agreed.
    is_agreed: bool,
    /// Another process has begun it: whoever resumed it was asked for nothing yet.
    is_resumed: bool,
    said: Said,
    deadline: Option<Instant>,
    pub(super) began: Instant,
    step_began: Instant,
    pub(super) took: Vec<(Step, Duration)>,
    /// What is about to be done, for the question.
    intent: Vec<String>,
    /// Runs that this one consists of.
    runs: Vec<(String, String)>,
}

impl<'a> Driver<'a> {
    pub fn new(
        context: &'a Context,
        run: Run,
        runs: Vec<(String, String)>,
        release: &Release,
        said: Said,
    ) -> Self {
        let now = Instant::now();
        let mut intent = Vec::new();
        if let Some(plan) = &release.outputs.plan {
            intent.push(plan.sentence.clone());
        }
        Self {
            context,
            run,
            request: release.request.clone(),
            board: Board::new(&context.progress, context.width, release),
            planned: None,
            findings: Vec::new(),
            is_agreed: false,
            is_resumed: Step::ALL.iter().any(|step| release.mark(*step).is_some()),
            said,
            deadline: context.config.duration("timeout").map(|timeout| now + timeout),
            began: now,
            step_began: now,
            took: Vec::new(),
            intent,
            runs,
        }
    }

    /// Closes the run, or leaves it open, and answers.
    pub fn ended(mut self, release: &Release, end: End) -> Result<Report> {
        match &end {
            End::Stopped { why, .. } => {
                self.append(Entry::Noted { kind: history::STOPPED.to_owned(), data: json!(why) })?;
                let finding = Finding::new(
                    &codes::SHP022,
                    Severity::Warning,
                    format!("stopped in {}; the run is open", why.step.name()),
                );
                let is_waited_for = WAITED_FOR.iter().any(|code| code.id == why.code);
                let wait = if is_waited_for { " --wait" } else { "" };
                self.findings.push(finding.with_hint(format!("{}{wait}", self.resume())));
            }
            _ => {
                let summary = report::sentence(&Story::of(release, &end));
                self.append(Entry::Ended { exit: end.exit(), summary })?;
            }
        }
        Ok(report::ended(&self, release, &end))
    }

    /// How it is gone on with.
    fn resume(&self) -> String {
        format!("rtcctl ship --env {} --resume {}", self.request.environment, self.run.id())
    }

    pub(super) fn append(&mut self, entry: Entry) -> Result<()> {
        self.run.append(entry).map_err(told)
    }

    /// Keeps the rest of the time, shows that it passes, and hears the wish to stop.
    async fn within<T>(
        &mut self,
        step: Step,
        stopping: Stopping,
        work: impl Future<Output = Result<T>>,
    ) -> Came<T> {
        let context = self.context;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // That it was not done in time is told too; a receiver has its own time.
        let is_bound = stopping == Stopping::Dropped && step != Step::Notice;
        let deadline = self.deadline.filter(|_| is_bound);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done.map_err(|error| failure(step, &error)),
                signal = context.interrupts.wait(), if stopping == Stopping::Dropped => {
                    let state = format!("{} was not finished", step.name());
                    return Err(failure(step, &signal.error(state)));
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let message = format!("{} was not done in time", step.name());
                    return Err(failure(step, &Error::new(&codes::SHP011, message).with_hint(codes::SHP011.action)));
                }
                _ = ticks.tick() => self.board.tick(),
            }
        }
    }

    /// Asks once, before the first step that changes something.
    fn agree(&mut self, step: Step) -> Came<()> {
        if self.is_agreed {
            return Ok(());
        }
        if let Some(signal) = self.context.interrupts.seen() {
            return Err(failure(step, &signal.error("nothing was changed")));
        }
        let environment = self.request.environment.clone();
        let mut what = match step {
            Step::RollBack => format!("take {} in {environment} back to what ran before", self.request.image),
            _ => format!("release {} to {environment}", self.request.image),
        };
        if step != Step::RollBack && !self.intent.is_empty() {
            what.push_str(&format!(" ({})", self.intent.join("; ")));
        }
        let asked = match self.context.config.text("protected") {
            Some("yes") => self.context.confirm_by_name(&what, &environment, self.said.confirm.as_deref()),
            _ => self.context.confirm(&what),
        };
        asked.map_err(|error| failure(step, &error))?;
        self.is_agreed = true;
        Ok(())
    }

    /// What is said of a file that is kept beside the journal.
    pub(super) fn keep(&self, name: &str, data: &Value) -> Result<String> {
        let path = self.run.evidence(name).map_err(told)?;
        let text = serde_json::to_string_pretty(data).unwrap_or_default();
        std::fs::write(&path, text).map_err(|error| {
            Error::new(&codes::JRN001, format!("cannot write {}", path.display())).with_source(&error)
        })?;
        Ok(path.display().to_string())
    }

    pub(super) fn evidence_file(&self, name: &str) -> Result<std::path::PathBuf> {
        self.run.evidence(name).map_err(told)
    }

    /// The run of its own that a step was begun with.
    pub(super) fn known_run(&self, kind: &str) -> Option<String> {
        self.runs.iter().rev().find(|(known, _)| known == kind).map(|(_, run)| run.clone())
    }

    /// Writes down the run of its own that a step is begun with.
    pub(super) fn know_run(&mut self, kind: &str, run: &str) -> Result<()> {
        if self.known_run(kind).as_deref() == Some(run) {
            return Ok(());
        }
        self.runs.push((kind.to_owned(), run.to_owned()));
        self.append(Entry::Noted { kind: kind.to_owned(), data: json!(run) })
    }

    fn show(&self, plan: &infra::Plan<'_>) {
        if let Some(table) = plan.table() {
            let text = table.to_text(self.context.width);
            self.context.progress.write(&format!("{text}\n"));
        }
    }

    async fn plan_again(&mut self, step: Step) -> Came<infra::Plan<'a>> {
        let (context, allowed, wait) = (self.context, self.request.allow_destroy.clone(), self.said.wait);
        self.within(step, Stopping::Itself, async { infra::plan(context, &allowed, wait).await }).await
    }
}

/// What `--wait` waits for.
const WAITED_FOR: [&Code; 2] = [&codes::INF007, &codes::INF014];
/// A lock goes, Terraform that works alone ends, and so does somebody else's rollout; another conflict stays.
const GOES: [&Code; 3] = [&codes::INF007, &codes::INF014, &codes::DEP028];

/// An error as the release keeps it.
pub fn failure(step: Step, error: &Error) -> Box<Failure> {
    let mut failure = Failure::new(step, error.exit().code(), error.code().id, error.message());
    failure.causes = error.causes().to_vec();
    failure.hints = error.hints().to_vec();
    if error.exit() == exit::CONFLICT && !GOES.contains(&error.code()) {
        failure = failure.lasting();
    }
    Box::new(failure)
}

/// A plan as the release keeps it.
pub fn planned(plan: &infra::Plan<'_>) -> Result<Planned> {
    Ok(Planned {
        digest: digest(&plan.digest().to_string())?,
        changes: plan
            .changes()
            .map(|change| PlannedChange {
                address: change.address.to_owned(),
                action: change.action.to_owned(),
                destroys: change.destroys,
                reason: change.reason.map(str::to_owned),
            })
            .collect(),
        outputs: plan.outputs(),
        sentence: plan.sentence(),
    })
}

pub fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|error: ship::NoDigest| Error::internal(error.to_string()))
}

impl Ledger for Driver<'_> {
    type Error = Error;

    fn write(&mut self, fact: &Fact) -> Result<()> {
        let took = self.step_began.elapsed();
        for entry in history::entries(fact, took) {
            self.append(entry)?;
        }
        match fact {
            Fact::Begun { step, .. } => {
                self.step_began = Instant::now();
                // Also over what a step before has said of itself.
                let cost = format!("{} may be done in half; {} goes on with it", step.name(), self.resume());
                self.context.interrupts.cost_of_leaving(cost);
                self.board.begun(*step);
            }
            Fact::Finished { given } => {
                self.took.push((given.step(), took));
                self.board.finished(given.step(), took, &given.sentence());
            }
            Fact::Failed { failure } => {
                self.took.push((failure.step, took));
                self.board.failed(failure.step, took, &failure.message);
            }
            Fact::Skipped { step, reason } => self.board.skipped(*step, reason),
            Fact::LookAgain => {}
        }
        Ok(())
    }

    fn defect(&self, what: &str) -> Error {
        Error::new(&codes::SHP009, what).with_hint(codes::SHP009.action)
    }
}

impl Steps for Driver<'_> {
    async fn budget(&mut self, judged: Budgeting) -> Came<BudgetSeen> {
        let (context, min) = (self.context, self.context.config.ship.min_budget);
        let is_gated = self.request.skips(Step::Gate).is_none();
        let own = self.run.id();
        let looking = async {
            let standings = look_at_budgets(context).await?;
            let budgets = budgets(&standings);
            let refusal = refusal(&budgets, min).filter(|_| judged == Budgeting::Judged);
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            let stood = match is_gated {
                true => gate::before(context, &standings, Some(&own)).await?,
                false => Vec::new(),
            };
            Ok(BudgetSeen { budgets, min, judged, stood })
        };
        let seen = self.within(Step::Budget, Stopping::Dropped, looking).await?;
        self.findings.extend(unjudged(&unknown(&seen.budgets)));
        Ok(seen)
    }

    async fn plan(&mut self) -> Came<Planned> {
        let plan = self.plan_again(Step::Plan).await?;
        let seen = planned(&plan).map_err(|error| failure(Step::Plan, &error))?;
        self.show(&plan);
        if let Some(refusal) = plan.refusal() {
            return Err(failure(Step::Plan, &refusal));
        }
        self.findings.extend(plan.findings());
        self.intent.push(seen.sentence.clone());
        self.planned = Some(plan);
        Ok(seen)
    }

    async fn apply(&mut self, judged: &Planned, how: How) -> Came<Applied> {
        // What was planned by this very process is the judged plan; nobody else has its file.
        let plan = match self.planned.take() {
            Some(plan) if how == How::First => plan,
            _ => {
                let plan = self.plan_again(Step::Apply).await?;
                self.show(&plan);
                plan
            }
        };
        let now = planned(&plan).map_err(|error| failure(Step::Apply, &error))?;
        let done = |sentence: &str, run: Option<String>| Applied {
            plan: now.digest.clone(),
            rest_of: (now.digest != judged.digest).then(|| judged.digest.clone()),
            sentence: sentence.to_owned(),
            run,
        };
        match what_is_left(judged, &now, how) {
            Rest::Nothing => {
                self.findings.extend(plan.findings());
                return Ok(done("nothing to change", None));
            }
            Rest::Part => {}
            Rest::Other(addresses) => {
                let message = format!("the plan that was judged has none of {}", addresses.join(", "));
                let error = Error::new(&codes::SHP006, message).with_hint(codes::SHP006.action);
                return Err(failure(Step::Apply, &error));
            }
            Rest::Another => {
                let message = "it has changed since it was judged, and nothing of it was carried out";
                let error = Error::new(&codes::SHP006, message)
                    .with_cause(format!("judged: {}", judged.sentence))
                    .with_cause(format!("now: {}", now.sentence));
                return Err(failure(Step::Apply, &error.with_hint(codes::SHP006.action)));
            }
        }
        self.agree(Step::Apply)?;
        let count = now.changes.len();
        let answer = self.within(Step::Apply, Stopping::Itself, plan.apply()).await?;
        let run = answer.data["run"].as_str().map(str::to_owned);
        self.findings.extend(answer.findings);
        let sentence = match count {
            0 => "outputs changed".to_owned(),
            1 => "1 resource changed".to_owned(),
            count => format!("{count} resources changed"),
        };
        Ok(done(&sentence, run))
    }

    async fn build(&mut self, _how: How) -> Came<Built> {
        let (context, name) = (self.context, self.request.image.clone());
        let building = async {
            let made = images::build(&name, context).await?;
            let built = Built {
                image: made.name,
                digest: digest(&made.digest)?,
                tags: made.tags,
                layout: made.layout.display().to_string(),
                bytes: made.bytes,
                revision: made.revision,
            };
            Ok((built, made.findings))
        };
        let (built, findings) = self.within(Step::Build, Stopping::Dropped, building).await?;
        self.findings.extend(findings);
        self.intent.push(format!("{} {}", human::bytes(built.bytes), built.digest.short()));
        Ok(built)
    }

    async fn push(&mut self, built: &Built, _how: How) -> Came<Pushed> {
        self.agree(Step::Push)?;
        let context = self.context;
        let pushing = async {
            let layout = std::path::Path::new(&built.layout);
            let (data, findings) =
                images::push(&built.image, layout, built.digest.as_str(), &built.tags, context).await?;
            let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
            let pushed = Pushed {
                reference: text("reference"),
                digest: digest(&text("digest"))?,
                bytes_sent: data["bytes_sent"].as_u64().unwrap_or_default(),
                run: data["run"].as_str().map(str::to_owned),
            };
            Ok((pushed, findings))
        };
        let (pushed, findings) = self.within(Step::Push, Stopping::Dropped, pushing).await?;
        self.findings.extend(findings);
        Ok(pushed)
    }

    async fn deploy(&mut self, reference: &str, image: &Digest, how: How) -> Came<Deployed> {
        self.agree(Step::Deploy)?;
        rollout::deploy(self, reference, image, how).await
    }

    async fn prove(&mut self, deployed: &Deployed) -> Came<Proved> {
        let context = self.context;
        let looking = Box::pin(rollout::running(context, deployed));
        self.within(Step::Prove, Stopping::Dropped, looking).await
    }

    async fn gate(&mut self, deployed: &Deployed, before: &[Stood]) -> Came<Gated> {
        let measuring = gate::measure(self.context, deployed, before);
        let measured = self.within(Step::Gate, Stopping::Dropped, measuring).await?;
        self.findings.extend(unjudged(&measured.unjudged));
        self.findings.extend(measured.findings());
        match measured.refusal() {
            None => Ok(measured.given()),
            Some(error) => {
                let mut failure = failure(Step::Gate, &error);
                match self.keep("gate.json", &json!(measured.verdicts)) {
                    Ok(path) => failure.evidence.push(path),
                    Err(error) => failure.causes.push(error.message().to_owned()),
                }
                Err(failure)
            }
        }
    }

    async fn collect(&mut self, deployed: &Deployed, why: &Failure) -> Came<Collected> {
        let kept = self.keep("failure.json", &json!(why));
        let load = deployed.load.as_ref().map(|load| self.keep("load.json", &json!(load)));
        let mut collected = rollout::collect(self, deployed).await?;
        for kept in load.into_iter().chain([kept]) {
            match kept {
                Ok(path) => collected.files.insert(0, path),
                Err(error) => collected.missing.push(error.message().to_owned()),
            }
        }
        Ok(collected)
    }

    async fn roll_back(&mut self, deployed: &Deployed, how: How) -> Came<RolledBack> {
        // Who resumes a run may have it judged; what runs in a protected environment is changed by a yes alone.
        if self.is_resumed && self.context.config.text("protected") == Some("yes") {
            self.agree(Step::RollBack)?;
        }
        rollout::roll_back(self, deployed, how).await
    }

    async fn notice(&mut self, story: &Story) -> Came<Noticed> {
        // Who said no knows it; that something wrong runs on for it, others have to know.
        let is_no = |failure: &Failure| failure.is_no() && failure.step != Step::RollBack;
        if story.failure.as_ref().is_some_and(is_no) {
            return Ok(Noticed::default());
        }
        let (context, took) = (self.context, self.began.elapsed());
        let notice = tell::notice(story, &self.run.id(), took, context);
        let telling = async { Ok(tell::tell(&notice, context).await) };
        let (noticed, findings) = self.within(Step::Notice, Stopping::Dropped, telling).await?;
        self.findings.extend(findings);
        Ok(noticed)
    }
}
