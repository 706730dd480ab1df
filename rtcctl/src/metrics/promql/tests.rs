//! The evaluator against figures that follow from Prometheus' documentation, worked out by hand.
//!
//! Samples are written as series: `name{label="x"} 0+10x3 _ 7` is 0, 10, 20, 30, nothing, 7, one a step from time zero.

use super::*;
use crate::metrics::model::{Data, Labels, NAME, Span};

fn history(step_s: i64, series: &[&str]) -> History {
    let mut history = History::default();
    for line in series {
        let (name, values) = match line.split_once("} ") {
            Some((name, values)) => (format!("{name}}}"), values),
            None => {
                let (name, values) = line.split_once(' ').unwrap();
                (name.to_owned(), values)
            }
        };
        let mut points = Vec::new();
        for word in values.split_whitespace() {
            if word == "_" {
                points.push(None);
            } else if let Some((start, rest)) = word.split_once('+').filter(|(start, _)| !start.is_empty()) {
                let (by, times) = rest.split_once('x').unwrap();
                let (start, by): (f64, f64) = (start.parse().unwrap(), by.parse().unwrap());
                points.extend((0..=times.parse::<u32>().unwrap()).map(|n| Some(start + by * f64::from(n))));
            } else {
                points.push(Some(crate::metrics::model::parse_number(word).unwrap()));
            }
        }
        let timed = points.into_iter().enumerate().map(|(n, value)| (n as i64 * step_s * 1000, value));
        history.record(labels(&name), timed);
    }
    history
}

fn labels(text: &str) -> Labels {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    let pairs = rest.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (label, value) = pair.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    });
    Labels::new([(NAME.to_owned(), name.to_owned())].into_iter().chain(pairs))
}

/// The elements as text and value, in the order of their labels; a scalar is called `scalar`.
fn at(history: &History, expr: &str, at_s: f64) -> Vec<(String, f64)> {
    match evaluate_instant(&parse(expr).unwrap(), history, (at_s * 1000.0) as i64).unwrap() {
        Data::Scalar(_, value) => vec![("scalar".to_owned(), value)],
        Data::Vector(mut samples) => {
            samples.sort_by(|left, right| left.labels.cmp(&right.labels));
            samples.into_iter().map(|sample| (sample.labels.to_string(), sample.value)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn assert_values(history: &History, at_s: f64, table: &[(&str, &[f64])]) {
    for (expr, wanted) in table {
        let found: Vec<f64> = at(history, expr, at_s).into_iter().map(|(_, value)| value).collect();
        let same = found.len() == wanted.len()
            && found.iter().zip(*wanted).all(|(found, wanted)| {
                found == wanted || found.is_nan() && wanted.is_nan() || (found - wanted).abs() < 1e-9
            });
        assert!(same, "{expr} at {at_s}: {found:?}, not {wanted:?}");
    }
}

fn refused(history: &History, expr: &str) -> Refusal {
    match parse(expr).and_then(|query| evaluate_instant(&query, history, 60_000)) {
        Ok(data) => panic!("{expr} came to {data:?}"),
        Err(refusal) => refusal,
    }
}

#[test]
fn rates_are_extrapolated_to_the_ends_of_their_range() {
    let history = history(
        10,
        &[
            "steady 0+10x6",
            "reset 0 10 20 0 10 20 30",
            "young _ _ _ _ 3 4 5",
            "born _ _ _ _ 0 1 2",
            "gone 10 20 30 40",
            "alone _ _ _ _ _ _ 7",
            "falling 100 90 80 70 60 50 40",
        ],
    );
    assert_values(
        &history,
        60.0,
        &[
            // (0 s, 60 s]: six values over 50 s, the first 10 s after the beginning: 50 × 60/50.
            ("increase(steady[1m])", &[60.0]),
            ("rate(steady[1m])", &[1.0]),
            // 20 and what the reset took away: 40 × 60/50.
            ("increase(reset[1m])", &[48.0]),
            // Too far from the beginning: half an interval, 2 × 25/20.
            ("increase(young[1m])", &[2.5]),
            // A counter is not extrapolated below zero: 2 × 20/20.
            ("increase(born[1m])", &[2.0]),
            // The end is 30 s off, the beginning 10 s and zero 15 s: 20 × (20 + 10 + 5)/20.
            ("increase(gone[1m])", &[35.0]),
            ("rate(alone[1m])", &[]),
            ("delta(falling[1m])", &[-60.0]),
            // For a counter each fall is a reset: 40 − 90 + (90 + 80 + 70 + 60 + 50), and zero is 50 × 90/300 away.
            ("increase(falling[1m])", &[360.0]),
            ("irate(reset[1m])", &[1.0]),
            ("irate(falling[1m])", &[4.0]),
            ("idelta(falling[1m])", &[-10.0]),
            ("resets(reset[1m])", &[1.0]),
            ("changes(reset[1m])", &[5.0]),
            // (−30 s, 30 s] holds 0 to 30, and nothing is before zero: 30 in 60 s.
            ("rate(steady[1m] offset 30s)", &[0.5]),
        ],
    );
}

#[test]
fn a_value_stands_for_five_minutes_or_until_its_series_ends() {
    let history = history(10, &["old 7", "ended 1 2 _ _", "back 1 _ 3"]);
    for (expr, at_s, wanted) in [
        ("old", 0.0, &[7.0][..]),
        ("old", 299.999, &[7.0]),
        ("old", 300.0, &[]),
        ("ended", 19.999, &[2.0]),
        ("ended", 20.0, &[]),
        ("back", 15.0, &[]),
        ("back", 20.0, &[3.0]),
        ("ended offset 5s", 20.0, &[2.0]),
        ("ended offset -5s", 14.0, &[2.0]),
        ("ended offset -5s", 15.0, &[]),
        // A gap is no value of a range either.
        ("count_over_time(back[1m])", 20.0, &[2.0]),
        ("count_over_time(ended[1m])", 79.0, &[]),
    ] {
        assert_values(&history, at_s, &[(expr, wanted)]);
    }
}

#[test]
fn ranges_are_open_on_the_left() {
    let history = history(10, &["g 0 1 2 3 4 5 6"]);
    assert_values(&history, 60.0, &[("count_over_time(g[1m])", &[6.0]), ("count_over_time(g[61s])", &[7.0])]);
    match evaluate_instant(&parse("g[20s]").unwrap(), &history, 60_000).unwrap() {
        Data::Matrix(series) => assert_eq!(series[0].points, [(50_000, 5.0), (60_000, 6.0)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn functions_over_time_take_the_values_as_they_are() {
    let history = history(10, &["g 99 1 2 3 4", "n 99 1 NaN 3 4"]);
    let nan = f64::NAN;
    assert_values(
        &history,
        40.0,
        &[
            ("avg_over_time(g[40s])", &[2.5]),
            ("sum_over_time(g[40s])", &[10.0]),
            ("min_over_time(g[40s])", &[1.0]),
            ("max_over_time(g[40s])", &[4.0]),
            ("stddev_over_time(g[40s])", &[1.25_f64.sqrt()]),
            ("stdvar_over_time(g[40s])", &[1.25]),
            ("quantile_over_time(0.5, g[40s])", &[2.5]),
            ("quantile_over_time(0.9, g[40s])", &[3.7]),
            ("quantile_over_time(2, g[40s])", &[f64::INFINITY]),
            ("last_over_time(g[40s])", &[4.0]),
            ("present_over_time(g[40s])", &[1.0]),
            ("sum_over_time(n[40s])", &[nan]),
            ("min_over_time(n[40s])", &[1.0]),
            ("max_over_time(n[40s])", &[4.0]),
            ("changes(n[40s])", &[3.0]),
        ],
    );
    assert_eq!(at(&history, "last_over_time(g[40s])", 40.0)[0].0, "g");
    assert_eq!(at(&history, "max_over_time(g[40s])", 40.0)[0].0, "{}");
}

#[test]
fn aggregations_group_by_the_labels_that_are_named() {
    let history = history(
        60,
        &["m{a=\"1\",b=\"x\"} 1", "m{a=\"1\",b=\"y\"} 2", "m{a=\"2\",b=\"x\"} 30", "m{a=\"2\",b=\"y\"} NaN"],
    );
    let nan = f64::NAN;
    assert_values(
        &history,
        0.0,
        &[
            ("sum(m)", &[nan]),
            ("sum by (a) (m)", &[3.0, nan]),
            ("sum without (a) (m)", &[31.0, nan]),
            ("avg by (b) (m)", &[15.5, nan]),
            ("min(m)", &[1.0]),
            ("max(m)", &[30.0]),
            ("count(m)", &[4.0]),
            ("count by (nobody) (m)", &[4.0]),
            ("group by (a) (m)", &[1.0, 1.0]),
            ("quantile(0.5, m{a=\"1\"})", &[1.5]),
            ("bottomk(1, m)", &[1.0]),
            ("topk(9, m{a=\"1\"})", &[1.0, 2.0]),
            ("topk(0, m)", &[]),
            ("sum(nothing)", &[]),
            ("count(nothing)", &[]),
        ],
    );
    assert_eq!(at(&history, "sum by (a) (m)", 0.0)[0].0, "{a=\"1\"}");
    assert_eq!(at(&history, "sum without (a) (m)", 0.0)[0].0, "{b=\"x\"}");
    assert_eq!(at(&history, "topk(1, m)", 0.0), [("m{a=\"2\", b=\"x\"}".to_owned(), 30.0)]);
    assert_eq!(at(&history, "topk by (b) (1, m{b=\"x\"})", 0.0)[0].1, 30.0);
}

#[test]
fn quantiles_of_histograms_are_interpolated_within_their_bucket() {
    let history = history(
        60,
        &[
            "h_bucket{le=\"0.1\"} 10",
            "h_bucket{le=\"0.5\"} 30",
            "h_bucket{le=\"1\"} 40",
            "h_bucket{le=\"+Inf\"} 50",
            "zero_bucket{le=\"1\"} 0",
            "zero_bucket{le=\"+Inf\"} 0",
            "open_bucket{le=\"1\"} 5",
            "open_bucket{le=\"2\"} 9",
            "dip_bucket{le=\"1\"} 5",
            "dip_bucket{le=\"2\"} 4",
            "dip_bucket{le=\"+Inf\"} 10",
            "twice_bucket{le=\"1\"} 2",
            "twice_bucket{le=\"1.0\"} 2",
            "twice_bucket{le=\"+Inf\"} 4",
            "below_bucket{le=\"-1\"} 2",
            "below_bucket{le=\"+Inf\"} 4",
        ],
    );
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    assert_values(
        &history,
        0.0,
        &[
            ("histogram_quantile(0.1, h_bucket)", &[0.05]),
            ("histogram_quantile(0.4, h_bucket)", &[0.3]),
            ("histogram_quantile(0.7, h_bucket)", &[0.75]),
            // Beyond the last bound nothing is known but the bound.
            ("histogram_quantile(0.99, h_bucket)", &[1.0]),
            ("histogram_quantile(1, h_bucket)", &[1.0]),
            ("histogram_quantile(-0.1, h_bucket)", &[-infinity]),
            ("histogram_quantile(1.1, h_bucket)", &[infinity]),
            ("histogram_quantile(0.5, zero_bucket)", &[nan]),
            ("histogram_quantile(0.5, open_bucket)", &[nan]),
            ("histogram_quantile(0.5, dip_bucket)", &[1.0]),
            ("histogram_quantile(0.5, twice_bucket)", &[0.5]),
            ("histogram_quantile(0.1, below_bucket)", &[-1.0]),
            ("histogram_quantile(0.5, nothing_bucket)", &[]),
        ],
    );
    assert_eq!(at(&history, "histogram_quantile(0.5, h_bucket)", 0.0)[0].0, "{}");
}

#[test]
fn vectors_are_matched_by_their_labels() {
    let history = history(
        60,
        &[
            "errors{route=\"a\",code=\"500\"} 4",
            "errors{route=\"a\",code=\"502\"} 6",
            "errors{route=\"b\",code=\"500\"} 1",
            "requests{route=\"a\"} 100",
            "requests{route=\"b\"} 0",
            "requests{route=\"c\"} 7",
            "owner{route=\"a\",team=\"blue\"} 1",
            "owner{route=\"b\",team=\"red\"} 1",
        ],
    );
    let named = |expr: &str| at(&history, expr, 0.0);
    assert_eq!(
        named("errors / ignoring (code) group_left requests"),
        [
            ("{code=\"500\", route=\"a\"}".to_owned(), 0.04),
            ("{code=\"500\", route=\"b\"}".to_owned(), f64::INFINITY),
            ("{code=\"502\", route=\"a\"}".to_owned(), 0.06),
        ]
    );
    assert_eq!(
        named("requests * on (route) group_left (team) owner"),
        [("{route=\"a\", team=\"blue\"}".to_owned(), 100.0), ("{route=\"b\", team=\"red\"}".to_owned(), 0.0),]
    );
    assert_eq!(named("owner * on (route) group_right (team) requests").len(), 2);
    assert_eq!(named("sum by (route) (errors) / requests")[0], ("{route=\"a\"}".to_owned(), 0.1));
    assert_eq!(named("requests > 5").len(), 2);
    assert_eq!(named("requests > 5")[0], ("requests{route=\"a\"}".to_owned(), 100.0));
    assert_eq!(named("5 < requests")[0].1, 100.0);
    assert_eq!(named("requests > bool 5")[1], ("{route=\"b\"}".to_owned(), 0.0));
    assert_eq!(named("requests > on (route) owner")[0], ("{route=\"a\"}".to_owned(), 100.0));
    assert_eq!(named("requests and on (route) owner").len(), 2);
    assert_eq!(named("requests unless on (route) owner"), [("requests{route=\"c\"}".to_owned(), 7.0)]);
    assert_eq!(named("requests{route=\"c\"} or owner").len(), 3);
    assert_eq!(named("requests{route=\"a\"} or on () vector(9)").len(), 1);
    assert_eq!(named("sum(nothing) or vector(0)"), [("{}".to_owned(), 0.0)]);
    assert_eq!(named("requests{route=~\"a|b\"}").len(), 2, "a pattern is anchored on both sides");
    assert_eq!(named("requests{route!~\"a.*\", team=\"\"}").len(), 2, "an absent label is an empty one");
}

#[test]
fn matches_that_are_not_unique_are_refused() {
    let data = history(60, &["l{a=\"1\",b=\"1\"} 1 1", "l{a=\"1\",b=\"2\"} 2 2", "r{a=\"1\"} 1 1"]);
    for (expr, wanted) in [
        ("r / on (a) l", "found duplicate series"),
        ("l / on (a) r", "many-to-one matching must be explicit"),
        ("l / on (a) group_right r", "found duplicate series"),
        ("sum without (b) (l) + on (a) group_left (b) l", "found duplicate series"),
    ] {
        let refusal = refused(&data, expr);
        assert!(matches!(&refusal, Refusal::Execution(said) if said.contains(wanted)), "{expr}: {refusal:?}");
    }
    let data = history(60, &["x{a=\"1\"} 1 2", "y{a=\"1\"} 1 2"]);
    assert_eq!(
        refused(&data, "rate({a=\"1\"}[2m])"),
        Refusal::Execution("vector cannot contain metrics with the same labelset: {a=\"1\"}".to_owned())
    );
}

#[test]
fn numbers_are_computed_as_the_server_computes_them() {
    let history = history(60, &["g{s=\"low\"} -2.5", "g{s=\"nan\"} NaN", "g{s=\"up\"} 7.25", "one 3"]);
    let nan = f64::NAN;
    assert_values(
        &history,
        0.0,
        &[
            ("1 + 2 * 3 ^ 2", &[19.0]),
            ("-2 ^ 2", &[-4.0]),
            ("2 ^ 3 ^ 2", &[512.0]),
            ("7 % 4", &[3.0]),
            ("1 / 0", &[f64::INFINITY]),
            ("0 / 0", &[nan]),
            ("3 == bool 3", &[1.0]),
            ("abs(g)", &[2.5, nan, 7.25]),
            ("ceil(g)", &[-2.0, nan, 8.0]),
            ("floor(g)", &[-3.0, nan, 7.0]),
            ("round(g)", &[-2.0, nan, 7.0]),
            ("round(g, 0.5)", &[-2.5, nan, 7.5]),
            ("sgn(g)", &[-1.0, nan, 1.0]),
            ("clamp(g, 0, 5)", &[0.0, nan, 5.0]),
            ("clamp(g, 5, 0)", &[]),
            ("clamp_min(g, 0)", &[0.0, nan, 7.25]),
            ("clamp_max(g, 0)", &[-2.5, nan, 0.0]),
            ("sqrt(one + 6)", &[3.0]),
            ("ln(vector(1))", &[0.0]),
            ("scalar(one)", &[3.0]),
            ("scalar(g)", &[nan]),
            ("vector(4)", &[4.0]),
            ("absent(one)", &[]),
            ("absent(nothing)", &[1.0]),
            ("g == g", &[-2.5, 7.25]),
            ("g != g", &[nan]),
            ("-one", &[-3.0]),
        ],
    );
    assert_values(
        &history,
        42.0,
        &[("time()", &[42.0]), ("timestamp(one)", &[0.0]), ("time() - timestamp(one)", &[42.0])],
    );
    assert_eq!(at(&history, "absent(nothing{a=\"1\",b=~\"2\"})", 0.0)[0].0, "{a=\"1\"}");
    assert_eq!(at(&history, "absent_over_time(nothing{a=\"1\"}[5m])", 0.0)[0].0, "{a=\"1\"}");
}

#[test]
fn sorting_orders_an_instant_and_nan_goes_last() {
    let history = history(60, &["g{s=\"a\"} 5", "g{s=\"b\"} NaN", "g{s=\"c\"} 1"]);
    let order = |expr: &str| -> String {
        match evaluate_instant(&parse(expr).unwrap(), &history, 0).unwrap() {
            Data::Vector(samples) => samples.iter().map(|sample| sample.labels.get("s").to_owned()).collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((order("sort(g)"), order("sort_desc(g)")), ("cab".to_owned(), "acb".to_owned()));
    assert_eq!(order("topk(3, g)"), "acb");
    assert_eq!(order("bottomk(2, g)"), "ca");
}

#[test]
fn over_a_span_each_instant_is_on_its_own_and_a_gap_stays_one() {
    let history = history(10, &["g{a=\"1\"} 1 2 _ 4", "g{a=\"2\"} 10 20 30 40"]);
    let span = Span { start_ms: 0, end_ms: 30_000, step_ms: 10_000 };
    let series = |expr: &str| match evaluate_range(&parse(expr).unwrap(), &history, span).unwrap() {
        Data::Matrix(series) => series,
        other => panic!("{other:?}"),
    };
    assert_eq!(series("sum(g)")[0].points, [(0, 11.0), (10_000, 22.0), (20_000, 30.0), (30_000, 44.0)]);
    assert_eq!(series("g{a=\"1\"}")[0].points, [(0, 1.0), (10_000, 2.0), (30_000, 4.0)]);
    assert_eq!(series("g > 15")[0].points.len(), 3);
    assert_eq!(series("time()")[0].points[3], (30_000, 30.0));
    let refusal = evaluate_range(&parse("g[1m]").unwrap(), &history, span).unwrap_err();
    assert!(matches!(refusal, Refusal::Execution(_)));
}

#[test]
fn what_is_not_evaluated_is_refused_by_name_and_what_is_no_promql_as_such() {
    let history = History::default();
    for (expr, what) in [
        ("label_replace(a, \"b\", \"c\", \"d\", \"e\")", "the function label_replace()"),
        ("predict_linear(a[5m], 60)", "the function predict_linear()"),
        ("max_over_time(rate(a[1m])[5m:10s])", "a subquery, [range:step]"),
        ("a @ 10", "the modifier @"),
        ("stddev(a)", "the aggregation stddev"),
        ("count_values(\"v\", a)", "the aggregation count_values"),
        ("a atan2 b", "the operator atan2"),
    ] {
        assert_eq!(refused(&history, expr), Refusal::Unsupported(what.to_owned()), "{expr}");
    }
    for expr in ["", "sum(", "rate(a)", "a{", "nosuch(a)", "1 +", "{a=~\"(\"}", "\"a\" + 1", "{}"] {
        assert!(matches!(refused(&history, expr), Refusal::Syntax(_)), "{expr}");
    }
}

#[test]
fn every_expression_of_the_catalogue_and_of_the_screens_can_be_evaluated_here() {
    use crate::metrics::overview::{Scope, questions};
    let mut exprs: Vec<String> = Vec::new();
    for service in [None, Some("orders".to_owned())] {
        let scope = Scope { service, window: "1m".to_owned() };
        exprs.extend(questions(&scope).into_iter().map(|question| question.expr));
    }
    for slo in rtc_metrics::slo::ALL {
        exprs.extend([slo.bad("5m"), slo.events("5m"), slo.error_ratio("5m"), slo.recorded_ratio("5m")]);
    }
    for expr in exprs {
        let query = parse(&expr).unwrap_or_else(|refusal| panic!("{expr}: {refusal:?}"));
        evaluate_instant(&query, &History::default(), 0).unwrap();
    }
}
