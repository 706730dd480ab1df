//! What is blamed on a release, and what cannot be.

use super::*;
use crate::metrics::model::Reading;
use crate::metrics::slo::{BurnRate, catalogue};
use rtc_metrics::slo::BURNS;

fn standing(place: usize, left: Reading, ratio: Reading) -> Standing {
    let objective = catalogue().swap_remove(place);
    Standing { objective, period: "30d".to_owned(), ratio, budget_left: left, burns: Vec::new() }
}

fn judged(standings: &[Standing], before: &[Standing]) -> Measured {
    let before: Vec<Stood> = before.iter().map(|one| of_objective(one).stood).collect();
    judge(standings.iter().map(of_objective).collect(), &before, true)
}

#[test]
fn an_objective_that_nobody_knows_passes_for_nothing_and_is_named() {
    let known = || standing(0, Reading::Value(0.5), Reading::Value(0.0));
    let quiet = || standing(1, Reading::NaN, Reading::NaN);
    let spent = || standing(0, Reading::Value(-0.1), Reading::Value(0.1));
    let measured = judged(&[known(), quiet()], &[]);
    assert!(measured.refusal().is_none());
    let name = &quiet().objective.name;
    assert_eq!(measured.given().sentence, format!("1 measure passes; not known: {name} (no traffic)"));
    let code = |standings: &[Standing]| judged(standings, &[]).refusal().unwrap().code().id;
    assert_eq!(code(&[quiet()]), "SHP008");
    assert_eq!(code(&[spent(), quiet()]), "SHP007");
}

/// All of the budget is gone, and it burns so fast over the short windows.
fn spent(rate: f64) -> Standing {
    let burns = BURNS.iter().map(|burn| BurnRate {
        burn: *burn,
        long: Reading::Value(0.0),
        short: Reading::Value(rate),
        covered: true,
    });
    Standing { burns: burns.collect(), ..standing(0, Reading::Value(-0.1), Reading::Value(0.1)) }
}

#[test]
fn a_budget_that_was_gone_before_is_held_against_a_release_only_where_it_burns_faster() {
    for (before, now, code) in
        [(0.2, 0.3, None), (8.0, 8.4, None), (8.0, 4.0, None), (8.0, 9.5, Some("SHP007"))]
    {
        let measured = judged(&[spent(now)], &[spent(before)]);
        let refusal = measured.refusal();
        assert_eq!(refusal.as_ref().map(|error| error.code().id), code, "{before} {now}");
        let said = refusal
            .map_or_else(|| measured.findings()[0].message.clone(), |error| error.message().to_owned());
        assert!(said.contains(&format!("burn over 5m {now}, before the release {before}")), "{said}");
    }
    let kept = standing(0, Reading::Value(0.5), Reading::Value(0.0));
    let refusal = judged(&[spent(2.0)], &[kept]).refusal().unwrap();
    assert!(refusal.message().contains("before the release 50"), "{}", refusal.message());
}

#[test]
fn the_side_on_which_a_value_is_outside_is_compared_with_that_side_alone() {
    let gate = GateEntry { min: Some(1.0), max: Some(9.0), ..GateEntry::default() };
    let seen = |value: f64| {
        let report = Report::new(
            "metrics/check",
            json!({"decisive": {"value": value}, "series": [series(&[], value)]}),
        )
        .with_status("breached", exit::BREACHED);
        of_gate("up", &gate, &report)
    };
    let code = |before: f64, now: f64| {
        judge(vec![seen(now)], &[seen(before).stood], false).refusal().map(|error| error.code().id)
    };
    assert_eq!(code(20.0, 20.0), None);
    assert_eq!(code(0.0, 20.0), Some("SHP007"));
    assert_eq!(code(0.5, 0.0), Some("SHP007"));
}

fn series(labels: &[(&str, &str)], value: f64) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({"labels": labels, "value": value, "verdict": "breached"})
}

/// What the gate of a rollout answers to the share of bad requests since then.
fn since(ratio: Option<f64>) -> Report {
    let report = Report::new("metrics/check", json!({"decisive": {"value": ratio}}));
    let limit = catalogue().swap_remove(0).budget() * gauge::alerts_at();
    match ratio {
        None => report.with_status("inconclusive", exit::INCONCLUSIVE),
        Some(ratio) if ratio > limit => report.with_status("breached", exit::BREACHED),
        Some(_) => report,
    }
}

/// Half of the budget is left, and it burns so fast over the short windows; slowly over the long ones.
fn kept(rate: Option<f64>) -> Standing {
    let mut standing = spent(0.0);
    standing.budget_left = Reading::Value(0.5);
    for burn in &mut standing.burns {
        burn.short = rate.map_or(Reading::NaN, Reading::Value);
    }
    standing
}

#[test]
fn an_outage_since_the_rollout_is_seen_while_the_windows_of_the_alert_are_not_full_of_it() {
    const OUTAGE: Option<f64> = Some(1.0);
    let before = |rate| of_objective(&kept(rate)).stood;
    let gone = |rate| of_objective(&spent(rate)).stood;
    let nothing_to_compare = || before(Some(0.0)).without_figures();
    for (name, was, now, since_then, wanted) in [
        (
            "all is lost, and over the hour it is little",
            before(Some(0.0)),
            kept(Some(400.0)),
            OUTAGE,
            Some("SHP007"),
        ),
        ("nobody knows how it stood", before(None), kept(Some(400.0)), OUTAGE, Some("SHP007")),
        (
            "another release is in the windows",
            nothing_to_compare(),
            kept(Some(400.0)),
            OUTAGE,
            Some("SHP007"),
        ),
        ("it burned as fast before", before(Some(1_000.0)), kept(Some(1_000.0)), OUTAGE, None),
        ("it burned before, half as fast", before(Some(500.0)), kept(Some(700.0)), OUTAGE, Some("SHP007")),
        ("it burns slower than somebody is woken for", before(Some(0.0)), kept(Some(5.0)), Some(0.014), None),
        ("nothing is lost", before(Some(0.0)), kept(Some(0.0)), Some(0.0), None),
        ("nobody comes", before(None), kept(None), None, None),
        ("nobody comes any more", before(Some(0.0)), kept(Some(0.0)), None, Some("SHP008")),
        ("gone before, and nothing burns since", gone(30.0), spent(60.0), Some(0.0), None),
        ("gone before, and it burns as fast since", gone(30.0), spent(30.0), Some(0.031), None),
        ("gone before, and it burns faster since", gone(2.0), spent(2.0), Some(0.004), Some("SHP007")),
        (
            "gone by the try before this one",
            gone(30.0).without_figures(),
            spent(30.0),
            Some(0.03),
            Some("SHP007"),
        ),
        (
            "gone by the try before, which this one mends",
            gone(30.0).without_figures(),
            spent(30.0),
            Some(0.0),
            None,
        ),
    ] {
        let mut seen = of_objective(&now);
        since_rollout(&mut seen, &now, &since(since_then));
        let measured = judge(vec![seen], &[was], true);
        assert_eq!(measured.refusal().map(|error| error.code().id), wanted, "{name}");
    }
}

/// What it answers where there is no value, and why there is none.
fn unheard(because: &str) -> Report {
    Report::new("metrics/check", json!({"because": because, "decisive": null}))
        .with_status("inconclusive", exit::INCONCLUSIVE)
}

#[test]
fn what_was_heard_before_a_release_and_is_not_since_is_no_pass() {
    const HEARD: Option<f64> = Some(0.0);
    let of = |place: usize, rate| Standing { objective: catalogue().swap_remove(place), ..kept(rate) };
    let stood = |rate| -> Vec<Stood> { [0, 1].map(|place| of_objective(&of(place, rate)).stood).into() };
    let erased = || -> Vec<Stood> { stood(HEARD).into_iter().map(Stood::without_figures).collect() };
    let beside = "1 measure passes; not known: latency since the rollout";
    let all = "nothing is heard since the rollout of what was before it: availability, latency";
    for (name, before, rate, answers, wanted) in [
        ("all is silent", stood(HEARD), HEARD, [Some("nan"), Some("nan")], Err(all)),
        ("all is silent, and another release is in the windows", erased(), HEARD, [Some("nan"); 2], Err(all)),
        ("one is silent", stood(HEARD), HEARD, [None, Some("nan")], Ok(beside)),
        (
            "one is silent, and another release is in the windows",
            erased(),
            HEARD,
            [None, Some("nan")],
            Ok(beside),
        ),
        (
            "what counts one is gone",
            stood(HEARD),
            HEARD,
            [None, Some("no_series")],
            Err("latency: no series since the rollout"),
        ),
        ("nobody came before", stood(None), None, [Some("nan"), Some("no_series")], Ok("2 measures pass")),
    ] {
        let seen = [0, 1].map(|place| {
            let now = of(place, rate);
            let mut seen = of_objective(&now);
            since_rollout(&mut seen, &now, &answers[place].map_or_else(|| since(HEARD), unheard));
            seen
        });
        let measured = judge(seen.into(), &before, true);
        let came = match measured.refusal() {
            Some(refusal) => Err((refusal.code().id, refusal.message().to_owned())),
            None => Ok(measured.given().sentence),
        };
        let wanted = wanted.map(str::to_owned).map_err(|said| ("SHP008", said.to_owned()));
        assert_eq!(came, wanted, "{name}");
    }
}

#[test]
fn silence_since_the_rollout_hides_no_breach() {
    let now = spent(30.0);
    for because in ["nan", "no_series"] {
        let mut seen = of_objective(&now);
        since_rollout(&mut seen, &now, &unheard(because));
        let measured = judge(vec![seen], &[of_objective(&kept(Some(0.0))).stood], true);
        assert_eq!(measured.refusal().map(|error| error.code().id), Some("SHP007"), "{because}");
    }
}

#[test]
fn what_had_a_value_before_the_release_and_has_none_after_it_is_no_pass() {
    let well = || standing(0, Reading::Value(0.5), Reading::Value(0.0));
    let other = |left: Reading, ratio: Reading| standing(1, left, ratio);
    let known = || other(Reading::Value(0.5), Reading::Value(0.0));
    let gone = || other(Reading::Value(-0.5), Reading::Value(0.1));
    for (name, before, now, wanted) in [
        ("no traffic any more", vec![well(), known()], other(Reading::NaN, Reading::NaN), Some("SHP008")),
        (
            "no data any more",
            vec![well(), gone()],
            other(Reading::NoSeries, Reading::NoSeries),
            Some("SHP008"),
        ),
        (
            "never any",
            vec![well(), other(Reading::NaN, Reading::NaN)],
            other(Reading::NaN, Reading::NaN),
            None,
        ),
        ("not looked at", vec![well()], other(Reading::NaN, Reading::NaN), None),
    ] {
        let measured = judged(&[well(), now], &before);
        let refusal = measured.refusal();
        assert_eq!(refusal.as_ref().map(|error| error.code().id), wanted, "{name}");
        if let Some(refusal) = refusal {
            assert!(refusal.message().contains("before the release"), "{}", refusal.message());
        }
    }
}

#[test]
fn every_series_of_a_gate_is_compared_with_itself() {
    let gate = GateEntry { max: Some(0.05), series: Some("worst".to_owned()), ..GateEntry::default() };
    let seen = |gate: &GateEntry, all: &[(&str, f64)]| {
        let all: Vec<Value> = all.iter().map(|(job, value)| series(&[("job", job)], *value)).collect();
        let data = json!({"decisive": all[0], "series": all});
        of_gate("errors", gate, &Report::new("metrics/check", data).with_status("breached", exit::BREACHED))
    };
    for (before, now, is_worse) in [
        (&[("orders", 0.09)] as &[_], &[("orders", 0.09), ("payments", 0.08)] as &[_], true),
        (&[("orders", 0.09), ("payments", 0.08)], &[("payments", 0.08), ("orders", 0.09)], false),
        (&[("orders", 0.09), ("payments", 0.08)], &[("orders", 0.04), ("payments", 0.2)], true),
    ] {
        let measured = judge(vec![seen(&gate, now)], &[seen(&gate, before).stood], false);
        let refusal = measured.refusal();
        assert_eq!(refusal.is_some(), is_worse, "{before:?} {now:?}");
        let told = refusal.map_or_else(String::new, |error| error.message().to_owned());
        assert_eq!(told.contains("value of {job=\"payments\"}"), is_worse, "{told}");
    }
    // Asked with another limit, it was not looked at.
    let orders: &[_] = &[("orders", 0.09)];
    let stricter = GateEntry { max: Some(0.01), ..gate.clone() };
    assert!(judge(vec![seen(&stricter, orders)], &[seen(&gate, orders).stood], false).refusal().is_some());
}

#[test]
fn what_somebody_else_changed_within_the_time_that_is_measured_is_no_standing() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let gate = |expr: &str, time: Option<Duration>| GateEntry {
        expr: expr.to_owned(),
        time,
        ..GateEntry::default()
    };
    for (expr, time, wanted) in [
        ("min(up)", None, 1),
        ("min(up)", Some(minutes(5)), 6),
        ("sum(rate(http_5xx_total[5m])) / sum(rate(http_total[5m]))", None, 6),
        ("sum(rtc:http_errors:ratio5m)", None, 6),
        ("rate(a[5m] offset 1h)", None, 66),
        ("max_over_time(rate(a[1m])[10m:1m])", Some(minutes(2)), 14),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[90s])))", None, 2),
    ] {
        assert_eq!(reach(&gate(expr, time)).as_secs() / 60, wanted, "{expr}");
    }
    let seen = || {
        let mut seen = of_objective(&spent(3.0));
        seen.reach = minutes(6);
        seen
    };
    for (changed, is_known) in [(None, true), (Some(minutes(5)), false), (Some(minutes(6)), true)] {
        let stood = of_before(seen(), changed);
        assert_eq!(stood.figures.iter().all(|figure| figure.value.is_some()), is_known, "{changed:?}");
        assert_eq!(stood.stands, Stands::Badly);
    }
}
