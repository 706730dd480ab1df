//! Where each resource of a running apply stands, from its events.
//!
//! Invariants: a resource is in one place: waiting, under way, done or failed; a replacement is two steps of one
//! resource, and is done after the second; events of resources that the plan did not name are taken as they come.

use std::collections::BTreeMap;

use crate::plan::{Action, Plan};
use crate::stream::{Diagnostic, Event, Severity};

/// Where a resource stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Waiting,
    UnderWay { elapsed_s: u64 },
    Done,
    Failed,
}

/// A step that ended: what the journal keeps as a timing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub address: String,
    /// Terraform's word: `create`, `delete`, `update` …
    pub action: String,
    pub elapsed_s: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
}

#[derive(Debug, Clone)]
struct Place {
    standing: Standing,
    /// Steps until it is done.
    steps_left: usize,
}

/// What an apply has done so far.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    places: BTreeMap<String, Place>,
    steps: Vec<Step>,
    diagnostics: Vec<Diagnostic>,
}

/// How many resources stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub waiting: usize,
    pub under_way: usize,
    pub done: usize,
    pub failed: usize,
}

impl Tally {
    pub fn total(&self) -> usize {
        self.waiting + self.under_way + self.done + self.failed
    }
}

impl Watch {
    /// Of the apply of this plan.
    pub fn new(plan: &Plan) -> Self {
        let mut watch = Self::default();
        for change in &plan.changes {
            let steps_left = match change.action {
                Action::Replace(_) => 2,
                Action::Create | Action::Update | Action::Delete => 1,
                // Settled in the state, without an event.
                Action::Forget | Action::Read | Action::Nothing => continue,
            };
            // A leftover that is deleted has the address of its successor in events.
            let address = change.address.split(" (deposed ").next().unwrap_or_default().to_owned();
            let place =
                watch.places.entry(address).or_insert(Place { standing: Standing::Waiting, steps_left: 0 });
            place.steps_left += steps_left;
        }
        watch
    }

    pub fn saw(&mut self, event: &Event) {
        match event {
            Event::ApplyStart { resource, .. } => self.under_way(&resource.address, 0),
            Event::ApplyProgress { resource, elapsed_s, .. } => self.under_way(&resource.address, *elapsed_s),
            Event::ApplyComplete { resource, action, elapsed_s, .. } => {
                let place = self.place(&resource.address);
                place.steps_left = place.steps_left.saturating_sub(1);
                if place.standing != Standing::Failed {
                    place.standing = if place.steps_left == 0 { Standing::Done } else { Standing::Waiting };
                }
                self.ended(&resource.address, action, *elapsed_s, Outcome::Done);
            }
            Event::ApplyErrored { resource, action, elapsed_s } => {
                self.place(&resource.address).standing = Standing::Failed;
                self.ended(&resource.address, action, *elapsed_s, Outcome::Failed);
            }
            Event::Diagnostic(diagnostic) => self.diagnostics.push(diagnostic.clone()),
            _ => {}
        }
    }

    fn place(&mut self, address: &str) -> &mut Place {
        self.places.entry(address.to_owned()).or_insert(Place { standing: Standing::Waiting, steps_left: 1 })
    }

    fn under_way(&mut self, address: &str, elapsed_s: u64) {
        let place = self.place(address);
        if place.standing != Standing::Failed {
            place.standing = Standing::UnderWay { elapsed_s };
        }
    }

    fn ended(&mut self, address: &str, action: &str, elapsed_s: u64, outcome: Outcome) {
        let step = Step { address: address.to_owned(), action: action.to_owned(), elapsed_s, outcome };
        self.steps.push(step);
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for place in self.places.values() {
            match place.standing {
                Standing::Waiting => tally.waiting += 1,
                Standing::UnderWay { .. } => tally.under_way += 1,
                Standing::Done => tally.done += 1,
                Standing::Failed => tally.failed += 1,
            }
        }
        tally
    }

    /// Addresses that were begun and not ended, with the seconds that Terraform last told: after an interruption, these
    /// are what nobody knows about.
    pub fn under_way_now(&self) -> impl Iterator<Item = (&str, u64)> {
        self.places.iter().filter_map(|(address, place)| match place.standing {
            Standing::UnderWay { elapsed_s } => Some((address.as_str(), elapsed_s)),
            _ => None,
        })
    }

    pub fn standing(&self, address: &str) -> Option<Standing> {
        self.places.get(address).map(|place| place.standing)
    }

    /// In the order in which they ended.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> + Clone {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stream::Resource;

    fn plan(actions: &[(&str, &[&str])]) -> Plan {
        let changes: Vec<_> = actions
            .iter()
            .map(
                |(address, actions)| json!({"address": address, "type": "t", "change": {"actions": actions}}),
            )
            .collect();
        Plan::parse(json!({"format_version": "1.2", "resource_changes": changes}).to_string().as_bytes())
            .unwrap()
    }

    fn resource(address: &str) -> Resource {
        Resource { address: address.to_owned(), kind: "t".to_owned() }
    }

    fn start(address: &str) -> Event {
        Event::ApplyStart { resource: resource(address), action: "create".to_owned() }
    }

    fn complete(address: &str, elapsed_s: u64) -> Event {
        Event::ApplyComplete { resource: resource(address), action: "create".to_owned(), elapsed_s, id: None }
    }

    #[test]
    fn an_apply_goes_from_waiting_to_done() {
        let mut watch = Watch::new(&plan(&[("a.x", &["create"]), ("a.y", &["update"]), ("a.z", &["no-op"])]));
        assert_eq!(watch.tally(), Tally { waiting: 2, ..Tally::default() });
        watch.saw(&start("a.x"));
        watch.saw(&Event::ApplyProgress {
            resource: resource("a.x"),
            action: "create".to_owned(),
            elapsed_s: 10,
        });
        assert_eq!(watch.under_way_now().collect::<Vec<_>>(), [("a.x", 10)]);
        watch.saw(&complete("a.x", 12));
        assert_eq!(watch.tally(), Tally { waiting: 1, done: 1, ..Tally::default() });
        assert_eq!(watch.steps()[0].elapsed_s, 12);
    }

    #[test]
    fn a_replacement_is_done_after_both_halves() {
        let mut watch = Watch::new(&plan(&[("a.x", &["delete", "create"])]));
        for (event, standing) in [
            (start("a.x"), Standing::UnderWay { elapsed_s: 0 }),
            (complete("a.x", 1), Standing::Waiting),
            (start("a.x"), Standing::UnderWay { elapsed_s: 0 }),
            (complete("a.x", 2), Standing::Done),
        ] {
            watch.saw(&event);
            assert_eq!(watch.standing("a.x"), Some(standing));
        }
        assert_eq!(watch.tally().total(), 1);
        assert_eq!(watch.steps().len(), 2);
    }

    #[test]
    fn a_failed_resource_stays_failed() {
        let mut watch = Watch::new(&plan(&[("a.x", &["delete", "create"])]));
        watch.saw(&start("a.x"));
        watch.saw(&Event::ApplyErrored {
            resource: resource("a.x"),
            action: "delete".to_owned(),
            elapsed_s: 4,
        });
        watch.saw(&start("a.x"));
        watch.saw(&complete("a.x", 1));
        assert_eq!(watch.standing("a.x"), Some(Standing::Failed));
        assert_eq!(watch.steps()[0].outcome, Outcome::Failed);
    }

    #[test]
    fn what_the_plan_did_not_name_is_followed_too() {
        let mut watch = Watch::new(&plan(&[]));
        watch.saw(&start("data.a.late"));
        watch.saw(&complete("data.a.late", 0));
        assert_eq!(watch.tally(), Tally { done: 1, ..Tally::default() });
    }

    #[test]
    fn a_leftover_and_its_successor_are_one_resource_with_the_steps_of_both() {
        let document = json!({"format_version": "1.2", "resource_changes": [
            {"address": "a.x", "type": "t", "change": {"actions": ["update"]}},
            {"address": "a.x", "type": "t", "deposed": "01", "change": {"actions": ["delete"]}},
        ]});
        let mut watch = Watch::new(&Plan::parse(document.to_string().as_bytes()).unwrap());
        watch.saw(&complete("a.x", 1));
        assert_eq!(watch.standing("a.x"), Some(Standing::Waiting));
        watch.saw(&complete("a.x", 1));
        assert_eq!(watch.standing("a.x"), Some(Standing::Done));
    }
}
