//! The loop: what comes next is done, what came of it is written down, until there is an end.

use std::time::Duration;

use kernel::Clock;
use kubernetes::write::Change;
use rollout::canary::{Action as CanaryAction, Pause};
use rollout::failure::Cause;
use rollout::lifecycle::{Failure, State, Step, Trigger};
use rollout::verdict::Whole;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::book::name;
use super::watch::Watch;
use super::{Action, Book, Error, Recorded, Result};
use crate::gate::Gauge;
use crate::manifest::Id;
use crate::port::Port;
use crate::revision::{Head, Heard, History, Status};

/// So often a run says that it is alive: far more often than others wait until they take it for dead.
const BEAT: Duration = Duration::from_secs(60);

/// What is told while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    Begun(Step),
    Finished(Step),
    Applied {
        id: &'a Id,
        change: Change,
    },
    Deleted(&'a Id),
    /// It is not ours, or not the one that was meant: it stays.
    Spared(&'a Id),
    /// How the pods stand.
    Pods(&'a Whole),
    Baking {
        left_s: u64,
    },
    Gate {
        says: &'a str,
    },
    Canary(&'a rollout::canary::State),
    Failed {
        why: Failure,
        cause: Option<&'a Cause>,
    },
    Evidence {
        file: &'a std::path::Path,
    },
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is over.
    Over { state: State, exit: u8 },
    /// A second version waits for somebody; the run can be taken up again.
    Paused { step: usize, why: Pause },
}

/// What an operator says to a run that is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Go on where it was.
    GoOn,
    /// A second version that stands still: to the next weight.
    Approve,
    /// A second version: all of it, now.
    Promote,
    /// Take it back.
    Abort,
}

/// Does the steps of a run.
pub struct Driver<'a> {
    pub port: &'a dyn Port,
    pub clock: &'a dyn Clock,
    /// Whoever measures for the gate.
    pub gauge: Option<&'a dyn Gauge>,
    pub tell: &'a (dyn Fn(&News<'_>) + Sync),
}

/// What came of a step.
pub(super) enum Came {
    Trigger { trigger: Trigger, outputs: Json },
    Paused { step: usize, why: Pause },
}

impl Came {
    pub(super) fn of(trigger: Trigger) -> Self {
        Came::Trigger { trigger, outputs: Json::Null }
    }

    pub(super) fn with(trigger: Trigger, outputs: Json) -> Self {
        Came::Trigger { trigger, outputs }
    }

    pub(super) fn failed(why: Failure) -> Self {
        Came::of(Trigger::Failed { why })
    }
}

/// What is kept between steps of one process.
pub(super) struct Session<'a, 'b> {
    pub driver: &'a Driver<'a>,
    pub book: &'b mut Book,
    /// Who watches what is rolled out, once there is something to watch.
    pub watch: Option<Watch<'a>>,
}

impl Driver<'_> {
    /// Goes on until there is an end. Whatever it fails with, the run can be taken up again.
    pub async fn drive(&self, book: &mut Book, word: Word) -> Result<End> {
        self.look_around(book).await?;
        self.hear(book, word)?;
        let pulse = Pulse::of(self, book);
        if book.recorded().is_some() {
            pulse.tell(Heard::At(self.clock.now())).await?;
        }
        let mut session = Session { driver: self, book, watch: None };
        loop {
            let state = session.book.lifecycle().state;
            let Some(step) = state.next() else { return session.over(state).await };
            (self.tell)(&News::Begun(step));
            session.book.begin_step(step, self.clock.now())?;
            let began = Instant::now();
            let found = session.book.recorded().map(found);
            let came = tokio::select! {
                biased;
                came = session.step(step) => came?,
                newer = pulse.beat(found) => {
                    return Err(Error::Overtaken { run: session.book.id(), newer: Box::new(newer) });
                }
            };
            let (trigger, outputs) = match came {
                Came::Paused { step, why } => {
                    pulse.tell(Heard::Waits { since: Some(self.clock.now()) }).await?;
                    return Ok(End::Paused { step, why });
                }
                Came::Trigger { trigger, outputs } => (trigger, outputs),
            };
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            match trigger {
                Trigger::Failed { why } => {
                    let cause = session.book.causes().last();
                    (self.tell)(&News::Failed { why, cause });
                    let (code, message) = match cause {
                        Some(cause) => (cause.code.id().to_owned(), cause.why.clone()),
                        None => (String::new(), session.book.said().unwrap_or_default().to_owned()),
                    };
                    session.book.fail_step(step, &code, &message)?;
                }
                Trigger::RestoreFailed => {
                    let cause = session.book.causes().last();
                    let (code, why) =
                        cause.map(|cause| (cause.code.id(), cause.why.clone())).unwrap_or_default();
                    session.book.fail_step(step, code, &why)?;
                }
                _ => {
                    session.book.finish_step(step, outputs, took_ms)?;
                    (self.tell)(&News::Finished(step));
                }
            }
            session.book.take(trigger)?;
        }
    }

    /// A run goes on where it was begun, and over nothing that came after it.
    async fn look_around(&self, book: &mut Book) -> Result<()> {
        let place = self.port.place();
        match book.place() {
            None => book.set_place(place)?,
            Some(began_on) if *began_on != place => {
                let (began_on, is_on) = (began_on.host.clone(), place.host);
                return Err(Error::Elsewhere { run: book.id(), began_on, is_on });
            }
            Some(_) => {}
        }
        if book.is_continued() { self.not_overtaken(book).await } else { Ok(()) }
    }

    /// Nothing newer came since the run recorded what there was.
    async fn not_overtaken(&self, book: &Book) -> Result<()> {
        let Some(recorded) = book.recorded() else { return Ok(()) };
        let plan = book.plan();
        let history = History { port: self.port, namespace: &plan.namespace, environment: &plan.environment };
        match history.newer(&book.id(), found(recorded)).await? {
            Some(newer) => Err(Error::Overtaken { run: book.id(), newer: Box::new(newer) }),
            None => Ok(()),
        }
    }

    /// Takes in what the operator says before anything goes on.
    fn hear(&self, book: &mut Book, word: Word) -> Result<()> {
        let trigger = match word {
            Word::GoOn => return Ok(()),
            Word::Approve => rollout::canary::Trigger::Resume,
            Word::Promote => rollout::canary::Trigger::Promote,
            Word::Abort => rollout::canary::Trigger::Abort,
        };
        let is_canary = book.lifecycle().state == State::Migrated;
        match book.canary().cloned() {
            Some(mut canary) if is_canary && canary.action() != CanaryAction::Nothing => {
                canary.take(trigger, self.clock.now());
                book.set_canary(canary)?;
            }
            _ if word == Word::Abort => {
                book.take(Trigger::Failed { why: Failure::Asked })?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The number of what ran when the run began.
fn found(recorded: &Recorded) -> u64 {
    recorded.previous.as_ref().map_or(0, |previous| previous.head.number)
}

/// Tells the cluster that the run is alive, for as long as a step takes.
struct Pulse<'a> {
    driver: &'a Driver<'a>,
    run: String,
    namespace: String,
    environment: String,
    /// Whether it has a revision that others look at.
    is_release: bool,
}

impl<'a> Pulse<'a> {
    fn of(driver: &'a Driver<'a>, book: &Book) -> Self {
        let plan = book.plan();
        Self {
            driver,
            run: book.id(),
            namespace: plan.namespace.clone(),
            environment: plan.environment.clone(),
            is_release: matches!(plan.action, Action::Apply { .. }),
        }
    }

    fn history(&self) -> History<'_> {
        History { port: self.driver.port, namespace: &self.namespace, environment: &self.environment }
    }

    async fn tell(&self, heard: Heard) -> Result<()> {
        match self.is_release {
            true => Ok(self.history().hear(&self.run, heard).await?),
            false => Ok(()),
        }
    }

    /// Ends when somebody else has begun a newer revision: they were told that this run is dead, or to take it over.
    async fn beat(&self, found: Option<u64>) -> Head {
        let Some(found) = found.filter(|_| self.is_release) else { return std::future::pending().await };
        loop {
            tokio::time::sleep(BEAT).await;
            // What cannot be told now is told a minute later.
            if let Ok(Some(newer)) = self.history().newer(&self.run, found).await {
                return newer;
            }
            let _ = self.tell(Heard::At(self.driver.clock.now())).await;
        }
    }
}

impl Session<'_, '_> {
    /// Nothing is applied, led, deleted or taken back over a revision that came meanwhile.
    pub(super) async fn is_still_ours(&self) -> Result<()> {
        match self.book.plan().action {
            Action::Apply { .. } => self.driver.not_overtaken(self.book).await,
            Action::Restart { .. } => Ok(()),
        }
    }

    async fn over(&mut self, state: State) -> Result<End> {
        let status = match state {
            State::Done => Status::Deployed,
            State::RolledBack { .. } => Status::RolledBack,
            _ => Status::Failed,
        };
        let told = self.history_ended(status).await;
        if state == State::Done {
            // The next rollback would go to another one than what runs: the run stays open until it is told.
            told?;
        }
        let exit = state.exit().unwrap_or(1);
        let summary = match state {
            State::Done => "every pod runs the new version".to_owned(),
            State::RolledBack { .. } => "failed, and rolled back".to_owned(),
            State::RollbackFailed { .. } => "failed, and so did the way back".to_owned(),
            _ => "failed, and left as it is".to_owned(),
        };
        let why = self.book.causes().first().map(|cause| format!(": {} {}", cause.code, cause.why));
        self.book.end(exit, &format!("{summary}{}", why.unwrap_or_default()))?;
        Ok(End::Over { state, exit })
    }

    async fn step(&mut self, step: Step) -> Result<Came> {
        match step {
            Step::Record => self.record().await,
            Step::Migrate => self.migrate().await,
            Step::Apply => self.apply().await,
            Step::Watch => self.watch_applied().await,
            Step::Bake => self.bake().await,
            Step::Gate => self.gate().await,
            Step::End => self.end().await,
            Step::Collect => self.collect().await,
            Step::RollBack => self.roll_back().await,
        }
    }

    /// A failure with what it was about.
    pub(super) fn fail(&mut self, step: Step, cause: Cause) -> Result<Came> {
        let why = rollout::lifecycle::failure_of(cause.code, step);
        self.book.add_cause(cause)?;
        Ok(Came::failed(why))
    }
}

/// For the journal: `{"step":"apply","objects":12}`.
pub(super) fn counted(step: Step, what: &str, count: usize) -> Json {
    json!({ "step": name(step), what: count })
}
