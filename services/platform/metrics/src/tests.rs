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
    let of = |labels: &str| {
        format!(
            "sum(rate(http_server_request_duration_seconds_count{{job=\"rtcd\", hop=\"entry\", \
             http_route!=\"_OTHER\"{labels}}}[5m]))"
        )
    };
    let failed = of(", http_response_status_code=~\"5..\"");
    let answered = of(", http_response_status_code!=\"499\"");
    assert_eq!(availability.error_ratio("5m"), format!("({failed} or vector(0)) / ({answered} > 0)"));
    // Whoever gave up after a second was not answered within half of one.
    assert_eq!(SLOS[1].events("5m"), of(""));
}

#[test]
fn a_name_that_others_use_too_is_asked_of_the_platform_alone() {
    for metric in all() {
        let asked = [metric.select(""), metric.select("a=\"b\""), metric.count(""), metric.bucket("a=\"b\"")];
        let is_ours = metric.name.starts_with("rtc_");
        assert!(asked.iter().all(|one| one.contains("job=\"rtcd\"") != is_ours), "{asked:?}");
    }
    assert_eq!(crate::PROCESS_CPU.select(""), "process_cpu_seconds_total{job=\"rtcd\"}");
    let unscoped = |text: &str| crate::unscoped(text).unwrap_or_default();
    assert_eq!(unscoped("sum(process_open_fds) / on () up"), "process_open_fds");
    assert_eq!(unscoped("process_open_fds{instance=\"a\"}"), "process_open_fds");
    assert_eq!(unscoped("my_process_open_fds + process_open_fds_total + rtc_ready"), "");
    assert_eq!(unscoped(&crate::HTTP_SERVER_REQUEST_DURATION.bucket("le=\"1\"")), "");
    assert_eq!(crate::ORDERS.select("state=\"placed\""), "rtc_orders_total{state=\"placed\"}");
}

#[test]
fn the_short_history_is_longer_than_the_most_patient_rule() {
    let reach = (crate::HISTORY_POINTS as u64 - 1) * crate::HISTORY_EVERY_SECONDS;
    assert!(reach >= crate::ALERT_AFTER_MAX_SECONDS + 2 * crate::EVALUATED_EVERY_SECONDS, "{reach} s");
}
