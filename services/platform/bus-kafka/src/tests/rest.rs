//! When a member that rests is told of, and when it joins anew.

use std::time::Duration;

use tokio::time::Instant;

use crate::rest::{Place, Rest, Verdict, some_share};

const SESSION: Duration = Duration::from_secs(10);
const HANDLING: Duration = Duration::from_secs(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is said of a member that is looked at every five seconds.
fn said(share: f64, places: &[Place]) -> Vec<(usize, Verdict)> {
    let (mut rest, begun) = (Rest::new(SESSION, HANDLING, share), Instant::now());
    let verdicts = places.iter().enumerate().map(|(n, place)| {
        let now = begun + 5 * Duration::from_secs(n as u64);
        (5 * n, rest.observe(*place, now))
    });
    verdicts.filter(|(_, verdict)| *verdict != Verdict::Fine).collect()
}

#[test]
fn a_rebalance_within_two_sessions_is_nobodys_concern() {
    let mut places = vec![Place::Settled];
    places.extend([Place::Joining; 4]);
    places.extend([Place::Settled; 10]);
    assert_eq!(said(0.0, &places), []);
}

#[test]
fn a_member_that_rests_is_told_of_once_and_so_is_that_it_goes_on() {
    let mut places = vec![Place::Joining; 9];
    places.push(Place::Settled);
    places.extend([Place::Joining; 3]);
    let expected = [(20, Verdict::Tell(seconds(20))), (45, Verdict::GoesOn(seconds(45)))];
    assert_eq!(said(0.0, &places), expected);
}

#[test]
fn a_member_joins_anew_after_longer_than_any_rebalance_may_take_and_again_after_as_long() {
    let rested = |share| -> Vec<(usize, Verdict)> {
        let all = said(share, &[Place::Joining; 40]);
        all.into_iter().filter(|(_, verdict)| matches!(verdict, Verdict::JoinAnew(_))).collect()
    };
    let anew = |at, rested| (at, Verdict::JoinAnew(seconds(rested)));
    assert_eq!(rested(0.0), [anew(80, 80), anew(165, 80)]);
    assert_eq!(rested(1.0), [anew(90, 90), anew(185, 90)]);
}

#[test]
fn time_without_brokers_does_not_count() {
    let mut places = vec![Place::Joining; 4];
    places.extend([Place::Away; 30]);
    places.extend([Place::Joining; 4]);
    assert_eq!(said(0.0, &places), []);
}

#[test]
fn members_do_not_give_up_in_step() {
    let shares: Vec<f64> = (0..20).map(|_| some_share()).collect();
    assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
    assert!(shares.windows(2).any(|two| (two[0] - two[1]).abs() > 0.01), "{shares:?}");
}

#[test]
fn where_a_member_stands_is_read_from_the_statistics() {
    let place = |text: &str| Place::read(text.as_bytes());
    let group = |state: &str, join: &str| {
        place(&format!(
            r#"{{"name":"x","ts":1,"topics":{{}},"cgrp":{{"state":"{state}","stateage":3,"join_state":"{join}","rebalance_reason":"a \"reason\""}}}}"#
        ))
    };
    assert_eq!(group("up", "steady"), Some(Place::Settled));
    for join in ["init", "wait-join", "wait-sync", "wait-assign-call", "wait-unassign-to-complete"] {
        assert_eq!(group("up", join), Some(Place::Joining));
    }
    assert_eq!(group("wait-coord", "init"), Some(Place::Away));
    assert_eq!(place(r#"{"name":"a producer"}"#), None);
    assert_eq!(place("no JSON"), None);
}
