//! Rules that every entry of the catalogue keeps.

use std::collections::HashSet;

use crate::slo::{ALL as SLOS, BURNS, Severity, WINDOWS, minutes};
use crate::{Kind, Metric, Unit, all, of_sample};

#[test]
fn every_name_is_there_once_and_says_what_it_counts_in() {
    let mut seen = HashSet::new();
    for metric in all() {
        let Metric { name, kind, unit, .. } = metric;
        assert!(seen.insert(*name), "{name} is there twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        let ours = ["rtc_", "http_server_", "http_client_", "messaging_", "process_"];
        assert!(ours.iter().any(|prefix| name.starts_with(prefix)), "{name} has no prefix of ours");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name} is a {}", kind.as_str());
        assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name} is a {}", kind.as_str());
        let stem = metric.family();
        match unit {
            Unit::Seconds => assert!(stem.ends_with("_seconds"), "{name} is in seconds"),
            Unit::Bytes => assert!(stem.ends_with("_bytes"), "{name} is in bytes"),
            Unit::Ratio => assert!(stem.ends_with("_ratio"), "{name} is a ratio"),
            Unit::Money => assert!(stem.ends_with("_minor"), "{name} is in minor units"),
            Unit::Count => assert!(
                ["_seconds", "_bytes", "_ratio", "_minor", "_ms", "_percent"]
                    .iter()
                    .all(|end| !stem.ends_with(end)),
                "{name} has a unit in its name and none in the catalogue"
            ),
        }
        assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}: {:?}", metric.help);
    }
}

#[test]
fn buckets_rise_and_only_histograms_have_them() {
    for metric in all() {
        assert_eq!(!metric.buckets.is_empty(), metric.kind == Kind::Histogram, "{}", metric.name);
        assert!(metric.buckets.is_sorted(), "{}: {:?}", metric.name, metric.buckets);
    }
}

#[test]
fn every_label_is_bounded_and_none_is_an_id() {
    for metric in all() {
        for label in metric.labels {
            assert!((1..=300).contains(&label.bound()), "{} {}", metric.name, label.name);
            assert!(
                !["id", "user", "order", "sku", "path", "url", "key", "trace_id"].contains(&label.name)
                    && !label.name.ends_with("_id"),
                "{} has the label {}",
                metric.name,
                label.name
            );
        }
    }
}

#[test]
fn a_sample_finds_its_metric() {
    let of = |name| of_sample(name).map(|metric| metric.name);
    assert_eq!(
        of("http_server_request_duration_seconds_bucket"),
        Some("http_server_request_duration_seconds")
    );
    assert_eq!(of("rtc_orders_total"), Some("rtc_orders_total"));
    assert_eq!(of("rtc_orders"), None);
    assert_eq!(of("rtc_orders_total_count"), None);
}

#[test]
fn a_burn_uses_windows_that_are_recorded_and_says_when_it_fires() {
    for burn in BURNS {
        assert!(WINDOWS.contains(&burn.long) && WINDOWS.contains(&burn.short), "{burn:?}");
        // Every event bad: a page within half an hour, a ticket within an hour.
        for slo in &SLOS {
            let minutes = burn.minutes_to_fire(slo);
            let most = if burn.severity == Severity::Page { 30.0 } else { 60.0 };
            assert!(minutes > 0.0 && minutes <= most, "{}: {burn:?} takes {minutes} min", slo.name);
        }
    }
}

#[test]
fn an_objective_leaves_the_budget_that_it_says() {
    let availability = SLOS[0];
    assert_eq!((minutes("5m"), minutes("6h"), minutes("3d")), (5.0, 360.0, 4_320.0));
    assert!(
        (availability.objective() - 0.999).abs() < 1e-12 && (availability.budget() - 0.001).abs() < 1e-12
    );
    assert_eq!(
        availability.error_ratio("5m"),
        "(sum(rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[5m])) or \
         vector(0)) / (sum(rate(http_server_request_duration_seconds_count[5m])) > 0)"
    );
}
