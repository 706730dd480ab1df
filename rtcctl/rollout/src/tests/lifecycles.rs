//! A whole rollout as steps of a journal.

use crate::code::Code;
use crate::lifecycle::{
    EXITS, Failure, Lifecycle, OnFailure, Outcome, Resume, STEPS, State, Step, Trigger, failure_of, next,
};

const WHY: Failure = Failure::Rollout { code: Code::ImageMissing };

fn states() -> Vec<State> {
    vec![
        State::Planned,
        State::Recorded,
        State::Migrated,
        State::Applied,
        State::Watched,
        State::Baked,
        State::Gated,
        State::Done,
        State::Collecting { why: WHY },
        State::RollingBack { why: WHY },
        State::RolledBack { why: WHY },
        State::RollbackFailed { why: WHY },
        State::Left { why: WHY },
    ]
}

fn triggers() -> Vec<Trigger> {
    vec![
        Trigger::Recorded,
        Trigger::Migrated,
        Trigger::Applied,
        Trigger::Watched,
        Trigger::Baked,
        Trigger::Gated,
        Trigger::Ended,
        Trigger::Failed { why: Failure::Gate },
        Trigger::Collected,
        Trigger::Restored,
        Trigger::RestoreFailed,
    ]
}

fn letter(outcome: Outcome) -> String {
    match outcome {
        Outcome::AlreadyDone => "=".to_owned(),
        Outcome::Refused(_) => "x".to_owned(),
        Outcome::Done(state) => format!("{state:?}").split(' ').next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn every_state_and_trigger_is_done_already_done_or_refused() {
    #[rustfmt::skip]
    let expected: [[&str; 11]; 13] = [
        // recorded   migrated    applied    watched    baked    gated    ended   failed        collected      restored      restore failed
        ["Recorded", "x",        "x",       "x",       "x",     "x",     "x",    "Left",       "x",           "x",          "x"],
        ["=",        "Migrated", "x",       "x",       "x",     "x",     "x",    "Left",       "x",           "x",          "x"],
        ["=",        "=",        "Applied", "x",       "x",     "x",     "x",    "Collecting", "x",           "x",          "x"],
        ["=",        "=",        "=",       "Watched", "x",     "x",     "x",    "Collecting", "x",           "x",          "x"],
        ["=",        "=",        "=",       "=",       "Baked", "x",     "x",    "Collecting", "x",           "x",          "x"],
        ["=",        "=",        "=",       "=",       "=",     "Gated", "x",    "Collecting", "x",           "x",          "x"],
        ["=",        "=",        "=",       "=",       "=",     "=",     "Done", "Collecting", "x",           "x",          "x"],
        ["=",        "=",        "=",       "=",       "=",     "=",     "=",    "x",          "x",           "x",          "x"],
        ["x",        "x",        "x",       "x",       "x",     "x",     "x",    "=",          "RollingBack", "x",          "x"],
        ["x",        "x",        "x",       "x",       "x",     "x",     "x",    "=",          "=",           "RolledBack", "RollbackFailed"],
        ["x",        "x",        "x",       "x",       "x",     "x",     "x",    "=",          "=",           "=",          "x"],
        ["x",        "x",        "x",       "x",       "x",     "x",     "x",    "=",          "=",           "x",          "="],
        ["x",        "x",        "x",       "x",       "x",     "x",     "x",    "=",          "=",           "x",          "x"],
    ];
    for (state, wanted) in states().into_iter().zip(expected) {
        let row: Vec<String> =
            triggers().into_iter().map(|trigger| letter(next(state, trigger, OnFailure::RollBack))).collect();
        assert_eq!(row, wanted, "{state:?}");
    }
}

#[test]
fn a_rollout_that_succeeds_goes_through_every_step() {
    let mut rollout = Lifecycle::new(OnFailure::RollBack);
    let mut steps = Vec::new();
    for trigger in triggers().into_iter().take(7) {
        steps.push(rollout.state.next().unwrap());
        assert!(matches!(rollout.take(trigger), Outcome::Done(_)));
    }
    assert_eq!(
        steps,
        [Step::Record, Step::Migrate, Step::Apply, Step::Watch, Step::Bake, Step::Gate, Step::End]
    );
    assert_eq!((rollout.state.is_end(), rollout.state.exit()), (true, Some(0)));
}

#[test]
fn nothing_is_rolled_back_before_its_evidence_was_collected() {
    let mut rollout = Lifecycle { state: State::Applied, on_failure: OnFailure::RollBack };
    rollout.take(Trigger::Failed { why: WHY });
    assert_eq!(rollout.state.next(), Some(Step::Collect));
    assert!(matches!(rollout.take(Trigger::Restored), Outcome::Refused(_)));
    rollout.take(Trigger::Collected);
    assert_eq!(rollout.state.next(), Some(Step::RollBack));
    rollout.take(Trigger::Restored);
    assert_eq!(rollout.state.exit(), Some(24));
}

#[test]
fn the_exit_code_follows_from_the_end() {
    for (state, exit) in [
        (State::Done, 0),
        (State::Left { why: Failure::OutOfTime }, 6),
        (State::Left { why: WHY }, 23),
        (State::Left { why: Failure::Migration { code: Code::JobFailed } }, 23),
        (State::Left { why: Failure::Asked }, 23),
        (State::RolledBack { why: WHY }, 24),
        (State::RolledBack { why: Failure::OutOfTime }, 24),
        (State::RollbackFailed { why: WHY }, 25),
        (State::Left { why: Failure::Gate }, 30),
        (State::Left { why: Failure::Inconclusive }, 31),
    ] {
        assert_eq!(state.exit(), Some(exit), "{state:?}");
    }
    assert!(states().iter().all(|state| state.exit().is_some() == state.is_end()));
    let codes: std::collections::BTreeSet<u8> = EXITS.iter().map(|(_, exit, _)| *exit).collect();
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [0, 6, 23, 24, 25, 30, 31]);
}

#[test]
fn every_step_says_how_it_is_taken_up_again() {
    assert_eq!(STEPS.len(), 9);
    for (step, resume, why) in STEPS {
        assert_eq!(step.resume(), resume);
        assert!(!why.is_empty());
        // What changes the cluster looks first, or is the same the second time.
        let is_safe = matches!(resume, Resume::LookForJob | Resume::ApplyAgain);
        assert_eq!(step.changes_something(), is_safe, "{step:?}");
    }
    assert!(Step::Record.changes_something(), "what another run has left goes before anything else");
}

#[test]
fn a_client_that_dies_at_any_step_leaves_what_another_can_go_on_with() {
    // Whatever was under way, the state in the journal names the step to take up, and its trigger is not lost by
    // coming twice.
    let mut rollout = Lifecycle::new(OnFailure::RollBack);
    for trigger in triggers().into_iter().take(7) {
        let kept = serde_json::to_string(&rollout).unwrap();
        let mut found: Lifecycle = serde_json::from_str(&kept).unwrap();
        assert_eq!(found, rollout);
        assert!(matches!(found.take(trigger), Outcome::Done(_)));
        assert_eq!(found.take(trigger), Outcome::AlreadyDone);
        rollout = found;
    }
    assert_eq!(rollout.state, State::Done);
}

#[test]
fn nothing_is_taken_back_where_nothing_ran() {
    for state in [State::Planned, State::Recorded] {
        let why = Failure::Migration { code: Code::JobFailed };
        let outcome = next(state, Trigger::Failed { why }, OnFailure::RollBack);
        assert_eq!(outcome, Outcome::Done(State::Left { why }));
    }
}

#[test]
fn a_failure_is_left_where_rolling_back_was_not_asked_for() {
    let mut rollout = Lifecycle { state: State::Applied, on_failure: OnFailure::Leave };
    rollout.take(Trigger::Failed { why: WHY });
    rollout.take(Trigger::Collected);
    assert_eq!((rollout.state, rollout.state.exit()), (State::Left { why: WHY }, Some(23)));
}

#[test]
fn a_code_becomes_a_failure_of_its_step() {
    assert_eq!(failure_of(Code::OutOfTime, Step::Watch), Failure::OutOfTime);
    assert_eq!(failure_of(Code::JobFailed, Step::Migrate), Failure::Migration { code: Code::JobFailed });
    assert_eq!(failure_of(Code::Crashed, Step::Bake), Failure::Rollout { code: Code::Crashed });
}
