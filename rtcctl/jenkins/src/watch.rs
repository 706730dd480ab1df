//! Following a wish to build until its build has ended: through the queue, through a log, its stages and its questions,
//! over connections that break off and a Jenkins that is started again.
//!
//! Invariants: an event is told once; nothing of a log is lost or told twice, unless Jenkins itself began it anew, which
//! is told; waiting for the next event may be given up at any point and taken up again.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Build, Client, Error, Input, Item, JobName, Log, Result, Stage};

/// A Jenkins that does not answer is asked again after twice as long each time, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// How often Jenkins is asked, and how long it may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub poll: Duration,
    pub patience: Duration,
}

/// Where following begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Item(u64),
    Build(u64),
}

/// What has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It is in the queue, and waits for something else than before.
    Queued(Item),
    /// It is a build now.
    Started(u64),
    Log(String),
    /// What is told of the log from here on is its begin: Jenkins has another one.
    LogBeganAgain,
    /// All stages, where one of them has changed.
    Stages(Vec<Stage>),
    /// There is no plug-in that tells of stages and questions.
    NoStages,
    /// All questions, where they have changed; none where the last was answered.
    Asks(Vec<Input>),
    /// Jenkins does not answer, and is asked again.
    Away(String),
    Back(Duration),
    Ended(Build),
    /// Somebody took it out of the queue.
    Cancelled,
    /// Jenkins has forgotten the item, and has no build of it.
    Expired,
}

impl Event {
    fn is_last(&self) -> bool {
        matches!(self, Event::Ended(_) | Event::Cancelled | Event::Expired)
    }
}

/// One follower.
pub struct Watch<'c> {
    client: &'c Client,
    job: JobName,
    at: From,
    pace: Pace,
    log: Log,
    item: Option<Item>,
    stages: Option<Vec<Stage>>,
    lacks_stages: bool,
    inputs: Vec<Input>,
    away: Option<Away>,
    pending: VecDeque<Event>,
    has_looked: bool,
    is_over: bool,
}

struct Away {
    since: Instant,
    pause: Duration,
}

impl<'c> Watch<'c> {
    pub fn new(client: &'c Client, job: JobName, from: From, pace: Pace) -> Self {
        Self {
            client,
            job,
            at: from,
            pace,
            log: Log::default(),
            item: None,
            stages: None,
            lacks_stages: false,
            inputs: Vec::new(),
            away: None,
            pending: VecDeque::new(),
            has_looked: false,
            is_over: false,
        }
    }

    pub fn job(&self) -> &JobName {
        &self.job
    }

    /// The build, once there is one.
    pub fn number(&self) -> Option<u64> {
        match self.at {
            From::Item(_) => None,
            From::Build(number) => Some(number),
        }
    }

    /// The item, as long as it is one.
    pub fn item(&self) -> Option<u64> {
        match self.at {
            From::Item(item) => Some(item),
            From::Build(_) => None,
        }
    }

    /// Waits for the next event. After the last one there is none.
    ///
    /// # Errors
    /// What Jenkins refuses, and [`Error::Unreachable`] when it was away for longer than it may be. The build goes on.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                self.is_over = event.is_last();
                return Ok(Some(event));
            }
            if self.is_over {
                return Ok(None);
            }
            if self.has_looked {
                let pause = self.away.as_ref().map_or(self.pace.poll, |away| away.pause);
                tokio::time::sleep(pause).await;
            }
            let looked = self.look().await;
            self.has_looked = true;
            match looked {
                Ok(()) => {
                    if let Some(away) = self.away.take() {
                        self.pending.push_front(Event::Back(away.since.elapsed()));
                    }
                }
                Err(error) => self.endure(error)?,
            }
        }
    }

    /// A Jenkins that is started again answers nothing, then that it is getting ready, and knows its builds last.
    fn endure(&mut self, error: Error) -> Result<()> {
        let is_away =
            error.is_transient() || (self.away.is_some() && matches!(error, Error::NotFound { .. }));
        if !is_away {
            return Err(error);
        }
        match &mut self.away {
            None => {
                self.pending.push_back(Event::Away(error.to_string()));
                self.away = Some(Away { since: Instant::now(), pause: self.pace.poll });
                match self.pace.patience.is_zero() {
                    true => Err(error),
                    false => Ok(()),
                }
            }
            Some(away) if away.since.elapsed() >= self.pace.patience => Err(error),
            Some(away) => {
                away.pause = (away.pause * 2).min(PAUSE_MAX.max(self.pace.poll));
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        match self.at {
            From::Item(item) => self.look_at_item(item).await,
            From::Build(number) => self.look_at_build(number).await,
        }
    }

    async fn look_at_item(&mut self, item: u64) -> Result<()> {
        let is = self.client.item(item).await?;
        match is {
            Item::Left { number } => self.has_started(number),
            Item::Cancelled => self.pending.push_back(Event::Cancelled),
            // It left more than five minutes ago, or Jenkins was started again.
            Item::Gone => match self.client.build_of_item(&self.job, item).await? {
                Some(number) => self.has_started(number),
                None => self.pending.push_back(Event::Expired),
            },
            Item::Waiting { .. } | Item::Blocked { .. } | Item::Buildable { .. } => {
                let is_new = match (&self.item, &is) {
                    // It counts the seconds.
                    (Some(Item::Waiting { .. }), Item::Waiting { .. }) => false,
                    (Some(before), now) => before != now,
                    (None, _) => true,
                };
                if is_new {
                    self.pending.push_back(Event::Queued(is.clone()));
                    self.item = Some(is);
                }
            }
        }
        Ok(())
    }

    fn has_started(&mut self, number: u64) {
        self.at = From::Build(number);
        self.pending.push_back(Event::Started(number));
    }

    async fn look_at_build(&mut self, number: u64) -> Result<()> {
        // Before its log and its stages: what they say then is the last of them.
        let build = self.client.build(&self.job, number).await?;
        loop {
            let chunk = self.client.log(&self.job, number, &mut self.log).await?;
            if chunk.began_again {
                self.pending.push_back(Event::LogBeganAgain);
            }
            let is_empty = chunk.text.is_empty();
            if !is_empty {
                self.pending.push_back(Event::Log(chunk.text));
            }
            match (build.is_running, chunk.has_more, is_empty) {
                (true, ..) | (_, false, _) => break,
                // It is over and still writes the last of its log.
                (false, true, true) => return Ok(()),
                (false, true, false) => {}
            }
        }
        if !self.lacks_stages {
            match self.client.stages(&self.job, number).await? {
                None => {
                    self.lacks_stages = true;
                    self.pending.push_back(Event::NoStages);
                }
                Some(stages) => {
                    if self.stages.as_ref() != Some(&stages) {
                        self.pending.push_back(Event::Stages(stages.clone()));
                        self.stages = Some(stages);
                    }
                }
            }
        }
        if !self.lacks_stages && build.is_running {
            let inputs = self.client.inputs(&self.job, number).await?;
            if inputs != self.inputs {
                self.pending.push_back(Event::Asks(inputs.clone()));
                self.inputs = inputs;
            }
        }
        if !build.is_running {
            self.pending.push_back(Event::Ended(build));
        }
        Ok(())
    }
}
