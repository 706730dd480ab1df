//! Watching what was applied until it is settled, or for as long as it has to stand.

use std::collections::BTreeSet;
use std::time::Duration;

use kernel::{Clock, Timestamp};
use kubernetes::read::{Life, LogRequest};
use kubernetes::watch::News;
use rollout::code::Code;
use rollout::objects::Uid;
use rollout::verdict::{Applied, Rules, Whole, judge_all};
use rollout::world::{Target, World};

use super::{Error, Result};
use crate::port::{Following, Port};

/// Rules that speak of time are looked at this often when nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Lines of a log that say why a container ended.
const LAST_LINES: u32 = 12;

/// When watching ends, beside a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Done,
    /// This time has come, and it is done but for growth that finds no room.
    HoldsAt(Timestamp),
    /// This time has come, however it stands.
    At(Timestamp),
}

/// Some workloads and all that is known of them.
pub struct Watch<'a> {
    port: &'a dyn Port,
    clock: &'a dyn Clock,
    targets: Vec<Target>,
    following: Box<dyn Following>,
    pub world: World,
    read: BTreeSet<(Uid, String)>,
}

impl<'a> Watch<'a> {
    pub fn new(port: &'a dyn Port, clock: &'a dyn Clock, targets: Vec<Target>) -> Self {
        let following = port.follow(&targets);
        let world = World::new(targets.iter().cloned());
        Self { port, clock, targets, following, world, read: BTreeSet::new() }
    }

    /// Whether all of them are followed.
    pub fn follows(&self, applied: &[Applied]) -> bool {
        applied.iter().all(|one| self.targets.contains(&one.target))
    }

    /// Judges at every change, and tells what is new.
    pub async fn until(
        &mut self,
        applied: &[Applied],
        rules: &Rules,
        until: Until,
        tell: &(dyn Fn(&Whole) + Sync),
    ) -> Result<Whole> {
        let mut told: Option<Whole> = None;
        loop {
            let mut whole = judge_all(applied, rules, &self.world, self.clock.now());
            if self.read_logs(&whole).await {
                whole = judge_all(applied, rules, &self.world, self.clock.now());
            }
            if told.as_ref() != Some(&whole) {
                tell(&whole);
                told = Some(whole.clone());
            }
            let is_over = match until {
                _ if whole.verdict.is_failed() => true,
                Until::Done => whole.verdict.is_done(),
                Until::HoldsAt(at) => self.clock.now() >= at && whole.holds(applied),
                Until::At(at) => self.clock.now() >= at,
            };
            if is_over {
                return Ok(whole);
            }
            self.hear(TICK).await?;
        }
    }

    /// Takes in what comes, at most for so long; comes back with the first piece.
    pub async fn hear(&mut self, most: Duration) -> Result<()> {
        match tokio::time::timeout(most, self.following.next()).await {
            Err(_) => Ok(()),
            Ok(Some(news)) => self.take(&news),
            Ok(None) => {
                // Nothing is followed any more: once again from the beginning.
                tokio::time::sleep(TICK).await;
                self.following = self.port.follow(&self.targets);
                Ok(())
            }
        }
    }

    fn take(&mut self, news: &News) -> Result<()> {
        news.tell(&mut self.world, self.clock.now());
        if let News::Unavailable { kind, why } = news
            && self.targets.iter().any(|target| target.kinds().contains(kind))
        {
            return Err(Error::Cluster(why.clone()));
        }
        Ok(())
    }

    /// Listens until every kind has been listed, or for so long.
    pub async fn settle(&mut self, most: Duration) -> Result<()> {
        let end = self.clock.now().plus(most);
        while self.clock.now() < end && !self.targets.iter().all(|target| self.world.is_listed(target)) {
            self.hear(TICK).await?;
        }
        Ok(())
    }

    /// Reads the last lines of containers that are said to have ended, each once.
    async fn read_logs(&mut self, whole: &Whole) -> bool {
        let crashed = |cause: &&rollout::failure::Cause| {
            matches!(
                cause.code,
                Code::Crashed | Code::InitFailed | Code::OutOfMemory | Code::JobFailed | Code::StartupProbe
            )
        };
        let mut wanted = Vec::new();
        for cause in whole.verdict.causes().filter(crashed) {
            for about in cause.about.iter().take(2) {
                if let Some(container) = &about.container
                    && self.read.insert((about.uid.clone(), container.clone()))
                {
                    wanted.push((about.clone(), container.clone()));
                }
            }
        }
        let mut has_read = false;
        for (about, container) in wanted {
            for life in [Life::Previous, Life::Present] {
                let request = LogRequest {
                    namespace: about.namespace.clone(),
                    pod: about.name.clone(),
                    container: Some(container.clone()),
                    life,
                    tail: Some(LAST_LINES),
                    ..LogRequest::default()
                };
                // That there is none is no reason not to go on.
                if let Ok(text) = self.port.log(&request).await
                    && !text.trim().is_empty()
                {
                    self.world.read_log(&about.uid, &container, &text);
                    has_read = true;
                    break;
                }
            }
        }
        has_read
    }
}
