//! What each failure means, what may be left out, and which digests are the same.

use std::collections::BTreeSet;

use super::world::{Weather, World, live};
use super::{asked, digest, pinned, without};
use crate::{
    Answered, Applied, Budget, BudgetVerdict, Digest, EXITS, End, Fact, Failure, Given, How, IfUnknown,
    Lasting, Left, Next, OnFailure, Outcome, Planned, PlannedChange, Proved, Proving, Pushed, Refusal,
    Release, Request, Rest, STEPS, Step, Word, judge_budgets, what_is_left,
};

fn fair() -> Weather {
    Weather { budget_left: Some(0.8), ..Weather::default() }
}

fn run(request: &Request, mut weather: Weather) -> (World, End) {
    let mut world = World { runs: Some(digest('f')), ..World::default() };
    let end = live(request, &mut world, &mut weather, None).unwrap();
    (world, end)
}

fn begun(world: &World) -> Vec<Step> {
    let step = |fact: &Fact| match fact {
        Fact::Begun { step, .. } => Some(*step),
        _ => None,
    };
    world.facts.iter().filter_map(step).collect()
}

#[test]
fn a_release_goes_through_every_step_and_tells_it() {
    let (world, end) = run(&asked(), fair());
    assert_eq!((end.exit(), world.told.as_slice()), (0, &["released".to_owned()][..]));
    let mut wanted = Step::FORWARD.to_vec();
    wanted.push(Step::Notice);
    assert_eq!(begun(&world), wanted);
    assert_eq!(world.runs, Some(digest('a')));
}

#[test]
fn every_failure_has_its_exit_code_and_leaves_things_as_it_says() {
    // Step, what it ends with alone, what the release ends with, what runs then, whether it can be resumed.
    let (new, old) = ('a', 'f');
    let rows = [
        (Step::Plan, 20, 20, old, false),
        (Step::Plan, 7, 7, old, false),
        (Step::Plan, 8, 8, old, true),
        (Step::Apply, 20, 20, old, false),
        (Step::Apply, 130, 130, old, true),
        (Step::Build, 21, 21, old, false),
        (Step::Push, 22, 22, old, false),
        (Step::Push, 9, 9, old, true),
        (Step::Push, 4, 4, old, true),
        (Step::Deploy, 6, 6, old, true),
        (Step::Deploy, 23, 23, old, false),
        (Step::Deploy, 24, 24, old, false),
        (Step::Deploy, 25, 25, old, false),
        (Step::Deploy, 143, 143, old, true),
        (Step::Prove, 23, 24, old, false),
        (Step::Prove, 9, 9, new, true),
        (Step::Gate, 30, 24, old, false),
        (Step::Gate, 31, 31, new, true),
        (Step::Gate, 6, 6, new, true),
    ];
    for (step, alone, exit, runs, is_open) in rows {
        let (world, end) = run(&asked(), Weather { fails: Some((step, alone)), ..fair() });
        assert_eq!(end.exit(), exit, "{step:?} {alone}");
        assert_eq!(world.runs, Some(digest(runs)), "{step:?} {alone}");
        assert_eq!(matches!(end, End::Stopped { .. }), is_open, "{step:?} {alone}");
        let told = usize::from(!matches!(alone, 130 | 143));
        assert_eq!(world.told.len(), told, "{step:?} {alone}: {:?}", world.told);
    }
}

#[test]
fn what_may_pass_is_gone_on_with_where_it_stopped() {
    for (step, exit) in [(Step::Plan, 8), (Step::Push, 9), (Step::Deploy, 6), (Step::Gate, 31)] {
        let mut world = World { runs: Some(digest('f')), ..World::default() };
        let mut weather = Weather { fails: Some((step, exit)), times: Some(1), ..fair() };
        let stopped = live(&asked(), &mut world, &mut weather, None).unwrap();
        assert_eq!((stopped.exit(), world.told.as_slice()), (exit, &["stopped".to_owned()][..]));
        let before = begun(&world);
        assert_eq!(live(&asked(), &mut world, &mut weather, None).unwrap(), End::Released);
        assert_eq!(begun(&world)[before.len()], step);
        assert!(world.effects.values().all(|count| *count == 1), "{:?}", world.effects);
        assert_eq!(world.told, ["stopped", "released"]);
    }
}

#[test]
fn evidence_is_kept_before_anything_is_taken_back() {
    let (world, end) = run(&asked(), Weather { fails: Some((Step::Gate, 30)), ..fair() });
    assert!(matches!(end, End::RolledBack { .. }));
    let steps = begun(&world);
    let tail = &steps[steps.len() - 3..];
    assert_eq!(tail, [Step::Collect, Step::RollBack, Step::Notice]);
    assert_eq!(world.told, ["rolled back"]);
}

#[test]
fn evidence_that_cannot_be_had_holds_nothing_up() {
    let mut release = Release::new(asked());
    let mut world = World { runs: Some(digest('f')), ..World::default() };
    let end = live(&asked(), &mut world, &mut Weather { fails: Some((Step::Gate, 30)), ..fair() }, None);
    assert_eq!(end.unwrap().exit(), 24);
    for fact in world.facts.clone() {
        release.take(fact);
    }
    assert_eq!(release.outputs.collect.unwrap().files, ["pods.json"]);
}

#[test]
fn a_way_back_that_fails_is_25_also_when_nobody_answered() {
    let weather = Weather { fails: Some((Step::Gate, 30)), rollback_fails: true, ..fair() };
    let (world, end) = run(&asked(), weather);
    assert_eq!((end.exit(), world.told.as_slice()), (25, &["rollback failed".to_owned()][..]));
}

#[test]
fn a_way_back_that_nobody_agrees_to_leaves_the_run_open_until_somebody_does() {
    let mut weather = Weather { fails: Some((Step::Gate, 30)), nobody_agrees: true, ..fair() };
    let mut world = World { runs: Some(digest('f')), ..World::default() };
    for _ in 0..2 {
        let end = live(&asked(), &mut world, &mut weather, None).unwrap();
        assert_eq!((end.exit(), matches!(end, End::Stopped { .. })), (7, true));
        assert_eq!(world.runs, Some(digest('a')));
    }
    weather.nobody_agrees = false;
    let end = live(&asked(), &mut world, &mut weather, None).unwrap();
    assert_eq!((end.exit(), world.runs), (24, Some(digest('f'))));
}

#[test]
fn what_is_left_standing_says_so() {
    let mut request = asked();
    request.on_failure = OnFailure::Leave;
    for (step, alone, exit) in [(Step::Gate, 30, 30), (Step::Prove, 23, 23)] {
        let (world, end) = run(&request, Weather { fails: Some((step, alone)), ..fair() });
        assert_eq!((end.exit(), world.runs), (exit, Some(digest('a'))));
    }
}

#[test]
fn pods_that_run_something_else_are_taken_back() {
    let (world, end) = run(&asked(), Weather { runs_another: true, ..fair() });
    assert_eq!((end.exit(), world.runs), (24, Some(digest('f'))));
    assert_eq!(end.failure().unwrap().code, crate::OTHER_RUNS);
}

fn under_load() -> Request {
    let proving = Proving { address: None, rate: 50.0, if_unknown: IfUnknown::Stop };
    asked().proving(proving).unwrap()
}

#[test]
fn requests_that_were_lost_take_the_release_back_or_are_told_where_it_stays() {
    let mut request = under_load();
    let weather = Weather { answered: Some(Answered::NotAll), ..fair() };
    let (world, end) = run(&request, weather.clone());
    assert_eq!((end.exit(), world.runs), (24, Some(digest('f'))));
    assert_eq!(end.failure().map(|why| (why.step, why.code.as_str())), Some((Step::Prove, crate::LOST)));
    request.on_failure = OnFailure::Leave;
    let (world, end) = run(&request, weather.clone());
    assert_eq!((end.exit(), world.runs), (30, Some(digest('a'))));
    // Nobody is asked for it who did not ask.
    assert_eq!(run(&asked(), weather).1, End::Released);
}

#[test]
fn load_of_which_nobody_knows_stops_the_release_until_somebody_says_that_it_goes_on() {
    for answered in [None, Some(Answered::Unknown)] {
        let mut request = under_load();
        let mut world = World { runs: Some(digest('f')), ..World::default() };
        let mut weather = Weather { answered, ..fair() };
        for _ in 0..2 {
            let end = live(&request, &mut world, &mut weather, None).unwrap();
            assert_eq!((end.exit(), matches!(end, End::Stopped { .. })), (31, true), "{answered:?}");
            assert_eq!(end.failure().map(|why| why.code.as_str()), Some(crate::UNKNOWN));
        }
        assert!(!begun(&world).contains(&Step::Gate));
        request.prove.as_mut().unwrap().if_unknown = IfUnknown::GoOn;
        assert_eq!(live(&request, &mut world, &mut weather, None).unwrap(), End::Released);
        assert_eq!((world.effects["deploy"], world.runs), (1, Some(digest('a'))));
    }
}

#[test]
fn nobody_goes_on_over_requests_that_were_lost() {
    let mut request = under_load();
    request.prove.as_mut().unwrap().if_unknown = IfUnknown::GoOn;
    for (answered, exit) in [(Answered::NotAll, 24), (Answered::All, 0)] {
        let (_, end) = run(&request, Weather { answered: Some(answered), ..fair() });
        assert_eq!(end.exit(), exit);
    }
}

#[test]
fn load_needs_a_rollout_and_somebody_who_judges_it() {
    let proving =
        || Proving { address: Some("http://shop".to_owned()), rate: 5.0, if_unknown: IfUnknown::Stop };
    for (steps, step) in
        [(vec![Step::Prove], Step::Prove), (vec![Step::Deploy, Step::Prove, Step::Gate], Step::Deploy)]
    {
        assert_eq!(without(&steps).unwrap().proving(proving()), Err(Refusal::Load(step)));
    }
    let request = asked().proving(proving()).unwrap();
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
}

#[test]
fn what_load_has_shown_is_said_and_so_is_that_it_has_not() {
    let says =
        |availability| Given::Prove(Proved { running: vec![digest('a')], pods: 2, availability }).sentence();
    assert_eq!(says(None), "2 pods run sha256:aaaaaaaaaaaa, not proved under load");
    assert_eq!(says(Some(1.0)), "2 pods run sha256:aaaaaaaaaaaa, 100.000 % available");
    assert!(says(Some(0.999_999_9)).ends_with(", 99.999 % available"));
}

#[test]
fn a_budget_that_is_used_up_refuses_before_anything_is_looked_at() {
    for (left, exit) in [(Some(0.05), 7), (Some(-3.0), 7), (None, 31)] {
        let (world, end) = run(&asked(), Weather { budget_left: left, ..Weather::default() });
        assert_eq!((end.exit(), world.effects.len(), begun(&world)[0]), (exit, 0, Step::Budget));
    }
}

#[test]
fn budgets_are_judged_by_the_poorest_that_is_known() {
    let of = |name: &str, left| Budget { objective: name.to_owned(), left, period: "30d".to_owned() };
    let value = |share| Left::Value { share };
    for (budgets, verdict) in [
        (vec![], BudgetVerdict::NoData),
        (vec![of("a", Left::NoData), of("b", Left::NoTraffic)], BudgetVerdict::NoData),
        (vec![of("a", value(f64::NAN))], BudgetVerdict::NoData),
        (vec![of("a", Left::NoTraffic), of("b", value(0.5))], BudgetVerdict::Enough),
        (vec![of("a", value(0.1)), of("b", value(0.5))], BudgetVerdict::Enough),
        (
            vec![of("a", value(0.09)), of("b", value(0.5)), of("c", value(-1.0))],
            BudgetVerdict::Spent(vec!["a".to_owned(), "c".to_owned()]),
        ),
    ] {
        assert_eq!(judge_budgets(&budgets, 0.1), verdict);
    }
}

#[test]
fn budgets_that_nobody_knows_are_named_beside_those_that_are_known() {
    let of = |name: &str, left| Budget { objective: name.to_owned(), left, period: "30d".to_owned() };
    let says = |budgets: Vec<Budget>| {
        Given::Budget(crate::BudgetSeen { budgets, min: 0.1, ..Default::default() }).sentence()
    };
    let known = || of("orders", Left::Value { share: 0.5 });
    assert_eq!(says(vec![known()]), "orders 50 % left");
    let some = vec![known(), of("checkout", Left::NoTraffic), of("search", Left::NoData)];
    assert_eq!(crate::unknown(&some), ["checkout (no traffic)", "search (no data)"]);
    assert_eq!(says(some), "orders 50 % left; not known: checkout (no traffic), search (no data)");
}

#[test]
fn what_is_left_out_must_be_given_otherwise() {
    for (steps, refusal) in [
        (vec![Step::Build], Refusal::Needs { step: Step::Push, needs: Step::Build }),
        (vec![Step::Push], Refusal::Needs { step: Step::Deploy, needs: Step::Push }),
        (vec![Step::Plan], Refusal::Needs { step: Step::Apply, needs: Step::Plan }),
        (vec![Step::Deploy], Refusal::Needs { step: Step::Prove, needs: Step::Deploy }),
        (vec![Step::Collect], Refusal::Always(Step::Collect)),
        (vec![Step::RollBack], Refusal::Always(Step::RollBack)),
        (Step::FORWARD.to_vec(), Refusal::Nothing),
    ] {
        assert_eq!(without(&steps), Err(refusal), "{steps:?}");
    }
    for steps in [
        vec![Step::Budget, Step::Gate],
        vec![Step::Apply],
        vec![Step::Plan, Step::Apply],
        vec![Step::Gate, Step::Notice],
        vec![Step::Deploy, Step::Prove, Step::Gate],
        vec![Step::Push, Step::Deploy, Step::Prove, Step::Gate],
    ] {
        let request = without(&steps).unwrap();
        let (world, end) = run(&request, fair());
        assert_eq!(end.exit(), 0, "{steps:?}");
        assert!(begun(&world).iter().all(|step| !steps.contains(step)));
    }
}

#[test]
fn an_image_that_is_given_is_neither_built_nor_pushed() {
    let request = Request::new("dev", "rtcd", Some(pinned()), &BTreeSet::new()).unwrap();
    let (world, end) = run(&request, fair());
    assert_eq!((end.exit(), world.runs), (0, Some(digest('a'))));
    assert!(world.registry.is_empty() && world.layout.is_none());
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
}

#[test]
fn each_hand_over_asserts_the_digest() {
    let mut release = Release::new(asked());
    let mut world = World::default();
    live(&asked(), &mut world, &mut fair(), None).unwrap();
    for fact in world.facts.iter().take(8).cloned() {
        assert_eq!(release.take(fact), Outcome::Done);
    }
    let other = Pushed {
        reference: format!("registry/rtcd@{}", digest('c')),
        digest: digest('c'),
        bytes_sent: 0,
        run: None,
    };
    let lies = Pushed { digest: digest('a'), ..other.clone() };
    for pushed in [other, lies] {
        let failure = release.hand_over(&Given::Push(pushed)).unwrap_err();
        assert_eq!((failure.exit, failure.lasting), (22, Lasting::Lasting));
    }
    let applied = Applied { plan: digest('c'), rest_of: None, sentence: String::new(), run: None };
    assert_eq!(release.hand_over(&Given::Apply(applied.clone())).unwrap_err().exit, 8);
    let judged = release.outputs.plan.as_ref().unwrap().digest.clone();
    let rest = Applied { rest_of: Some(judged), ..applied.clone() };
    assert!(release.hand_over(&Given::Apply(rest)).is_ok());
    let another = Applied { rest_of: Some(digest('d')), ..applied };
    assert_eq!(release.hand_over(&Given::Apply(another)).unwrap_err().exit, 8);
    let proved = |running: Vec<Digest>| Given::Prove(Proved { running, pods: 1, availability: None });
    assert!(release.hand_over(&proved(vec![digest('a')])).is_ok());
    assert_eq!(release.hand_over(&proved(vec![])).unwrap_err().exit, 23);
    assert_eq!(release.hand_over(&proved(vec![digest('a'), digest('c')])).unwrap_err().exit, 23);
}

#[test]
fn facts_out_of_turn_are_refused() {
    let mut release = Release::new(asked());
    let begun = |step| Fact::Begun { step, inputs: String::new() };
    assert!(matches!(release.take(begun(Step::Deploy)), Outcome::Refused(_)));
    assert_eq!(release.take(begun(Step::Budget)), Outcome::Done);
    assert_eq!(release.next(), Next::Do { step: Step::Budget, how: How::Again });
    let passing = Failure::new(Step::Budget, 31, "TST", "");
    assert!(matches!(release.take(Fact::Failed { failure: passing }), Outcome::Refused(_)));
    let pushed = Pushed { reference: String::new(), digest: digest('a'), bytes_sent: 0, run: None };
    assert!(matches!(release.take(Fact::Finished { given: Given::Push(pushed) }), Outcome::Refused(_)));
    let skipped = Fact::Skipped { step: Step::Budget, reason: "no".to_owned() };
    assert!(matches!(release.take(skipped), Outcome::Refused(_)));
    assert_eq!(release.take(Fact::Failed { failure: Failure::new(Step::Budget, 7, "T", "") }), Outcome::Done);
    assert!(matches!(release.take(begun(Step::Plan)), Outcome::Refused(_)));
    assert_eq!(release.end().exit(), 7);
    assert_eq!(crate::Story::of(&release, &release.end()).word, Word::Refused);
}

#[test]
fn what_was_not_judged_is_not_carried_out() {
    let plan = |letter, changes: &[(&str, &str)]| Planned {
        digest: digest(letter),
        changes: changes
            .iter()
            .map(|(address, action)| PlannedChange {
                address: (*address).to_owned(),
                action: (*action).to_owned(),
                destroys: matches!(*action, "delete" | "replace"),
                reason: None,
            })
            .collect(),
        outputs: 0,
        sentence: String::new(),
    };
    let tainted = |mut plan: Planned| {
        plan.changes[0].reason = Some("replace_because_tainted".to_owned());
        plan
    };
    let judged = plan('1', &[("a", "create"), ("b", "update"), ("c", "replace"), ("d", "delete")]);
    let other = |addresses: &[&str]| Rest::Other(addresses.iter().map(|one| (*one).to_owned()).collect());
    for (now, rest) in [
        (judged.clone(), Rest::Part),
        (plan('2', &[]), Rest::Nothing),
        (plan('2', &[("b", "update")]), Rest::Part),
        // It was created in whole: what it keeps is used.
        (plan('2', &[("a", "replace")]), other(&["a"])),
        (tainted(plan('2', &[("a", "replace")])), Rest::Part),
        (tainted(plan('2', &[("b", "replace")])), other(&["b"])),
        (plan('2', &[("c", "create"), ("d", "delete")]), Rest::Part),
        (plan('2', &[("b", "replace")]), other(&["b"])),
        (plan('2', &[("a", "delete"), ("e", "create")]), other(&["a", "e"])),
        (plan('2', &[("d", "create")]), other(&["d"])),
    ] {
        assert_eq!(what_is_left(&judged, &now, How::Again), rest, "{now:?}");
        let first = if now.digest == judged.digest { Rest::Part } else { Rest::Another };
        assert_eq!(what_is_left(&judged, &now, How::First), first, "{now:?}");
    }
    let empty = plan('0', &[]);
    for how in [How::First, How::Again] {
        assert_eq!(what_is_left(&empty, &empty, how), Rest::Nothing);
    }
}

#[test]
fn the_tables_are_whole() {
    for (step, row) in Step::ALL.into_iter().zip(STEPS) {
        assert_eq!((row.step, Step::named(step.name())), (step, Some(step)));
        assert!(!row.gives.is_empty() && !row.why.is_empty() && !row.needs_words.is_empty());
    }
    assert!(EXITS.is_sorted_by_key(|(exit, ..)| *exit));
    for wrong in ["sha256:", "sha512:aa", &format!("sha256:{}", "A".repeat(64))] {
        assert!(wrong.parse::<Digest>().is_err());
    }
    assert_eq!(digest('a').short(), "sha256:aaaaaaaaaaaa");
}
