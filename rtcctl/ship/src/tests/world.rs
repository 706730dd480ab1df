//! Everything that a release changes, with a journal, in memory; it may die before or after anything that it does.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::digest;
use crate::{
    Answered, Applied, Budget, BudgetSeen, BudgetVerdict, Budgeting, Built, Collected, Compared, Deployed,
    Digest, End, Fact, Failure, Gated, How, Ledger, Left, Load, Noticed, Planned, PlannedChange, Proved,
    Pushed, Release, Request, Rest, RolledBack, Step, Steps, Stood, Story, compare, drive, judge_budgets,
    what_is_left,
};

/// Why a process went no further.
#[derive(Debug, PartialEq, Eq)]
pub enum Gone {
    Killed,
    Defect(String),
}

/// What outlives a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    pub facts: Vec<Fact>,
    pub resources: BTreeMap<String, u32>,
    pub registry: BTreeSet<Digest>,
    pub layout: Option<Digest>,
    /// What runs, the generation, and what ran before that is recorded.
    pub runs: Option<Digest>,
    pub generation: u32,
    pub recorded: Option<Digest>,
    pub told: Vec<String>,
    /// How often something was changed, by what it was.
    pub effects: BTreeMap<String, u32>,
}

/// What is wrong with this world.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    pub budget_left: Option<f64>,
    /// The step that fails, with its exit code.
    pub fails: Option<(Step, u8)>,
    /// So often it fails, then no more.
    pub times: Option<u32>,
    pub rollback_fails: bool,
    /// Nobody says yes to the way back.
    pub nobody_agrees: bool,
    pub runs_another: bool,
    /// What load comes to during the rollout, where it is driven.
    pub answered: Option<Answered>,
    /// How a measure stands before anything is changed, and after.
    pub stood: Option<Stood>,
    pub stands: Option<Stood>,
}

pub struct Process<'a> {
    pub world: &'a mut World,
    pub weather: &'a mut Weather,
    /// How many more things happen before it dies.
    pub life: Option<u32>,
    is_dead: bool,
}

impl<'a> Process<'a> {
    pub fn new(world: &'a mut World, weather: &'a mut Weather, life: Option<u32>) -> Self {
        Self { world, weather, life, is_dead: false }
    }

    /// Something is about to happen. The dead do nothing.
    fn lives(&mut self) -> bool {
        match &mut self.life {
            Some(0) => self.is_dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        !self.is_dead
    }

    fn effect(&mut self, what: impl Into<String>) {
        *self.world.effects.entry(what.into()).or_default() += 1;
    }

    /// What this weather does to a step; also what a process that died in it would have come to.
    fn weather(&mut self, step: Step) -> Result<(), Box<Failure>> {
        if self.is_dead {
            return Err(Box::new(Failure::new(step, 130, "DEAD", "it is never heard of again")));
        }
        match self.weather.fails {
            Some((failing, exit)) if failing == step && self.weather.times != Some(0) => {
                self.weather.times = self.weather.times.map(|times| times - 1);
                Err(Box::new(Failure::new(step, exit, "TST001", "the weather")))
            }
            _ => Ok(()),
        }
    }

    fn planned(&self) -> Planned {
        let missing = |address: &&str| !self.world.resources.contains_key(*address);
        let changes: Vec<PlannedChange> = ["queue", "bucket"]
            .into_iter()
            .filter(missing)
            .map(|address| PlannedChange {
                address: address.to_owned(),
                action: "create".to_owned(),
                destroys: false,
                reason: None,
            })
            .collect();
        let letter = char::from_digit(changes.len() as u32, 10).unwrap();
        Planned { digest: digest(letter), changes, outputs: 0, sentence: String::new() }
    }
}

impl Ledger for Process<'_> {
    type Error = Gone;

    fn write(&mut self, fact: &Fact) -> Result<(), Gone> {
        if !self.lives() {
            return Err(Gone::Killed);
        }
        self.world.facts.push(fact.clone());
        // It may also die after it was written.
        if self.lives() { Ok(()) } else { Err(Gone::Killed) }
    }

    fn defect(&self, what: &str) -> Gone {
        if self.is_dead { Gone::Killed } else { Gone::Defect(what.to_owned()) }
    }
}

impl Steps for Process<'_> {
    async fn budget(&mut self, judged: Budgeting) -> Result<BudgetSeen, Box<Failure>> {
        self.weather(Step::Budget)?;
        let left = self.weather.budget_left.map_or(Left::NoData, |share| Left::Value { share });
        let budgets = vec![Budget { objective: "orders".to_owned(), left, period: "30d".to_owned() }];
        let verdict = judge_budgets(&budgets, 0.1);
        let stood = self.weather.stood.iter().cloned().collect();
        let seen = BudgetSeen { budgets, min: 0.1, judged, stood };
        match verdict {
            _ if judged == Budgeting::Seen => Ok(seen),
            BudgetVerdict::Enough => Ok(seen),
            BudgetVerdict::Spent(_) => Err(Box::new(Failure::new(Step::Budget, 7, "TST002", "spent"))),
            BudgetVerdict::NoData => Err(Box::new(Failure::new(Step::Budget, 31, "TST003", "no data"))),
        }
    }

    async fn plan(&mut self) -> Result<Planned, Box<Failure>> {
        self.weather(Step::Plan)?;
        Ok(self.planned())
    }

    async fn apply(&mut self, judged: &Planned, how: How) -> Result<Applied, Box<Failure>> {
        self.weather(Step::Apply)?;
        let now = self.planned();
        match what_is_left(judged, &now, how) {
            Rest::Other(_) | Rest::Another => {
                return Err(Box::new(Failure::new(Step::Apply, 8, "TST004", "another plan").lasting()));
            }
            Rest::Nothing | Rest::Part => {}
        }
        let rest_of = (now.digest != judged.digest).then(|| judged.digest.clone());
        for change in now.changes {
            if self.lives() {
                self.effect(format!("apply {}", change.address));
                self.world.resources.insert(change.address, 1);
            }
        }
        Ok(Applied { plan: now.digest, rest_of, sentence: String::new(), run: None })
    }

    async fn build(&mut self, _how: How) -> Result<Built, Box<Failure>> {
        self.weather(Step::Build)?;
        if self.lives() {
            self.world.layout = Some(digest('a'));
        }
        Ok(Built {
            image: "rtcd".to_owned(),
            digest: digest('a'),
            tags: Vec::new(),
            layout: String::new(),
            bytes: 1,
            revision: None,
        })
    }

    async fn push(&mut self, built: &Built, _how: How) -> Result<Pushed, Box<Failure>> {
        self.weather(Step::Push)?;
        let mut bytes_sent = 0;
        if self.lives() && self.world.registry.insert(built.digest.clone()) {
            self.effect("push");
            bytes_sent = 1;
        }
        let reference = format!("registry/rtcd@{}", built.digest);
        Ok(Pushed { reference, digest: built.digest.clone(), bytes_sent, run: None })
    }

    async fn deploy(&mut self, reference: &str, image: &Digest, _how: How) -> Result<Deployed, Box<Failure>> {
        self.weather(Step::Deploy)?;
        assert!(reference.ends_with(image.as_str()));
        if self.lives() && self.world.runs.as_ref() != Some(image) {
            self.world.recorded = self.world.runs.replace(image.clone());
            self.world.generation += 1;
            self.effect("deploy");
        }
        Ok(Deployed {
            image: image.clone(),
            manifest: digest('b'),
            revision: None,
            previous: None,
            availability: None,
            load: self.weather.answered.map(|answered| Load {
                answered,
                sentence: "the load".to_owned(),
                details: serde_json::Value::Null,
            }),
            done_at_ms: 0,
            run: None,
            details: serde_json::Value::Null,
        })
    }

    async fn prove(&mut self, _deployed: &Deployed) -> Result<Proved, Box<Failure>> {
        self.weather(Step::Prove)?;
        let runs = if self.weather.runs_another { Some(digest('c')) } else { self.world.runs.clone() };
        Ok(Proved { running: runs.into_iter().collect(), pods: 2, availability: None })
    }

    async fn gate(&mut self, _deployed: &Deployed, before: &[Stood]) -> Result<Gated, Box<Failure>> {
        self.weather(Step::Gate)?;
        if let Some(now) = &self.weather.stands
            && let Compared::Worse(why) = compare(crate::stood(before, now), now)
        {
            return Err(Box::new(Failure::new(Step::Gate, 30, "TST006", why)));
        }
        Ok(Gated { verdicts: Vec::new(), sentence: String::new() })
    }

    async fn collect(&mut self, _deployed: &Deployed, _why: &Failure) -> Result<Collected, Box<Failure>> {
        self.weather(Step::Collect)?;
        assert_eq!(self.world.runs, Some(digest('a')), "evidence is of what failed");
        Ok(Collected { files: vec!["pods.json".to_owned()], missing: Vec::new() })
    }

    async fn roll_back(&mut self, _deployed: &Deployed, _how: How) -> Result<RolledBack, Box<Failure>> {
        self.weather(Step::RollBack)?;
        if self.weather.nobody_agrees {
            return Err(Box::new(Failure::new(Step::RollBack, 7, crate::NOT_AGREED[1], "nobody typed it")));
        }
        if self.weather.rollback_fails {
            return Err(Box::new(Failure::new(Step::RollBack, 9, "TST005", "no answer")));
        }
        if self.lives() && self.world.runs != self.world.recorded {
            self.world.runs = self.world.recorded.clone();
            self.world.generation += 1;
            self.effect("roll back");
        }
        Ok(RolledBack { image: self.world.runs.clone(), revision: None })
    }

    async fn notice(&mut self, story: &Story) -> Result<Noticed, Box<Failure>> {
        self.weather(Step::Notice)?;
        if self.lives() {
            self.world.told.push(story.word.name().to_owned());
        }
        Ok(Noticed { told: vec!["channel".to_owned()], problems: Vec::new() })
    }
}

/// One process from the journal as it is to its end; it dies when `life` things have happened.
pub fn live(
    request: &Request,
    world: &mut World,
    weather: &mut Weather,
    life: Option<u32>,
) -> Result<End, Gone> {
    let mut release = Release::fold(request.clone(), world.facts.clone()).unwrap();
    let mut process = Process::new(world, weather, life);
    let work = pin!(drive(&mut release, &mut process));
    match work.poll_it() {
        // A process that died within a step is heard of no more, whatever the loop makes of it.
        Ok(End::Stopped { why, .. }) if why.code == "DEAD" => Err(Gone::Killed),
        end => end,
    }
}

trait PollIt {
    type Output;
    fn poll_it(self) -> Self::Output;
}

impl<F: Future> PollIt for std::pin::Pin<&mut F> {
    type Output = F::Output;

    /// Nothing in this world waits.
    fn poll_it(self) -> F::Output {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => unreachable!("nothing in this world waits"),
        }
    }
}
