//! The machine of a canary: the whole table, and what follows from it.

use std::time::Duration;

use proptest::prelude::*;

use super::at;
use crate::canary::analysis::{Limits, Measurement, Tally, Verdict, joined};
use crate::canary::split::Split;
use crate::canary::{
    Action, Approval, By, Canary, Outcome, Pause, Plan, PlanError, Reason, State, Step, Trigger, next,
};

const HOLD: Duration = Duration::from_secs(60);

fn plan() -> Plan {
    let step = |weight: u8, approval| Step { weight, hold: HOLD, approval };
    Plan::new(By::Mesh, vec![step(10, Approval::Analysis), step(50, Approval::Operator)]).unwrap()
}

/// Every kind of state, in the middle of the plan where it has a step.
fn states() -> Vec<State> {
    vec![
        State::Planned,
        State::Shifting { step: 0 },
        State::Holding { step: 0, since: at(0) },
        State::Paused { step: 0, why: Pause::Asked },
        State::Paused { step: 0, why: Pause::Approval },
        State::Paused { step: 0, why: Pause::Inconclusive },
        State::Promoting,
        State::Promoted,
        State::Aborting { why: Reason::Failed },
        State::Aborted { why: Reason::Failed },
    ]
}

fn triggers() -> Vec<Trigger> {
    let judged = |verdict| Trigger::Judged { step: 0, verdict };
    vec![
        Trigger::Begin,
        Trigger::Shifted { step: 0 },
        judged(Verdict::Running),
        judged(Verdict::Pass),
        judged(Verdict::Fail),
        judged(Verdict::Inconclusive),
        judged(Verdict::Error),
        Trigger::PodsFailed,
        Trigger::Pause,
        Trigger::Resume,
        Trigger::Promote,
        Trigger::Abort,
        Trigger::TookOver,
        Trigger::TookBack,
    ]
}

/// One letter or word an outcome: `=` already done, `x` refused, or the state that it leads to.
fn letter(outcome: Outcome) -> String {
    match outcome {
        Outcome::AlreadyDone => "=".to_owned(),
        Outcome::Refused(why) => {
            assert!(!why.is_empty());
            "x".to_owned()
        }
        Outcome::Done(state) => match state {
            State::Planned => "planned".to_owned(),
            State::Shifting { step } => format!("shift{step}"),
            State::Holding { step, .. } => format!("hold{step}"),
            State::Paused { why, .. } => format!("pause:{why:?}"),
            State::Promoting => "promoting".to_owned(),
            State::Promoted => "promoted".to_owned(),
            State::Aborting { why } => format!("back:{why:?}"),
            State::Aborted { why } => format!("gone:{why:?}"),
        },
    }
}

#[test]
fn every_state_and_trigger_is_done_already_done_or_refused() {
    // After the hold: what a passed analysis does is visible.
    let table: Vec<Vec<String>> = states()
        .into_iter()
        .map(|state| {
            triggers().into_iter().map(|trigger| letter(next(&plan(), state, trigger, at(60)))).collect()
        })
        .collect();
    #[rustfmt::skip]
    let expected: [[&str; 14]; 10] = [
        // begin    shifted  run  pass      fail           inconcl.              error         podsfailed   pause          resume     promote      abort         over        back
        ["shift0",  "x",     "x", "x",      "x",           "x",                  "x",          "x",         "x",           "x",       "x",         "gone:Asked", "x",        "x"],
        ["=",       "hold0", "x", "x",      "x",           "x",                  "x",          "back:Pods", "pause:Asked", "=",       "promoting", "back:Asked", "x",        "x"],
        ["=",       "=",     "=", "shift1", "back:Failed", "pause:Inconclusive", "back:Error", "back:Pods", "pause:Asked", "=",       "promoting", "back:Asked", "x",        "x"],
        ["=",       "=",     "=", "=",      "back:Failed", "=",                  "back:Error", "back:Pods", "=",           "shift0",  "promoting", "back:Asked", "x",        "x"],
        ["=",       "=",     "=", "=",      "back:Failed", "=",                  "back:Error", "back:Pods", "=",           "shift1",  "promoting", "back:Asked", "x",        "x"],
        ["=",       "=",     "=", "=",      "back:Failed", "=",                  "back:Error", "back:Pods", "=",           "shift1",  "promoting", "back:Asked", "x",        "x"],
        ["=",       "=",     "=", "=",      "=",           "=",                  "=",          "back:Pods", "x",           "=",       "=",         "back:Asked", "promoted", "x"],
        ["=",       "=",     "=", "=",      "=",           "=",                  "=",          "x",         "x",           "x",       "=",         "x",          "=",        "x"],
        ["=",       "=",     "=", "=",      "=",           "=",                  "=",          "=",         "x",           "x",       "x",         "=",          "x",        "gone:Failed"],
        ["=",       "=",     "=", "=",      "=",           "=",                  "=",          "=",         "x",           "x",       "x",         "=",          "x",        "="],
    ];
    for ((row, wanted), state) in table.iter().zip(expected).zip(states()) {
        assert_eq!(row, &wanted, "{state:?}");
    }
}

#[test]
fn a_canary_that_passes_goes_step_by_step_to_the_end() {
    let mut canary = Canary::new(plan());
    let mut take = |trigger, seconds| letter(canary.take(trigger, at(seconds)));
    let pass = |step| Trigger::Judged { step, verdict: Verdict::Pass };
    assert_eq!(take(Trigger::Begin, 0), "shift0");
    assert_eq!(take(Trigger::Shifted { step: 0 }, 5), "hold0");
    assert_eq!(take(pass(0), 64), "x", "its time is not over");
    assert_eq!(take(pass(0), 65), "shift1");
    assert_eq!(take(pass(0), 66), "=", "a verdict of a step that is over");
    assert_eq!(take(pass(1), 66), "x", "its weight is not set");
    assert_eq!(take(Trigger::Shifted { step: 1 }, 70), "hold1");
    assert_eq!(take(Trigger::Shifted { step: 0 }, 71), "=");
    assert_eq!(take(pass(1), 130), "pause:Approval");
    assert_eq!(take(Trigger::Resume, 500), "promoting");
    assert_eq!(take(Trigger::TookOver, 520), "promoted");
    assert!(canary.state.is_end());
}

#[test]
fn what_is_about_a_step_that_has_not_come_is_refused() {
    let state = State::Holding { step: 0, since: at(0) };
    for trigger in [Trigger::Shifted { step: 1 }, Trigger::Judged { step: 1, verdict: Verdict::Fail }] {
        assert_eq!(letter(next(&plan(), state, trigger, at(60))), "x");
    }
}

#[test]
fn whoever_finds_a_canary_in_the_journal_knows_what_to_make_true() {
    let expected = [
        Action::Nothing,
        Action::SetWeight { weight: 10 },
        Action::Analyse { step: 0, until: at(60) },
        Action::SetWeight { weight: 10 },
        Action::SetWeight { weight: 10 },
        Action::SetWeight { weight: 10 },
        Action::Replace,
        Action::Nothing,
        Action::TakeBack,
        Action::Nothing,
    ];
    for (state, action) in states().into_iter().zip(expected) {
        let kept = serde_json::to_string(&Canary { plan: plan(), state }).unwrap();
        let found: Canary = serde_json::from_str(&kept).unwrap();
        assert_eq!((found.state, found.action()), (state, action));
    }
}

#[test]
fn a_plan_grows_to_at_most_everything() {
    let step = |weight| Step { weight, hold: HOLD, approval: Approval::Analysis };
    assert_eq!(Plan::new(By::Mesh, vec![]), Err(PlanError::NoStep));
    assert_eq!(Plan::new(By::Replicas { total: 0 }, vec![step(10)]), Err(PlanError::NoReplica));
    for (weights, at_step) in [(vec![0], 0), (vec![10, 10], 1), (vec![50, 20], 1), (vec![50, 101], 1)] {
        let error = Plan::new(By::Mesh, weights.iter().copied().map(step).collect()).unwrap_err();
        assert!(matches!(error, PlanError::Weight { step, .. } if step == at_step), "{weights:?}: {error}");
    }
    assert!(Plan::new(By::Mesh, vec![step(1), step(100)]).is_ok());
}

#[test]
fn measurements_become_a_verdict_by_their_limits() {
    use Measurement::{Bad, Error, Good, Unknown};
    let limits =
        Limits { count: 5, failures: 1, inconclusive: 1, consecutive_errors: 2, consecutive_good: 0 };
    for (measured, verdict) in [
        (vec![], Verdict::Running),
        (vec![Good, Good], Verdict::Running),
        (vec![Good; 5], Verdict::Pass),
        (vec![Bad, Good, Good, Good, Good], Verdict::Pass),
        (vec![Bad, Bad], Verdict::Fail),
        (vec![Unknown, Unknown], Verdict::Inconclusive),
        (vec![Bad, Bad, Unknown, Unknown], Verdict::Inconclusive),
        (vec![Error, Error, Good], Verdict::Running),
        (vec![Error, Error, Error], Verdict::Error),
        (vec![Bad, Bad, Error, Error, Error], Verdict::Error),
        // An error is no measurement: it is tried again.
        (vec![Good, Error, Good, Error, Good, Good], Verdict::Running),
    ] {
        let mut tally = Tally::default();
        measured.iter().for_each(|one| tally.add(*one));
        assert_eq!(tally.verdict(&limits), verdict, "{measured:?}");
    }
}

#[test]
fn good_ones_in_a_row_may_end_it_early() {
    let limits = Limits { count: 10, failures: 1, consecutive_good: 3, ..Limits::default() };
    let mut tally = Tally::default();
    for measurement in [Measurement::Good, Measurement::Bad, Measurement::Good, Measurement::Good] {
        tally.add(measurement);
        assert_eq!(tally.verdict(&limits), Verdict::Running);
    }
    tally.add(Measurement::Good);
    assert_eq!(tally.verdict(&limits), Verdict::Pass);
}

#[test]
fn tolerated_silence_is_not_a_pass() {
    let limits = Limits { count: 1, inconclusive: 3, ..Limits::default() };
    let mut tally = Tally::default();
    tally.add(Measurement::Unknown);
    assert_eq!(tally.verdict(&limits), Verdict::Inconclusive);
    assert_eq!(joined([]), Verdict::Inconclusive);
}

#[test]
fn of_several_metrics_one_failure_is_enough_and_all_have_to_pass() {
    use Verdict::{Error, Fail, Inconclusive, Pass, Running};
    for (verdicts, whole) in [
        (vec![Pass, Pass], Pass),
        (vec![Pass, Running], Running),
        (vec![Running, Inconclusive], Inconclusive),
        (vec![Inconclusive, Error], Error),
        (vec![Error, Fail, Pass], Fail),
    ] {
        assert_eq!(joined(verdicts.clone()), whole, "{verdicts:?}");
    }
}

#[test]
fn weights_become_whole_pods() {
    for (total, weight, canary, stable) in [
        (10, 0, 0, 10),
        (10, 1, 1, 9),
        (10, 14, 1, 9),
        (10, 15, 2, 8),
        (10, 50, 5, 5),
        (3, 10, 1, 2),
        (3, 50, 2, 1),
        (3, 99, 2, 1),
        (3, 100, 3, 0),
        (1, 10, 1, 1),
        (1, 100, 1, 0),
        (0, 50, 0, 0),
        (500, 33, 165, 335),
    ] {
        assert_eq!(Split::of(total, weight), Split { stable, canary }, "{weight} % of {total}");
    }
    assert!((Split::of(3, 10).weight() - 100.0 / 3.0).abs() < 1e-9);
    assert!(Split::of(3, 10).error(10) > 23.0);
}

proptest! {
    #[test]
    fn there_are_never_fewer_pods_and_more_weight_is_never_less(total in 0_u32..2000, weight in 0_u8..100) {
        let (less, more) = (Split::of(total, weight), Split::of(total, weight + 1));
        prop_assert!(less.stable + less.canary >= total && more.stable + more.canary >= total);
        prop_assert!(more.canary >= less.canary);
        prop_assert!(total == 0 || weight == 0 || (less.canary > 0 && less.stable > 0));
        // As near as one pod allows.
        prop_assert!(total < 2 || weight == 0 || less.error(weight) <= 100.0 / f64::from(total));
    }

    #[test]
    fn no_way_leads_to_more_weight_without_a_pass_or_the_operator(picks in proptest::collection::vec((0_usize..14, 0_usize..2, 1_i64..90), 0..60)) {
        let mut canary = Canary::new(plan());
        let mut now = 0;
        for (pick, step, seconds) in picks {
            now += seconds;
            let trigger = match triggers()[pick] {
                Trigger::Shifted { .. } => Trigger::Shifted { step },
                Trigger::Judged { verdict, .. } => Trigger::Judged { step, verdict },
                other => other,
            };
            let before = canary.state;
            let outcome = canary.take(trigger, at(now));
            match outcome {
                Outcome::Done(state) => prop_assert_eq!(state, canary.state),
                Outcome::AlreadyDone | Outcome::Refused(_) => prop_assert_eq!(before, canary.state),
            }
            prop_assert!(!before.is_end() || before == canary.state, "an end is an end");
            let weight = |state: State| match state {
                State::Planned | State::Aborting { .. } | State::Aborted { .. } => 0,
                State::Shifting { step } | State::Holding { step, .. } | State::Paused { step, .. } => 1 + step,
                State::Promoting | State::Promoted => 9,
            };
            if weight(canary.state) > weight(before) {
                prop_assert!(matches!(
                    trigger,
                    Trigger::Begin | Trigger::Resume | Trigger::Promote | Trigger::Judged { verdict: Verdict::Pass, .. }
                ), "{:?} by {:?}", before, trigger);
            }
        }
    }
}

#[test]
fn a_switch_stands_at_nothing_first_and_then_at_everything() {
    let step = |weight| Step { weight, hold: HOLD, approval: Approval::Analysis };
    let of = |by, weights: &[u8]| Plan::new(by, weights.iter().copied().map(step).collect());
    let plan = of(By::Switch, &[0, 100]).unwrap();
    assert!(of(By::Switch, &[100]).is_ok());
    assert_eq!(of(By::Switch, &[0, 50]), Err(PlanError::Half { step: 1, weight: 50 }));
    assert_eq!(of(By::Switch, &[0, 0]), Err(PlanError::Weight { step: 1, weight: 0, before: 0 }));
    assert_eq!(of(By::Switch, &[100, 0]), Err(PlanError::Weight { step: 1, weight: 0, before: 100 }));
    for by in [By::Mesh, By::Replicas { total: 3 }] {
        assert_eq!(of(by, &[0, 100]), Err(PlanError::Weight { step: 0, weight: 0, before: 0 }));
    }
    let mut green = Canary::new(plan);
    let pass = |step| Trigger::Judged { step, verdict: Verdict::Pass };
    green.take(Trigger::Begin, at(0));
    assert_eq!(green.action(), Action::SetWeight { weight: 0 });
    green.take(Trigger::Shifted { step: 0 }, at(1));
    green.take(pass(0), at(61));
    assert_eq!(green.action(), Action::SetWeight { weight: 100 });
    green.take(Trigger::Shifted { step: 1 }, at(62));
    assert_eq!(letter(green.take(pass(1), at(100))), "x", "the old one is kept until its time is over");
    green.take(pass(1), at(122));
    assert_eq!(green.action(), Action::Replace);
}
