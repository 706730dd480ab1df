//! What a release is blamed for, and what it is not.

use proptest::prelude::*;

use super::world::{Weather, World, live};
use super::{asked, digest, without};
use crate::{
    Budgeting, Compared, End, Fact, Figure, Given, Next, Outcome, Release, Stands, Step, Stood, Worse,
    compare,
};

fn burn(stands: Stands, rate: Option<f64>) -> Stood {
    let figure =
        Figure { name: "burn over 5m".to_owned(), value: rate, worse: Worse::Up, harmless_to: Some(1.0) };
    Stood {
        measure: "orders".to_owned(),
        stands,
        says: "the budget is used up".to_owned(),
        asked: None,
        figures: vec![figure],
    }
}

fn least(value: f64) -> Stood {
    let stands = if value >= 2.0 { Stands::Well } else { Stands::Badly };
    let figure =
        Figure { name: "value".to_owned(), value: Some(value), worse: Worse::Down, harmless_to: None };
    let says = format!("{value}, at least 2");
    Stood { measure: "up".to_owned(), stands, says, asked: None, figures: vec![figure] }
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

/// One figure for each that is given, as it is named.
fn several(figures: &[(&str, Option<f64>)]) -> Stood {
    let figure = |(name, value): &(&str, Option<f64>)| Figure {
        name: (*name).to_owned(),
        value: *value,
        worse: Worse::Up,
        harmless_to: None,
    };
    Stood { figures: figures.iter().map(figure).collect(), ..burn(Stands::Badly, None) }
}

#[test]
fn every_figure_is_compared_with_itself_and_one_that_is_lost_shows_nothing() {
    for (before, now, word) in [
        (
            [("orders", Some(0.09)), ("payments", Some(0.01))],
            [("orders", Some(0.09)), ("payments", Some(0.08))],
            "worse",
        ),
        (
            [("orders", Some(0.09)), ("users", Some(0.08))],
            [("orders", Some(0.09)), ("payments", Some(0.08))],
            "worse",
        ),
        ([("5m", Some(9.0)), ("30m", Some(9.0))], [("5m", None), ("30m", Some(9.0))], "unknown"),
        ([("5m", None), ("30m", Some(9.0))], [("5m", None), ("30m", Some(9.0))], "as_before"),
        ([("5m", Some(9.0)), ("30m", Some(9.0))], [("5m", None), ("30m", Some(12.0))], "worse"),
        ([("5m", None), ("30m", None)], [("5m", None), ("30m", None)], "unknown"),
    ] {
        let compared = compare(Some(&several(&before)), &several(&now));
        assert_eq!(compared.name(), word, "{before:?} {now:?}");
    }
    // Nothing to compare by: what is bad is this release's, as far as it does harm.
    let forgotten = burn(Stands::Badly, Some(20.0)).without_figures();
    for (now, word) in [(20.0, "worse"), (0.9, "as_before")] {
        assert_eq!(compare(Some(&forgotten), &burn(Stands::Badly, Some(now))).name(), word);
    }
}

#[test]
fn an_answer_to_another_question_is_not_looked_at() {
    let asked = |text: Option<&str>| Stood { asked: text.map(str::to_owned), ..least(1.0) };
    for (before, now, is_found) in [
        (Some("up, at least 2"), Some("up, at least 2"), true),
        (Some("up, at least 2"), Some("up, at least 3"), false),
        // A journal from before the question was kept.
        (None, Some("up, at least 3"), true),
    ] {
        let before = [asked(before)];
        assert_eq!(crate::stood(&before, &asked(now)).is_some(), is_found, "{before:?} {now:?}");
    }
    let old = r#"{"measure":"up","stands":"badly","says":"1","figures":[]}"#;
    assert_eq!(serde_json::from_str::<Stood>(old).unwrap().asked, None);
}

#[test]
fn the_budget_is_looked_at_again_until_the_rollout_has_begun() {
    let mut is_refused = false;
    for life in 0..80 {
        let mut world = World { runs: Some(digest('f')), ..World::default() };
        let mut weather = weather(Some(20.0), 40.0);
        let _ = live(&asked(), &mut world, &mut weather, Some(life));
        // Meanwhile somebody else has broken as much.
        weather.stood = Some(burn(Stands::Badly, Some(40.0)));
        let before = Release::fold(asked(), world.facts.clone()).unwrap();
        let mut after = before.clone();
        match after.take(Fact::LookAgain) {
            Outcome::Done => {
                assert!(matches!(after.next(), Next::Do { step: Step::Budget, .. }), "{life}");
                world.facts.push(Fact::LookAgain);
                assert_eq!(live(&asked(), &mut world, &mut weather, None).unwrap().exit(), 0, "{life}");
                // And is read from the journal as it was written.
                Release::fold(asked(), world.facts).unwrap();
            }
            Outcome::AlreadyDone => assert_ne!(before.mark(Step::Budget), Some(crate::Mark::Finished)),
            Outcome::Refused(_) => {
                is_refused = true;
                assert!(before.mark(Step::Deploy).is_some() || before.failure().is_some(), "{life}");
                assert_eq!(after, before);
            }
        }
    }
    assert!(is_refused);
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
        let (measure, says) = ("m".to_owned(), String::new());
        let one = Stood { measure, stands: Stands::Badly, says, asked: None, figures: vec![figure] };
        prop_assert_eq!(compare(Some(&one), &one).name(), "as_before");
    }
}
