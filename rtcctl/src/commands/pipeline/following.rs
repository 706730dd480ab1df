//! A build that is followed to its end: shown, answered, stopped or left.
//!
//! Invariants: the log is shown by whole lines; a question is asked by one who may be asked and left to others by one who
//! may not; whoever leaves knows what goes on without them.

mod answering;

use std::time::Duration;

use codes::{Error, Result};
use jenkins::{Build, Client, Colours, Event, Item, Shown, Stage, StageStatus, Watch};
use tokio::time::Instant;

use self::answering::Question;
use super::keyboard::Keyboard;
use super::{failed, shape};
use crate::context::Context;
use crate::human;
use crate::progress::Task;
use crate::recording::Recording;
use crate::signals::Signal;

/// How long a build that was asked to stop is waited for.
const STOPPING: Duration = Duration::from_secs(60);

/// How it ended, for us.
pub enum End {
    Ended(Build),
    Cancelled,
    Expired,
    TimedOut,
    /// We left, and it goes on.
    Left(Signal),
    /// It was asked to stop; the build where it has ended by now.
    Stopped(Signal, Option<Build>),
}

/// What Ctrl-C does with the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnInterrupt {
    /// Ask; where nobody can be asked, detach
    Ask,
    /// Stop the build
    Stop,
    /// Leave it running
    Detach,
}

/// Whether the log of the build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    Shown,
    Hidden,
}

pub struct Follower<'c> {
    pub client: &'c Client,
    pub context: &'c Context,
    pub on_interrupt: OnInterrupt,
    pub logging: Logging,
    /// How the job is named in proposed commands.
    pub named: String,
    /// The environment whose name is typed before something of it is approved.
    pub protected: Option<String>,
    /// Of a build that we started.
    pub recording: Option<Recording>,
    pub stages: Vec<Stage>,
    pub lacks_stages: bool,
    open: Vec<Option<Task>>,
    queue: Option<Task>,
    shown: Shown,
    line: String,
    /// The last lines, for a log that is not shown.
    pub tail: Vec<String>,
    keyboard: Keyboard,
    question: Option<Question>,
    /// Bars rest while somebody types.
    rests: bool,
}

const TAIL_LINES: usize = 20;

impl<'c> Follower<'c> {
    pub fn new(
        client: &'c Client,
        context: &'c Context,
        on_interrupt: OnInterrupt,
        logging: Logging,
        named: String,
    ) -> Self {
        Self {
            client,
            context,
            on_interrupt,
            logging,
            named,
            protected: None,
            recording: None,
            stages: Vec::new(),
            lacks_stages: false,
            open: Vec::new(),
            queue: None,
            shown: Shown::new(Colours::Kept),
            line: String::new(),
            tail: Vec::new(),
            keyboard: Keyboard::default(),
            question: None,
            rests: false,
        }
    }

    /// Follows to the end, the deadline, or the operator's wish.
    pub async fn follow(&mut self, watch: &mut Watch<'_>) -> Result<End> {
        let timeout = self.context.config.duration("timeout");
        let mut deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut stopping: Option<Signal> = None;
        self.say_cost(watch);
        let end = loop {
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let is_asking = self.question.is_some();
            tokio::select! {
                biased;
                signal = self.context.interrupts.wait(), if stopping.is_none() => {
                    if !self.shall_stop(watch, signal).await {
                        break End::Left(signal);
                    }
                    self.stop(watch).await?;
                    stopping = Some(signal);
                    deadline = Some(Instant::now() + STOPPING);
                }
                () = due => break match stopping {
                    Some(signal) => End::Stopped(signal, None),
                    None => End::TimedOut,
                },
                line = self.keyboard.line(self.context), if is_asking => self.answered(line, watch).await?,
                event = watch.next() => match event.map_err(failed::of)? {
                    Some(Event::Ended(build)) => break match stopping {
                        Some(signal) => End::Stopped(signal, Some(build)),
                        None => End::Ended(build),
                    },
                    Some(Event::Cancelled) => break match stopping {
                        Some(signal) => End::Stopped(signal, None),
                        None => End::Cancelled,
                    },
                    Some(Event::Expired) | None => break End::Expired,
                    Some(event) => self.show(event, watch),
                },
            }
        };
        self.close(&end);
        Ok(end)
    }

    fn show(&mut self, event: Event, watch: &Watch<'_>) {
        let progress = &self.context.progress;
        match event {
            Event::Queued(item) => {
                let text = waiting_for(&item);
                match &self.queue {
                    Some(task) => task.state(text),
                    None => self.queue = Some(progress.task("queue", text)),
                }
            }
            Event::Started(number) => {
                let address = self.client.build_address(watch.job(), number);
                let text = format!("build {number} of {}: {address}", watch.job());
                match self.queue.take() {
                    Some(task) => task.done(text),
                    None => progress.say(text),
                }
                self.say_cost(watch);
            }
            Event::Log(text) => self.log(&text),
            Event::LogBeganAgain => progress.say("the log begins anew: Jenkins has another one now"),
            Event::Stages(stages) => self.show_stages(stages),
            Event::NoStages => {
                self.lacks_stages = true;
                progress.detail("Jenkins tells no stages: the plug-in pipeline-rest-api is not there");
            }
            Event::Asks(inputs) => self.ask(inputs),
            Event::Away(reason) => progress.say(format!("{}; it is asked again", shape::plain(&reason))),
            Event::Back(after) => {
                progress.say(format!("Jenkins answers again, after {}", human::duration(after)))
            }
            Event::Ended(_) | Event::Cancelled | Event::Expired => {}
        }
    }

    fn log(&mut self, text: &str) {
        let shown = self.shown.take(text);
        self.line.push_str(&shown);
        let Some(end) = self.line.rfind('\n') else { return };
        let rest = self.line.split_off(end + 1);
        let whole = std::mem::replace(&mut self.line, rest);
        self.lines(&whole);
    }

    fn lines(&mut self, whole: &str) {
        match self.logging {
            Logging::Shown => self.context.progress.say(whole.trim_end_matches('\n')),
            Logging::Hidden => {
                self.tail.extend(whole.lines().map(str::to_owned));
                let surplus = self.tail.len().saturating_sub(TAIL_LINES);
                self.tail.drain(..surplus);
            }
        }
    }

    /// Stages keep their places; each is a task while it runs.
    fn show_stages(&mut self, stages: Vec<Stage>) {
        let progress = &self.context.progress;
        for (place, stage) in stages.iter().enumerate() {
            if self.open.len() <= place {
                self.open.resize_with(place + 1, || None);
            }
            let before = self.stages.get(place).map(|before| before.status);
            let is_open = matches!(stage.status, StageStatus::Running | StageStatus::Paused);
            let rests = is_open && self.rests && self.open[place].is_none();
            if rests || (before == Some(stage.status) && (!is_open || self.open[place].is_some())) {
                continue;
            }
            let text = format!("{}: {}", shape::plain(&stage.name), stage.status.as_str());
            match (is_open, self.open[place].take()) {
                (true, Some(task)) => {
                    task.state(text);
                    self.open[place] = Some(task);
                }
                (true, None) => self.open[place] = Some(progress.task("stage", text)),
                (false, task) => {
                    let text = finished(stage, text);
                    match (stage.status, task) {
                        (StageStatus::NotExecuted, None) => {}
                        (StageStatus::Failed | StageStatus::Aborted, Some(task)) => task.fail(text),
                        (_, Some(task)) => task.done(text),
                        (_, None) if progress.has_bars() => progress.task("stage", text.clone()).done(text),
                        (_, None) => progress.task("stage", text).done(""),
                    }
                }
            }
        }
        self.stages = stages;
    }

    async fn shall_stop(&mut self, watch: &Watch<'_>, signal: Signal) -> bool {
        match self.on_interrupt {
            OnInterrupt::Stop => true,
            OnInterrupt::Detach => false,
            // Nobody types an answer to SIGTERM.
            OnInterrupt::Ask if signal == Signal::Terminate || !self.keyboard.is_there(self.context) => false,
            OnInterrupt::Ask => {
                self.rest();
                self.keyboard.forget();
                let what = what(watch);
                self.context
                    .progress
                    .write(&format!("\n{what} runs. Stop it, or leave it running? [stop/DETACH] "));
                let answer = self.keyboard.line(self.context).await.unwrap_or_default();
                matches!(answer.to_lowercase().as_str(), "stop" | "s")
            }
        }
    }

    async fn stop(&self, watch: &Watch<'_>) -> Result<()> {
        let asked = match (watch.item(), watch.number()) {
            (Some(item), _) => self.client.cancel(item).await,
            (_, Some(number)) => self.client.stop(watch.job(), number).await,
            _ => Ok(()),
        };
        let what = what(watch);
        asked.map_err(|error| failed::of(error).with_cause(format!("{what} goes on")))?;
        self.context
            .interrupts
            .cost_of_leaving(format!("{what} was asked to stop and may not have stopped yet"));
        self.context.progress.say(format!("{what} was asked to stop"));
        Ok(())
    }

    fn say_cost(&self, watch: &Watch<'_>) {
        let cost = format!("{} goes on; rtcctl pipeline run --follow {}", what(watch), self.address(watch));
        self.context.interrupts.cost_of_leaving(cost);
    }

    /// What takes it up again.
    pub fn address(&self, watch: &Watch<'_>) -> String {
        match (watch.item(), watch.number()) {
            (_, Some(number)) => self.client.build_address(watch.job(), number),
            (Some(item), _) => self.client.address(&format!("queue/item/{item}/")),
            _ => String::new(),
        }
    }

    fn close(&mut self, end: &End) {
        if !self.line.is_empty() {
            let rest = std::mem::take(&mut self.line);
            self.lines(&rest);
        }
        let is_over = matches!(end, End::Ended(_) | End::Stopped(..));
        for task in self.open.drain(..).flatten() {
            task.fail(if is_over { "" } else { "goes on" });
        }
        if let Some(task) = self.queue.take() {
            task.fail(match end {
                End::Cancelled => "taken out of the queue",
                End::Expired => "forgotten by Jenkins",
                _ => "",
            });
        }
    }
}

/// What is followed, in words.
pub fn what(watch: &Watch<'_>) -> String {
    match (watch.number(), watch.item()) {
        (Some(number), _) => format!("build {number} of {}", watch.job()),
        (_, Some(item)) => format!("item {item} of the queue, for {},", watch.job()),
        _ => watch.job().to_string(),
    }
}

fn waiting_for(item: &Item) -> String {
    let (kind, why) = match item {
        Item::Waiting { why } => ("in the queue", why),
        Item::Blocked { why } => ("blocked", why),
        Item::Buildable { why } => ("waits for an executor", why),
        Item::Left { .. } | Item::Cancelled | Item::Gone => return String::new(),
    };
    match why.is_empty() {
        true => kind.to_owned(),
        false => format!("{kind}: {}", shape::plain(why)),
    }
}

fn finished(stage: &Stage, text: String) -> String {
    let error = stage.error.as_deref().map(|error| format!(": {}", shape::plain(error))).unwrap_or_default();
    match stage.took.is_zero() {
        true => format!("{text}{error}"),
        false => format!("{text}, {}{error}", human::duration(stage.took)),
    }
}

/// What a command says that ended without its build.
pub fn left(signal: Signal, what: &str, address: &str) -> Error {
    signal.error(format!("{what} goes on")).with_hint(format!("rtcctl pipeline run --follow {address}"))
}
