//! Streams of the API, recorded in form and made in content, and what has to be said about them.
//!
//! `data/*.ndjson` holds one rollout a file: what was applied, then lists and watch events as the API sends them, each
//! with what is expected after it where something is. `data/failures.ndjson` holds what is first seen of each failure,
//! on top of `base.ndjson`.

mod canaries;
mod clean_up;
mod failures;
mod laws;
mod layout;
mod lifecycles;
mod pages;
mod streams;
mod worlds;

use kernel::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::objects::{Kind, Object};
use crate::verdict::{Applied, Rules, Verdict, Wanted, judge};
use crate::world::{Heard, Target, World};

/// One line of a stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub at: Timestamp,
    pub applied: Option<Json>,
    #[serde(default)]
    pub wanted: Vec<Wanted>,
    pub list: Option<Kind>,
    #[serde(default)]
    pub items: Vec<Json>,
    pub watch: Option<Kind>,
    pub line: Option<Json>,
    pub lost: Option<Kind>,
    pub resumed: Option<Kind>,
    pub log: Option<Log>,
    /// `progress`, `done`, `waiting CODE` or `failed CODE`.
    pub expect: Option<String>,
    /// Words of the open rule or of the cause.
    pub says: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub pod: String,
    pub container: String,
    pub text: String,
}

pub fn lines(text: &str) -> Vec<Line> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A rollout that is played.
pub struct Played {
    pub world: World,
    pub applied: Applied,
    pub rules: Rules,
}

impl Played {
    pub fn begin(first: &Line) -> Self {
        let applied = first.applied.as_ref().expect("the first line says what was applied");
        let applied = Applied::answered(applied, first.wanted.clone(), first.at).unwrap();
        let world = World::new([applied.target.clone()]);
        Self { world, applied, rules: Rules::default() }
    }

    pub fn hear(&mut self, line: &Line) -> Option<Heard> {
        if let Some(kind) = line.list {
            let errors = self.world.listed(kind, &line.items, line.at);
            assert!(errors.is_empty(), "{errors:?}");
        }
        if let (Some(kind), Some(document)) = (line.watch, &line.line) {
            return Some(self.world.line(kind, document, line.at).unwrap());
        }
        if let Some(kind) = line.lost {
            self.world.disconnected(kind, line.at);
        }
        if let Some(kind) = line.resumed {
            self.world.connected(kind);
        }
        if let Some(log) = &line.log {
            self.world.read_log(&log.pod.as_str().into(), &log.container, &log.text);
        }
        None
    }

    pub fn verdict(&self, now: Timestamp) -> Verdict {
        judge(&self.applied, &self.rules, &self.world, now)
    }
}

pub fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Progress { .. } => "progress".to_owned(),
        Verdict::Done { .. } => "done".to_owned(),
        Verdict::Waiting { cause, .. } => format!("waiting {}", cause.code),
        Verdict::Failed { cause, .. } => format!("failed {}", cause.code),
    }
}

/// The words behind a verdict.
pub fn words(verdict: &Verdict) -> &str {
    verdict.cause().map_or(verdict.progress().open.as_str(), |cause| cause.why.as_str())
}

/// Plays a stream and compares wherever something is expected; everywhere else it goes on.
pub fn play(text: &str) -> Played {
    let lines = lines(text);
    let mut played = Played::begin(&lines[0]);
    let mut compared = 0;
    for (number, line) in lines.iter().enumerate().skip(1) {
        played.hear(line);
        let verdict = played.verdict(line.at);
        if line.expect.is_none() {
            assert!(!verdict.is_settled(), "line {}: {verdict:#?}", number + 1);
        }
        if let Some(expected) = &line.expect {
            assert_eq!(said(&verdict), *expected, "line {}: {verdict:#?}", number + 1);
            compared += 1;
        }
        if let Some(says) = &line.says {
            assert!(
                words(&verdict).contains(says.as_str()),
                "line {}: {says:?} not in {verdict:#?}",
                number + 1
            );
        }
    }
    assert!(compared > 0, "a stream that expects nothing shows nothing");
    played
}

/// The rollout of `base.ndjson`, one pod of three about to be made.
pub fn base() -> Played {
    let lines = lines(include_str!("tests/data/base.ndjson"));
    let mut played = Played::begin(&lines[0]);
    for line in &lines[1..] {
        played.hear(line);
    }
    played
}

pub fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-11-21T09:30:00Z".parse().unwrap();
    Timestamp::from_millis(start.as_millis() + seconds * 1000)
}

/// Every object that is known, as text, in a stable order.
pub fn snapshot(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world
        .objects()
        .map(|object| {
            let events: Vec<String> =
                world.events_about(&object.meta().uid).iter().map(|event| format!("{event:?}")).collect();
            format!("{object:?} {events:?}")
        })
        .collect();
    all.sort();
    all
}

pub fn target() -> Target {
    Target::new(Kind::Deployment, "shop", "orders")
}

pub fn object(document: Json) -> Object {
    Object::parse(&document).unwrap()
}

/// What stands after a recorded failure was seen, and when.
fn after(name: &str) -> (Played, Timestamp) {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        observed: Vec<Line>,
    }
    let case = include_str!("tests/data/failures.ndjson")
        .lines()
        .map(|line| serde_json::from_str::<Case>(line).unwrap())
        .find(|case| case.name == name)
        .unwrap();
    let mut played = base();
    let mut now = at(2);
    for line in &case.observed {
        played.hear(line);
        now = line.at;
    }
    (played, now)
}
