//! Rollouts whose way to the cluster breaks, whose time is over, and that a gate judges.

use std::time::Duration;

use kernel::Clock;
use kubernetes::testing::Control;
use kubernetes::testing::behaviour::Behaviour;
use rollout::canary::analysis::Measurement;
use rollout::lifecycle::OnFailure;

use super::ground::{Ground, Scaled, Told, image, manifest, plan, seconds};
use crate::gate::Gate;
use crate::run::Plan;

const THREE: Scaled = Scaled::Fixed(3);

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_what_is_under_way_and_says_that_it_does_not_know() {
    let ground = Ground::new();
    ground.api.behave(&image(1), Behaviour::NeverReady);
    let mut first = manifest(1, THREE);
    first.items.retain(|item| item.body["kind"] != "Job");
    let mut plan = Plan { on_failure: OnFailure::Leave, ..plan(1, first) };
    plan.rules.deadline = Some(Duration::from_secs(20));
    let began = ground.api.clock().now();
    let rolled = ground.roll(plan).await;
    assert_eq!((rolled.exit(), rolled.code()), (6, "ROL062"));
    assert!((20..24).contains(&seconds(&ground, began)));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_in_the_middle_is_followed_on() {
    for control in [Control::Cut, Control::CutInLine, Control::Gone, Control::End] {
        let ground = Ground::new();
        let api = ground.api.clone();
        let breaking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1700)).await;
                if control == Control::Gone {
                    api.compact();
                }
                api.control(control);
            }
        });
        let rolled = ground.roll(plan(1, manifest(1, THREE))).await;
        breaking.abort();
        assert_eq!(rolled.exit(), 0, "{control:?} {:?}", rolled.book.causes());
    }
}

fn gate() -> Gate {
    Gate::read("interval_s = 5\n[[check]]\nname = \"errors\"\nexpr = \"x\"\nmax = 0.01\ncount = 3\n").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_gate_passes_breaches_or_says_that_it_does_not_know() {
    use Measurement::{Bad, Good, Unknown};
    let table: [(&[Measurement], OnFailure, u8); 5] = [
        (&[Good], OnFailure::Leave, 0),
        (&[Good, Bad], OnFailure::Leave, 30),
        (&[Good, Bad], OnFailure::RollBack, 24),
        (&[Unknown], OnFailure::Leave, 31),
        (&[Unknown], OnFailure::RollBack, 24),
    ];
    for (looks, on_failure, exit) in table {
        let ground = Ground::new();
        ground.roll(plan(1, manifest(1, THREE))).await;
        let plan = Plan {
            gate: Some(gate()),
            bake: Duration::from_secs(30),
            on_failure,
            ..plan(2, manifest(2, THREE))
        };
        let began = ground.api.clock().now();
        let rolled = ground.gated(plan, &Told::new(looks)).await;
        assert_eq!(rolled.exit(), exit, "{looks:?} {:?}", rolled.book.causes());
        assert!(seconds(&ground, began) >= 30, "it has to stand first");
        let runs = if exit == 24 { 1 } else { 2 };
        assert_eq!(
            ground.deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"],
            image(runs)
        );
    }
}
