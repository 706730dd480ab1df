//! Any sequence of deaths and resumptions reaches the same end, with each effect once.

use proptest::prelude::*;

use super::asked;
use super::world::{Gone, Weather, World, live};
use crate::{Answered, End, IfUnknown, OnFailure, Proving, Step};

fn fair() -> Weather {
    Weather { budget_left: Some(0.8), ..Weather::default() }
}

/// Lives until somebody comes to an end; the lives that are given, then one without a death.
fn lives(request: &crate::Request, weather: &Weather, given: &[u32]) -> (World, End) {
    let mut world = World { runs: Some(super::digest('f')), ..World::default() };
    let mut weather = weather.clone();
    for life in given {
        match live(request, &mut world, &mut weather, Some(*life)) {
            Ok(end @ End::Stopped { .. }) => panic!("{end:?}"),
            Ok(end) => return (world, end),
            Err(gone) => assert_eq!(gone, Gone::Killed),
        }
    }
    let end = live(request, &mut world, &mut weather, None).unwrap();
    (world, end)
}

fn check(weather: &Weather, on_failure: OnFailure, given: &[u32]) {
    let mut request = asked();
    request.on_failure = on_failure;
    let (calm, wanted) = lives(&request, weather, &[]);
    let (world, end) = lives(&request, weather, given);
    assert_eq!(end, wanted);
    assert_eq!(world.effects, calm.effects);
    assert!(world.effects.values().all(|count| *count == 1), "{:?}", world.effects);
    assert_eq!(
        (&world.resources, &world.registry, &world.runs, world.generation),
        (&calm.resources, &calm.registry, &calm.runs, calm.generation)
    );
    // Whoever is told twice is told the same.
    assert!(!world.told.is_empty());
    assert!(world.told.iter().all(|word| *word == calm.told[0]), "{:?}", world.told);
}

#[test]
fn a_death_at_any_single_place_changes_nothing_of_the_end() {
    for life in 0..80 {
        check(&fair(), OnFailure::RollBack, &[life]);
    }
}

#[test]
fn a_death_at_any_single_place_of_a_way_back_changes_nothing_of_it() {
    let weather = Weather { fails: Some((Step::Gate, 30)), ..fair() };
    for life in 0..90 {
        check(&weather, OnFailure::RollBack, &[life]);
    }
}

#[test]
fn a_death_at_any_single_place_of_a_release_that_lost_requests_changes_nothing_of_it() {
    let proving = Proving { address: None, rate: 50.0, if_unknown: IfUnknown::Stop };
    let request = asked().proving(proving).unwrap();
    let weather = Weather { answered: Some(Answered::NotAll), ..fair() };
    for life in 0..90 {
        let (world, end) = lives(&request, &weather, &[life]);
        assert_eq!((end.exit(), world.runs, world.generation), (24, Some(super::digest('f')), 2));
    }
}

proptest! {
    #[test]
    fn any_deaths_lead_to_the_same_end(given in prop::collection::vec(0_u32..60, 0..12)) {
        check(&fair(), OnFailure::RollBack, &given);
    }

    #[test]
    fn so_they_do_where_a_step_fails(
        given in prop::collection::vec(0_u32..70, 0..12),
        step in prop::sample::select(Step::FORWARD.to_vec()),
        exit in prop::sample::select(vec![1_u8, 3, 7, 20, 21, 22, 23, 24, 25, 30]),
        on_failure in prop::sample::select(vec![OnFailure::RollBack, OnFailure::Leave]),
        rollback_fails in any::<bool>(),
    ) {
        let weather = Weather { fails: Some((step, exit)), rollback_fails, ..fair() };
        check(&weather, on_failure, &given);
    }
}
