//! docs/METRICS.md: the catalogue as a page to read.

use rtc_metrics::slo::{ALL as SLOS, BURNS};
use rtc_metrics::{Kind, Metric, Values, When, all};

const HEAD: &str = "\
# Metrics

Generated from the catalogue (`services/platform/metrics`) by `cargo xtask dashboards`; CI compares.

`GET /metrics` on the operator's port answers in Prometheus' text form, or in OpenMetrics' where `Accept` names it: then
histograms of requests carry exemplars with a `trace_id`. `GET /admin/metrics/history?since_ms=` (operator's token) answers with
the last sixteen minutes, a sample every five seconds, for whoever has no Prometheus: what was not there is `null`, and what
is no number is one of the texts `NaN`, `+Inf`, `-Inf`. At most 6,000 series are kept. That is as long as it takes to judge the
most patient alert; `rtcctl` evaluates the alert rules over it, and the recorded ratios that they name. Of a platform of several
processes each keeps its own, and the supervisor what it knows alone.

Rules for a new metric: an entry in the catalogue first; base units and `_total` in its name; every label bounded, and by what; no
id, no path, no text from outside. A test of the running shop fails where a name is exposed that is not in the catalogue, where
one of the catalogue is not exposed, and where a label says what it may not.

A gauge that is counted in a database (`rtc_outbox_depth`, `rtc_saga_stuck` …) is told by every process that has the database:
take the greatest, not the sum. Such gauges are looked at every five seconds. Rows beyond a bound are not counted: of outboxes and
dead letters 100,000, of sagas 50,000, of articles 1,000,000. The ledger is summed whole, so at most once a minute and in at most
a sixtieth of the time. Where a look fails or takes longer than four seconds, `rtc_looks_failed_total` counts it, and what the look
told before is absent until one succeeds: no old figure stands for now.

Names that other programs have too (`http_*`, `process_*`, `messaging_*`) are asked with `job=\"rtcd\"`, everywhere: dashboards,
rules and rtcctl get their selectors from the catalogue, and a test refuses one without it.

`hop` says where a request was counted: `entry` where it came in, `inner` where a process of ours sent it on, which it shows by the
house's token. A sum over all services takes `hop=\"entry\"`, or in a platform of several processes it counts requests twice.
";

fn labels(metric: &Metric) -> String {
    let label = |label: &rtc_metrics::Label| match label.values {
        Values::OneOf(values) => {
            let shown: Vec<&str> =
                values.iter().map(|value| if value.is_empty() { "(none)" } else { value }).collect();
            format!("`{}`: {}", label.name, shown.join(", "))
        }
        Values::AtMost(most, what) => format!("`{}`: {what}, at most {most}", label.name),
    };
    metric.labels.iter().map(label).collect::<Vec<_>>().join("; ")
}

pub fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut emitters: Vec<&str> = all().map(|metric| metric.emitter).collect();
    emitters.sort_unstable();
    emitters.dedup();
    for emitter in emitters {
        text.push_str(&format!(
            "\n## {emitter}\n\n| metric | kind | what | labels |\n| --- | --- | --- | --- |\n"
        ));
        for metric in all().filter(|metric| metric.emitter == emitter) {
            let unit = metric.unit.as_str();
            let kind = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            let when = match metric.when {
                When::Always => "",
                When::Happened => " (once it has happened)",
                When::Split => " (in a platform of several processes)",
            };
            text.push_str(&format!(
                "| `{}` | {}{kind} | {}{when} | {} |\n",
                metric.name,
                metric.kind.as_str(),
                metric.help,
                labels(metric)
            ));
        }
    }
    text.push_str("\n## Buckets\n\nUpper bounds in seconds.\n\n| metric | bounds |\n| --- | --- |\n");
    for metric in all().filter(|metric| metric.kind == Kind::Histogram) {
        let bounds: Vec<String> = metric.buckets.iter().map(f64::to_string).collect();
        text.push_str(&format!("| `{}` | {} |\n", metric.name, bounds.join(" ")));
    }
    text.push_str("\n## Objectives\n\nOver 30 days. Requests count where they came in (`hop=\"entry\"`), and not where their address is no route of ours \
         (`_OTHER`). One whose caller went away before it was answered (499) is no event of `availability`; for `latency` it is as \
         slow as it was when it was given up.\n\n| objective | what | of all, at least | budget |\n| --- | --- | --- | --- |\n");
    for slo in &SLOS {
        let percent = |share: f64| format!("{} %", (share * 100_000.0).round() / 1_000.0);
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            slo.name,
            slo.title,
            percent(slo.objective()),
            percent(slo.budget())
        ));
    }
    text.push_str(
        "\nA budget that burns too fast fires when the ratio is above factor × budget over both windows. *Fires after*: \
         with even traffic, from the minute on from which every event is bad.\n\n\
         | factor | windows | severity | fires after |\n| --- | --- | --- | --- |\n",
    );
    for burn in &BURNS {
        let after: Vec<String> =
            SLOS.iter().map(|slo| format!("{} {:.1} min", slo.name, burn.minutes_to_fire(slo))).collect();
        text.push_str(&format!(
            "| {} | {} and {} | {} | {} |\n",
            burn.factor,
            burn.long,
            burn.short,
            burn.severity.as_str(),
            after.join(", ")
        ));
    }
    text
}
