//! Every failure under its code, with the first observation that shows it.

use std::collections::BTreeSet;

use super::*;
use crate::code::{Code, Ending};
use crate::failure::{Cause, Finality};
use crate::verdict::judge_all;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    code: Code,
    #[serde(rename = "final")]
    is_final: bool,
    says: String,
    observed: Vec<Line>,
}

fn cases() -> Vec<Case> {
    include_str!("data/failures.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn played(case: &Case) -> (Played, Timestamp) {
    let mut played = base();
    let mut now = at(2);
    for line in &case.observed {
        let code = played.verdict(now).code();
        assert_ne!(code, Some(case.code), "{}: told before it was seen", case.name);
        played.hear(line);
        now = line.at;
    }
    (played, now)
}

#[test]
fn each_failure_is_recognised_with_its_code_by_the_first_observation() {
    for case in cases() {
        let (played, now) = played(&case);
        let verdict = played.verdict(now);
        let expected = if case.is_final { "failed" } else { "waiting" };
        assert_eq!(said(&verdict), format!("{expected} {}", case.code), "{}: {verdict:#?}", case.name);
        let cause = verdict.cause().unwrap();
        assert!(cause.why.contains(&case.says), "{}: {:?} not in {:?}", case.name, case.says, cause.why);
        assert!(
            !cause.about.is_empty() && cause.about.iter().all(|about| !about.uid.is_empty()),
            "{}",
            case.name
        );
    }
}

#[test]
fn what_may_pass_fails_only_when_nothing_moves_any_more() {
    let patience = Rules::default().no_activity;
    for case in cases().into_iter().filter(|case| !case.is_final) {
        let (played, now) = played(&case);
        let code = if case.code == Code::NodeComing { None } else { Some(case.code) };
        let almost = played.verdict(now.plus(patience - std::time::Duration::from_secs(10)));
        assert!(!almost.is_failed(), "{}: {almost:?}", case.name);
        let late = played.verdict(now.plus(patience));
        assert_eq!(late.is_failed(), code.is_some(), "{}: {late:?}", case.name);
        if late.is_failed() {
            assert_eq!(late.code(), code, "{}: the code of what stood in the way", case.name);
        }
    }
}

#[test]
fn a_node_that_was_promised_and_does_not_come_is_no_longer_coming() {
    let case = cases().into_iter().find(|case| case.code == Code::NodeComing).unwrap();
    let (played, now) = played(&case);
    let later = now.plus(std::time::Duration::from_secs(601));
    assert_eq!(said(&played.verdict(later)), "failed ROL020");
}

#[test]
fn every_code_that_a_pod_can_have_is_shown() {
    let shown: BTreeSet<Code> = cases().into_iter().map(|case| case.code).collect();
    let of_the_whole: BTreeSet<Code> =
        Code::ALL.iter().copied().filter(|code| code.id() >= "ROL050").collect();
    let missing: Vec<&Code> =
        Code::ALL.iter().filter(|code| !shown.contains(code) && !of_the_whole.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn codes_are_unique_and_say_something() {
    let ids: BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    assert_eq!(ids.len(), Code::ALL.len());
    for code in Code::ALL {
        assert!(code.id().starts_with("ROL") && code.id().len() == 6);
        assert_eq!(Code::named(code.id()), Some(*code));
        assert!(!code.summary().is_empty() && !code.cause().is_empty() && !code.action().is_empty());
    }
    assert_eq!(Code::NodeComing.ending(), Ending::Passing);
}

#[test]
fn an_allowance_lets_a_container_fail_that_often() {
    let case = cases().into_iter().find(|case| case.name == "a crash again").unwrap();
    let (mut played, now) = played(&case);
    played.rules.allowance.failures = 2;
    let verdict = played.verdict(now);
    assert_eq!(said(&verdict), "waiting ROL010");
    assert_eq!(verdict.cause().unwrap().finality, Finality::Retryable);
}

#[test]
fn the_restarts_of_an_old_pod_are_not_blamed_on_the_new_image() {
    let mut played = base();
    let (_, crash) = cases()
        .into_iter()
        .find(|case| case.name == "a crash again")
        .map(|case| (case.name, case.observed[0].line.clone().unwrap()))
        .unwrap();
    // The same pod, owned by the ReplicaSet of the old template.
    let text = crash.to_string();
    let old = text
        .replace("orders-7d9c5b8f6d", "orders-6b8f9c7d55")
        .replace("bbbbbbbb-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000001");
    assert_ne!(old, text);
    played.world.line(Kind::Pod, &serde_json::from_str(&old).unwrap(), at(9)).unwrap();
    assert_eq!(said(&played.verdict(at(9))), "progress");
}

#[test]
fn a_trouble_that_has_passed_accuses_nobody() {
    let mut played = base();
    let find = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap();
    // A mount that failed at first, readiness that was late, and no room at the beginning: then it is well.
    for name in ["a volume that is not mounted", "readiness that does not come"] {
        for line in &find(name).observed {
            played.hear(line);
        }
    }
    let well = lines(include_str!("data/rolling.ndjson"))
        .into_iter()
        .find(|line| {
            line.line
                .as_ref()
                .is_some_and(|line| line["object"]["status"]["containerStatuses"][0]["ready"] == true)
        })
        .unwrap();
    played.hear(&well);
    assert_eq!(said(&played.verdict(at(10))), "progress");
}

/// The observation with the times of the container's present life moved on.
fn later(name: &str, from: &str, to: &str) -> Verdict {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let mut played = base();
    for line in &case.observed {
        let mut line = line.clone();
        if line.watch == Some(Kind::Pod) {
            let text = line.line.unwrap().to_string();
            assert!(text.contains(from), "{text}");
            line.line = Some(serde_json::from_str(&text.replace(from, to)).unwrap());
        }
        played.hear(&line);
    }
    played.verdict(at(50))
}

#[test]
fn what_a_probe_said_of_an_earlier_life_accuses_nobody() {
    let started = "\"running\":{\"startedAt\":\"2026-11-21T09:30:";
    let same = later("readiness that does not come", &format!("{started}01Z"), &format!("{started}01Z"));
    assert_eq!(said(&same), "waiting ROL015");
    let next = later("readiness that does not come", &format!("{started}01Z"), &format!("{started}20Z"));
    assert_eq!(said(&next), "progress");
}

#[test]
fn a_crash_is_not_blamed_on_the_probe_that_killed_an_earlier_life() {
    let started = "\"startedAt\":\"2026-11-21T09:30:";
    let next = later("killed by its start-up probe", &format!("{started}01Z"), &format!("{started}45Z"));
    assert_eq!(said(&next), "failed ROL010");
}

#[test]
fn many_pods_with_one_trouble_are_told_once() {
    let mut played = base();
    let case = cases().into_iter().find(|case| case.name == "no room").unwrap();
    for number in 1..=30 {
        let line = case.observed[0].line.as_ref().unwrap().to_string();
        let line = line
            .replace("b001x", &format!("b{number:03}x"))
            .replace("9000-000000000001", &format!("9000-{number:012}"));
        played.world.line(Kind::Pod, &serde_json::from_str(&line).unwrap(), at(4)).unwrap();
    }
    let verdict = played.verdict(at(4));
    let cause = verdict.cause().unwrap();
    assert!(cause.why.ends_with("(and 29 more)"), "{}", cause.why);
    assert_eq!(cause.about.len(), 20);
}

#[test]
fn what_ends_a_rollout_is_told_before_what_may_pass() {
    let mut played = base();
    let find = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap();
    for line in &find("no room").observed {
        played.hear(line);
    }
    let other = find("a digest that is missing").observed[0].line.as_ref().unwrap().to_string();
    let other = other.replace("b001x", "b002x").replace("9000-000000000001", "9000-000000000002");
    played.world.line(Kind::Pod, &serde_json::from_str(&other).unwrap(), at(4)).unwrap();
    let Verdict::Failed { cause, others, .. } = played.verdict(at(4)) else { unreachable!("not failed") };
    assert_eq!(cause.code, Code::ImageMissing);
    assert_eq!(others.iter().map(|cause| cause.code).collect::<Vec<_>>(), [Code::NoRoom]);
}

#[test]
fn what_may_pass_is_told_beside_what_may_pass() {
    let mut played = base();
    let find = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap();
    for line in find("no room").observed.iter().chain(&find("a quota that is used up").observed) {
        played.hear(line);
    }
    let verdict = played.verdict(at(4));
    assert!(!verdict.is_settled(), "{verdict:?}");
    let codes: BTreeSet<Code> = verdict.causes().map(|cause| cause.code).collect();
    assert_eq!(codes, BTreeSet::from([Code::NoRoom, Code::QuotaExceeded]));
    let whole = judge_all(std::slice::from_ref(&played.applied), &played.rules, &played.world, at(4));
    assert_eq!(whole.verdict.causes().count(), 2);
}

/// The last words of a container that crashed, as its cause tells them.
fn last_words(log: &str) -> String {
    let (mut played, now) = after("a service that ends by itself");
    let crashed = |cause: &Cause| cause.code == Code::Crashed;
    let find = |played: &Played| match played.verdict(now) {
        Verdict::Failed { cause, others, .. } | Verdict::Waiting { cause, others, .. } => {
            std::iter::once(cause).chain(others).find(crashed).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let about = find(&played).about[0].clone();
    played.world.read_log(&about.uid, &about.container.unwrap(), log);
    find(&played).why
}

#[test]
fn a_secret_that_a_container_said_last_is_in_no_cause() {
    let why = last_words("cannot sign in with password=hunter2\ngiving up");
    assert!(why.ends_with("cannot sign in with password=*** | giving up"), "{why}");
    // What it is is said by a line that is not told.
    let key = "-----BEGIN PRIVATE KEY-----\nMIIhunter2a\nMIIhunter2b\nMIIhunter2c\nMIIhunter2d\n";
    let why = last_words(key);
    assert!(!why.contains("hunter2"), "{why}");
    // Its name goes where the middle goes.
    let long = format!("{} password={}hunter2 {}", "word ".repeat(40), "x".repeat(40), "end ".repeat(62));
    let why = last_words(&long);
    assert!(why.contains(" … ") && !why.contains("hunter2"), "{why}");
}
