//! What a release is blamed for, and what it is not.

use proptest::prelude::*;

use super::world::{Weather, World, live};
use super::{asked, digest, without};
use crate::{Budgeting, Compared, End, Fact, Figure, Given, Stands, Step, Stood, Worse, compare};

fn burn(stands: Stands, rate: Option<f64>) -> Stood {
    let figure =
        Figure { name: "burn over 5m".to_owned(), value: rate, worse: Worse::Up, harmless_to: Some(1.0) };
    Stood {
        measure: "orders".to_owned(),
        stands,
        says: "the budget is used up".to_owned(),
        figures: vec![figure],
    }
}

fn least(value: f64) -> Stood {
    let stands = if value >= 2.0 { Stands::Well } else { Stands::Badly };
    let figure =
        Figure { name: "value".to_owned(), value: Some(value), worse: Worse::Down, harmless_to: None };
    Stood { measure: "up".to_owned(), stands, says: format!("{value}, at least 2"), figures: vec![figure] }
}

#[test]
fn what_was_bad_before_and_is_no_worse_is_not_this_releases() {
    use Stands::{Badly, Unknown, Well};
    for (before, now, word) in [
        (Some(burn(Badly, Some(20.0))), burn(Badly, Some(20.9)), "as_before"),
        (Some(burn(Badly, Some(20.0))), burn(Badly, Some(3.0)), "as_before"),
        (Some(burn(Badly, Some(20.0))), burn(Badly, Some(23.0)), "worse"),
        // Spent long ago, and quiet since; now it burns again.
        (Some(burn(Badly, Some(0.1))), burn(Badly, Some(1.5)), "worse"),
        (Some(burn(Badly, Some(0.1))), burn(Badly, Some(0.9)), "as_before"),
        (Some(burn(Badly, None)), burn(Badly, Some(5.0)), "worse"),
        (Some(burn(Badly, None)), burn(Badly, Some(0.0)), "as_before"),
        // Nobody comes: nothing shows it.
        (Some(burn(Badly, Some(20.0))), burn(Badly, None), "unknown"),
        (Some(burn(Well, Some(20.0))), burn(Badly, Some(20.0)), "worse"),
        (Some(burn(Unknown, None)), burn(Badly, Some(20.0)), "worse"),
        (None, burn(Badly, Some(2.0)), "worse"),
        (Some(burn(Badly, Some(20.0))), burn(Well, Some(90.0)), "well"),
        (None, burn(Unknown, None), "unknown"),
        (Some(least(1.0)), least(1.0), "as_before"),
        (Some(least(1.0)), least(0.95), "as_before"),
        (Some(least(1.0)), least(0.5), "worse"),
        (Some(least(0.0)), least(0.0), "as_before"),
        (Some(least(f64::NEG_INFINITY)), least(f64::NEG_INFINITY), "as_before"),
        (Some(least(1.0)), least(f64::NEG_INFINITY), "worse"),
        (Some(least(3.0)), least(1.9), "worse"),
    ] {
        assert_eq!(compare(before.as_ref(), &now).name(), word, "{before:?} {now:?}");
    }
}

#[test]
fn a_verdict_tells_both_figures() {
    use Stands::{Badly, Well};
    let said = |before: &Stood, now: &Stood| match compare(Some(before), now) {
        Compared::Worse(said) | Compared::AsBefore(said) | Compared::Unknown(said) => said,
        Compared::Well => String::new(),
    };
    assert_eq!(
        said(&burn(Badly, Some(20.0)), &burn(Badly, Some(23.456))),
        "orders: the budget is used up; burn over 5m 23.5, before the release 20"
    );
    assert_eq!(said(&least(3.0), &least(0.25)), "up: 0.25, at least 2; before the release 3, at least 2");
    assert_eq!(
        said(&burn(Badly, None), &burn(Badly, Some(0.0123))),
        "orders: the budget is used up; burn over 5m 0.0123, before the release not known"
    );
    assert_eq!(said(&least(1.0), &burn(Well, None)), "");
}

fn weather(before: Option<f64>, now: f64) -> Weather {
    Weather {
        budget_left: Some(0.8),
        stood: before.map(|rate| burn(Stands::Badly, Some(rate))),
        stands: Some(burn(Stands::Badly, Some(now))),
        ..Weather::default()
    }
}

#[test]
fn how_it_stood_before_is_known_to_whoever_goes_on_with_a_release() {
    for (now, exit) in [(20.0, 0), (40.0, 24)] {
        for life in 0..80 {
            let mut world = World { runs: Some(digest('f')), ..World::default() };
            let mut weather = weather(Some(20.0), now);
            let _ = live(&asked(), &mut world, &mut weather, Some(life));
            // What somebody else would see now is the release's own.
            let is_kept = |fact: &Fact| matches!(fact, Fact::Finished { given: Given::Budget(_) });
            if world.facts.iter().any(is_kept) {
                weather.stood = None;
            }
            let end = live(&asked(), &mut world, &mut weather, None).unwrap();
            assert_eq!(end.exit(), exit, "{life}");
        }
    }
}

#[test]
fn a_journal_from_before_standings_were_kept_is_judged_by_what_is_seen_after() {
    let mut world = World { runs: Some(digest('f')), ..World::default() };
    let end = live(&asked(), &mut world, &mut weather(None, 20.0), None).unwrap();
    assert_eq!(end.exit(), 24);
    let old = r#"{"of":"budget","given":{"budgets":[],"min":0.1}}"#;
    let Given::Budget(seen) = serde_json::from_str(old).unwrap() else { panic!("{old}") };
    assert_eq!((seen.judged, seen.stood.len()), (Budgeting::Judged, 0));
}

#[test]
fn a_budget_that_is_left_out_refuses_nothing_and_is_what_the_gate_compares_with() {
    let request = without(&[Step::Budget]).unwrap();
    assert_eq!((request.budget, request.skips(Step::Budget)), (Budgeting::Seen, None));
    assert_eq!(request.left_out().len(), 1);
    for (now, exit) in [(20.0, 0), (40.0, 24)] {
        let mut world = World { runs: Some(digest('f')), ..World::default() };
        let mut weather = Weather { budget_left: Some(-1.0), ..weather(Some(20.0), now) };
        let end = live(&request, &mut world, &mut weather, None).unwrap();
        assert_eq!(end.exit(), exit);
        assert!(matches!(end, End::Released | End::RolledBack { .. }));
    }
    // Without a gate there is nothing to look for.
    let neither = without(&[Step::Budget, Step::Gate]).unwrap();
    assert!(neither.skips(Step::Budget).is_some());
}

proptest! {
    #[test]
    fn nothing_is_worse_than_itself(value in any::<f64>(), down in any::<bool>()) {
        let worse = if down { Worse::Down } else { Worse::Up };
        let figure = Figure { name: "x".to_owned(), value: Some(value), worse, harmless_to: None };
        let one = Stood { measure: "m".to_owned(), stands: Stands::Badly, says: String::new(), figures: vec![figure] };
        prop_assert_eq!(compare(Some(&one), &one).name(), "as_before");
    }
}
