//! A run, from its plan to its end: taken up where it stopped, its end as an answer or an error.
//!
//! Invariants: the first Ctrl-C leaves a run that can be taken up again, and says how; an error of a run names the cause
//! that came first, the evidence and the run.

use std::path::{Path, PathBuf};

use ::deploy::gate::Gauge;
use ::deploy::port::Port;
use ::deploy::revision::{Head, Heard};
use ::deploy::run::{self, Book, Driver, End, News, Plan, Word};
use codes::{Code, Error, Result, exit};
use journal::Start;
use rollout::lifecycle::{Failure, State};
use serde_json::{Value, json};
use settings::Origin;

use super::access;
use super::telling::{self, Teller};
use crate::commands::runs;
use crate::context::Context;
use crate::output::Report;

/// What a run is driven with.
pub struct Drive<'a> {
    pub port: &'a dyn Port,
    pub gauge: Option<&'a dyn Gauge>,
    /// Where the evidence is copied to, beside the journal.
    pub evidence: Option<PathBuf>,
    pub word: Word,
}

/// Writes the plan down.
pub fn begin(plan: Plan, inputs: &[(&str, String)], context: &Context) -> Result<Book> {
    let start = Start {
        command: format!("deploy {}", plan.command),
        environment: context.config.env().to_owned(),
        inputs: inputs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        by: context.config.operator(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let chance = context.clock.now().as_millis().unsigned_abs() ^ u64::from(std::process::id());
    let book = Book::begin(&context.journal(), start, chance, plan).map_err(of_run)?;
    context.progress.detail(format!("journal: {}", book.folder().display()));
    Ok(book)
}

/// Takes up a run that stopped.
pub fn resume(wanted: &str, context: &Context) -> Result<Book> {
    let mut book = find(wanted, context)?;
    book.resumed(&context.config.operator()).map_err(of_run)?;
    Ok(book)
}

/// A run that stopped, as it stands; nothing is written yet.
pub fn find(wanted: &str, context: &Context) -> Result<Book> {
    let book = Book::find(&context.journal(), wanted);
    let book = book.map_err(|error| match error {
        run::Error::Unusable { .. }
        | run::Error::Journal(journal::Error::Ended(_) | journal::Error::Busy(_)) => {
            Error::new(&codes::DEP017, error.to_string()).with_hint(codes::DEP017.action)
        }
        error => of_run(error),
    })?;
    let environment = &book.plan().environment;
    if environment != context.config.env() {
        let message = format!("{} is a run of {environment}, not of {}", book.id(), context.config.env());
        return Err(Error::new(&codes::DEP017, message).with_hint(format!("--env {environment}")));
    }
    Ok(book)
}

/// What takes a run up again, on the same cluster.
fn again(id: &str, context: &Context) -> String {
    let mut words = format!("rtcctl --env {} deploy", context.config.env());
    for (key, flag) in [("context", "--context"), ("kubeconfig", "--kubeconfig"), ("namespace", "-n")] {
        let said = context.config.get(key);
        if matches!(said.origin, Origin::Flag(_)) {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=".contains(letter);
            let text = match said.text.chars().all(plain) {
                true => said.text.clone(),
                false => format!("'{}'", said.text.replace('\'', r"'\''")),
            };
            words.push_str(&format!(" {flag} {text}"));
        }
    }
    words + &format!(" rollout --resume {id}")
}

/// How a run stands that stopped.
pub fn standing_of(book: &Book, context: &Context) -> Report {
    let id = book.id();
    let mut pairs =
        vec![("run", id.clone()), ("stands", standing(book)), ("image", book.plan().image.clone())];
    if let Some(place) = book.place() {
        pairs.push(("begun on", place.host.clone()));
    }
    pairs.push(("taken up by", again(&id, context)));
    Report::new("deploy/rollout", document(book)).with_pairs(pairs).with_names([id])
}

/// Drives it to its end.
pub async fn drive(mut book: Book, drive: Drive<'_>, context: &Context) -> Result<Report> {
    let id = book.id();
    let again = again(&id, context);
    let teller = Teller::new(context);
    let tell = |news: &News<'_>| teller.tell(news);
    let driver = Driver { port: drive.port, clock: context.clock.as_ref(), gauge: drive.gauge, tell: &tell };
    context.interrupts.cost_of_leaving(format!("the run stops where it is; {again} takes it up"));
    let driven = tokio::select! {
        driven = driver.drive(&mut book, drive.word) => driven,
        signal = context.interrupts.wait() => {
            return Err(signal.error(format!("{}; nothing more is done", standing(&book))).with_hint(again));
        }
    };
    let copied = drive.evidence.as_deref().map(|to| copy_evidence(&book, to)).transpose();
    let end = driven.map_err(|error| {
        // Nothing was done: somebody else is there, or came meanwhile.
        if let run::Error::UnderWay(_) | run::Error::Overtaken { .. } | run::Error::Elsewhere { .. } = error {
            return of_run(error);
        }
        let is_going_back = matches!(book.lifecycle().state, State::RollingBack { .. });
        let failed = of_run(error);
        let mut error = Error::new(&codes::DEP019, format!("the run {id} stopped half-way: {failed}"));
        if is_going_back {
            error = error.with_exit(exit::ROLLBACK_FAILED);
        } else {
            error = error.with_exit(failed.exit());
        }
        for cause in failed.causes() {
            error = error.with_cause(cause.clone());
        }
        error = error.with_hint(again.clone());
        failed.hints().iter().fold(error, |error, hint| error.with_hint(hint.clone()))
    })?;
    teller.finish(end);
    let copied = copied?;
    match end {
        End::Over { state: State::Done, .. } => Ok(done(&book)),
        End::Over { state, exit } => Err(failed(&book, state, exit, copied.as_deref())),
        End::Paused { step, why } => {
            let weight =
                book.canary().and_then(|canary| canary.plan.steps.get(step)).map_or(0, |step| step.weight);
            let why = match why {
                rollout::canary::Pause::Asked => "somebody asked it to stand still",
                rollout::canary::Pause::Approval => "nothing is wrong with it, and the step wants approval",
                rollout::canary::Pause::Inconclusive => "the analysis cannot say",
            };
            let message = format!("the second version stands, and is sent {weight} %: {why}");
            let mut error = Error::new(&codes::DEP026, message);
            if let Some(said) = book.said() {
                error = error.with_cause(said.to_owned());
            }
            Err(error
                .with_hint(format!("{again} --approve goes on to the next weight"))
                .with_hint(format!("{again} --promote takes all of it, --abort takes it back")))
        }
    }
}

/// What state things are in where it stopped.
fn standing(book: &Book) -> String {
    use rollout::canary::State as C;
    let state = book.lifecycle().state;
    let weight = |step: usize| {
        let step = book.canary().and_then(|canary| canary.plan.steps.get(step));
        step.map_or(0, |step| step.weight)
    };
    match (state, book.canary().map(|canary| canary.state)) {
        (State::Migrated, Some(C::Shifting { step })) => {
            return format!(
                "a second version stands beside, and is being brought to {} % of the calls",
                weight(step)
            );
        }
        (State::Migrated, Some(C::Holding { step, .. } | C::Paused { step, .. })) => {
            return format!("a second version stands beside, and is sent {} % of the calls", weight(step));
        }
        (State::Migrated, Some(C::Aborting { .. } | C::Aborted { .. })) => {
            return "the second version is being taken back, and may still be sent calls".to_owned();
        }
        _ => {}
    }
    let words = match state {
        State::Planned | State::Recorded => "the cluster was not changed, or its settings alone",
        State::Migrated => "the schemas are up to date, and objects may be half applied",
        State::Applied => "everything is applied, and the cluster goes on rolling by itself",
        State::Watched | State::Baked | State::Gated => "every pod runs the new version",
        State::Collecting { .. } => "it failed, and nothing has been taken back yet",
        State::RollingBack { .. } => "it is being taken back, perhaps half-way",
        _ => "it is over",
    };
    words.to_owned()
}

fn document(book: &Book) -> Value {
    let plan = book.plan();
    let previous = book.recorded().and_then(|recorded| recorded.previous.as_ref());
    json!({
        "run": book.id(), "environment": plan.environment, "namespace": plan.namespace, "image": plan.image,
        "state": book.lifecycle().state, "beside": book.canary().map(|canary| canary.state), "previous": previous.map(|previous| &previous.head),
        "workloads": book.applied("apply").into_iter().flatten().map(|one| one.target.to_string()).collect::<Vec<_>>(),
        "gate": book.said(),
    })
}

fn done(book: &Book) -> Report {
    let plan = book.plan();
    let sentence = match plan.command.as_str() {
        "restart" => "every pod was made anew".to_owned(),
        _ => format!("every pod runs {}", plan.image),
    };
    let mut pairs = vec![("done", sentence), ("run", book.id())];
    if let Some(said) = book.said() {
        pairs.push(("gate", said.to_owned()));
    }
    Report::new("deploy/rollout", document(book)).with_pairs(pairs).with_names([book.id()])
}

fn failed(book: &Book, state: State, exit: u8, copied: Option<&Path>) -> Error {
    let (code, why) = match state {
        State::RolledBack { why } => (&codes::DEP021, why),
        State::RollbackFailed { why } => (&codes::DEP022, why),
        State::Left { why } => (left(why), why),
        _ => (&codes::DEP020, Failure::Asked),
    };
    let message = match (why, book.causes().first()) {
        (Failure::Asked, _) => match state {
            State::RolledBack { .. } => "it was taken back, as somebody asked",
            State::RollbackFailed { .. } => "somebody asked to take it back, and that failed",
            _ => "it was ended, as somebody asked; nothing was taken back",
        }
        .to_owned(),
        (Failure::Gate | Failure::Inconclusive, _) => match book.said() {
            Some(said) => format!("{}: {said}", codes::DEP024.summary),
            None => codes::DEP025.summary.to_owned(),
        },
        (_, Some(cause)) => format!("{}: {}", cause.code, telling::why(cause)),
        (_, None) => code.summary.to_owned(),
    };
    let mut error = Error::new(code, message);
    if exit != code.exit.code()
        && let Some((known, _)) = exit::ALL.iter().find(|(known, _)| known.code() == exit)
    {
        error = error.with_exit(*known);
    }
    if let Some(cause) = book.causes().first() {
        error = error.with_cause(cause.code.cause().to_owned()).with_hint(cause.code.action().to_owned());
    }
    for cause in book.causes().iter().skip(1) {
        error = error.with_cause(format!("{}: {}", cause.code, telling::why(cause)));
    }
    if let State::RolledBack { .. } = state
        && let Some(previous) = book.recorded().and_then(|recorded| recorded.previous.as_ref())
    {
        let head = &previous.head;
        error = error.with_cause(format!("revision {} runs again: {}", head.number, head.image));
    }
    let folder = copied.map_or_else(|| book.folder().join("evidence"), Path::to_owned);
    if folder.is_dir() {
        error = error.with_hint(format!("evidence: {}", folder.display()));
    }
    error.with_hint(format!("rtcctl runs show {}", book.id()))
}

fn left(why: Failure) -> &'static Code {
    match why {
        Failure::OutOfTime => &codes::DEP023,
        Failure::Gate => &codes::DEP024,
        Failure::Inconclusive => &codes::DEP025,
        _ => &codes::DEP020,
    }
}

/// What stopped a run, under a code.
pub fn of_run(error: run::Error) -> Error {
    match error {
        run::Error::Cluster(error) => access::failed(error),
        run::Error::Journal(error) => runs::told(error),
        run::Error::NothingStable | run::Error::Beside(_) => {
            Error::new(&codes::DEP018, error.to_string()).with_hint(codes::DEP018.action)
        }
        run::Error::Lingering(_) => {
            Error::new(&codes::DEP019, error.to_string()).with_hint(codes::DEP019.action)
        }
        run::Error::Disk { .. } => Error::new(&codes::DEP008, error.to_string()).with_source(&error),
        run::Error::UnderWay(other) => {
            let Head { run, at, .. } = &other.head;
            let goes_on = format!("rtcctl deploy rollout --resume {run}");
            let (until, hint) = match other.heard {
                Heard::Waits { .. } => (
                    "it waits until somebody says how it goes on",
                    format!("say it: {goes_on} with --approve, --promote or --abort"),
                ),
                Heard::At(_) | Heard::Never => (
                    "one that is not heard of for half an hour is taken for dead",
                    format!("wait for it, or end it: {goes_on} --abort"),
                ),
            };
            Error::new(&codes::DEP028, other.to_string())
                .with_cause(format!("it was begun at {at}; {until}"))
                .with_hint(hint)
                .with_hint("rtcctl deploy rollout --take-over where it is known to be dead")
        }
        run::Error::Overtaken { .. } | run::Error::Elsewhere { .. } => {
            Error::new(&codes::DEP017, error.to_string()).with_hint(codes::DEP017.action)
        }
        run::Error::Unusable { .. } => Error::new(&codes::DEP017, error.to_string()),
        run::Error::Answer(_) => Error::new(&codes::KUB013, error.to_string()).with_source(&error),
    }
}

fn copy_evidence(book: &Book, to: &Path) -> Result<PathBuf> {
    let from = book.folder().join("evidence");
    let failed = |error: std::io::Error| {
        Error::new(&codes::DEP008, format!("cannot write {}", to.display())).with_source(&error)
    };
    if !from.is_dir() {
        return Ok(to.to_owned());
    }
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(&from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
    }
    Ok(to.to_owned())
}
