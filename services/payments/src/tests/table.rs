//! The transition table, whole.

use crate::domain::{Command, Decision, Fact, Say, State, Trigger, decide};

/// One line a state: what each trigger of [`Trigger::ALL`] does. `>state` moves, `=` is done already, `x` is refused;
/// a letter after it is the event that answers: Held, Declined, Captured, capture rEfused, reLeased, reFunded.
const TABLE: &[(&str, &str)] = &[
    ("none", ">requested xE >releasedL x  x x x x x x x x x x x"),
    ("requested", "= x >releasing x  >heldH >declinedD x x x x x x x x ="),
    ("holding", "= x >releasing x  >heldH >declinedD x x x x x x x x ="),
    ("held", "=H >capturing >releasing xH  = x x x x x x x x x >expired"),
    ("declined", "=D xE =L xF  >voiding = x x x x x x x x ="),
    ("capturing", "=H = x x  = x >capturedC >expiredE x x x x x x ="),
    ("captured", "=H =C xC >refunding  = x = x x = x = x x ="),
    ("releasing", "= xE = x  = = x x >releasedL >capturedC x x x x ="),
    ("released", "xL xE =L xF  >voiding = x x = x x x x x ="),
    ("voiding", "= xE = x  = = x x = x >voidedL >capturedC x x ="),
    ("voided", "xL xE =L xF  = = x x = x = x x x ="),
    ("refunding", "=H =C x =  = x = x x = x = >refundedF x ="),
    ("refunded", "=H =C xF =F  = x = x x = x = = x ="),
    ("expired", "xD xE =L xF  = x x = x x x x x x ="),
];

fn letter(say: Option<Say>) -> &'static str {
    match say {
        None => "",
        Some(Say::Held) => "H",
        Some(Say::Declined) => "D",
        Some(Say::Captured) => "C",
        Some(Say::CaptureRefused) => "E",
        Some(Say::Released) => "L",
        Some(Say::Refunded) => "F",
    }
}

fn written(decision: Decision) -> String {
    match decision {
        Decision::Move { to, say } => format!(">{to}{}", letter(say)),
        Decision::Already(say) => format!("={}", letter(say)),
        Decision::Refused { say, .. } => format!("x{}", letter(say)),
    }
}

#[test]
fn every_trigger_in_every_state_is_done_already_done_or_refused() {
    let states: Vec<Option<State>> =
        std::iter::once(None).chain(State::ALL.iter().copied().map(Some)).collect();
    assert_eq!(states.len(), TABLE.len());
    for ((name, line), state) in TABLE.iter().zip(states) {
        assert_eq!(*name, state.map_or("none", State::as_str));
        let wanted: Vec<&str> = line.split_whitespace().collect();
        let found: Vec<String> =
            Trigger::ALL.into_iter().map(|trigger| written(decide(state, trigger))).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn a_state_that_waits_for_the_bank_leaves_by_an_answer_of_the_bank_alone() {
    for state in State::ALL.iter().copied().filter(|state| state.step().is_some()) {
        for command in [Command::Hold, Command::Capture, Command::Refund, Command::Release] {
            let decision = decide(Some(state), Trigger::Command(command));
            let overtakes = matches!((state, command), (State::Requested | State::Holding, Command::Release));
            assert_eq!(matches!(decision, Decision::Move { .. }), overtakes, "{state} {command:?}");
        }
    }
}

#[test]
fn no_news_takes_a_finished_payment_back_except_a_hold_after_all_was_over() {
    for state in [State::Captured, State::Refunded, State::Voided, State::Expired] {
        for trigger in Trigger::ALL.into_iter().filter(|trigger| matches!(trigger, Trigger::Bank(_))) {
            assert!(!matches!(decide(Some(state), trigger), Decision::Move { .. }), "{state} {trigger:?}");
        }
    }
    let late = Trigger::Bank(Fact::Held);
    for state in [State::Declined, State::Released] {
        assert_eq!(decide(Some(state), late), Decision::Move { to: State::Voiding, say: None });
    }
}

#[test]
fn the_wait_after_an_unknown_outcome_grows_and_is_capped_and_never_a_spin() {
    let config = crate::PaymentsConfig::default();
    for attempts in 0..100 {
        for random in [0, 1, u64::MAX] {
            let wait = config.delay(attempts, random).as_millis();
            assert!((50..=30_000).contains(&wait), "{attempts}: {wait}");
        }
    }
    assert!(config.delay(20, 0) > config.delay(1, u64::MAX));
}
