//! What somebody is told of. Symptoms that callers feel, money, and that nothing is seen any more; no causes.

use rtc_metrics::slo::{ALL as SLOS, BURNS, Severity, Slo};
use rtc_metrics::{self as m, Kind, Metric};

use super::Scale;

/// One rule that alarms.
pub struct Alert {
    pub name: &'static str,
    pub expression: String,
    /// How long it has to be so.
    pub after: String,
    pub severity: Severity,
    pub labels: Vec<(&'static str, String)>,
    /// One line; `{{ $labels.x }}` is filled in.
    pub summary: String,
}

impl Alert {
    pub fn runbook(&self) -> String {
        format!("docs/runbooks/{}.md", self.name)
    }

    /// What tells apart rules of one name: the objective, the metric that is missing.
    pub fn subject(&self) -> Option<String> {
        let of = self.labels.iter().filter(|(name, _)| *name != "burn");
        let subject: Vec<String> = of.map(|(_, value)| value.clone()).collect();
        (!subject.is_empty()).then(|| subject.join("/"))
    }
}

/// A ratio over fewer events than these says little: one bad request of three at night wakes nobody.
pub const EVENTS_MIN: u32 = 20;

pub const FAST: &str = "RtcErrorBudgetBurnsFast";
pub const SLOW: &str = "RtcErrorBudgetBurns";

/// Figures without which nobody would see that something is the matter.
pub const INDISPENSABLE: [&Metric; 7] = [
    &m::HTTP_SERVER_REQUEST_DURATION,
    &m::ORDERS,
    &m::SAGA_STUCK,
    &m::OUTBOX_LAG,
    &m::CONSUMER_LAG,
    &m::DLQ_DEPTH,
    &m::LEDGER_IMBALANCE,
];

fn alert(
    name: &'static str,
    severity: Severity,
    after: &'static str,
    expression: String,
    summary: &str,
) -> Alert {
    Alert {
        name,
        expression,
        after: after.to_owned(),
        severity,
        labels: Vec::new(),
        summary: summary.to_owned(),
    }
}

fn burns(slo: &Slo, severity: Severity, scale: Scale) -> Alert {
    let ways: Vec<String> = BURNS
        .iter()
        .filter(|burn| burn.severity == severity)
        .map(|burn| {
            let threshold = format!("{:.5}", burn.threshold(slo)).trim_end_matches('0').to_owned();
            let (long, short) = (slo.recorded_ratio(burn.long), slo.recorded_ratio(burn.short));
            // A window that has only begun extrapolates: it counts what it has seen.
            let events = slo.events(&scale.window(burn.long));
            let enough = format!("{events} * {} > {EVENTS_MIN}", scale.seconds(burn.long));
            format!("({long} > {threshold} and {short} > {threshold} and on () ({enough}))")
        })
        .collect();
    let (name, how) = match severity {
        Severity::Page => (FAST, "so fast that it will not last for days"),
        Severity::Ticket => (SLOW, "faster than it may"),
    };
    Alert {
        name,
        expression: ways.join(" or "),
        after: "0s".to_owned(),
        severity,
        labels: vec![("slo", slo.name.to_owned())],
        summary: format!("{}: the error budget is used up {how}", slo.title),
    }
}

/// The alerts of all objectives.
pub fn burning(scale: Scale) -> Vec<Alert> {
    let both = |slo| [Severity::Page, Severity::Ticket].map(|severity| burns(slo, severity, scale));
    SLOS.iter().flat_map(both).collect()
}

/// One sample of a metric, whatever its labels.
pub fn sample_of(metric: &Metric) -> String {
    if metric.kind == Kind::Histogram { metric.count("") } else { metric.select("") }
}

/// Whether anything of a figure is there while a target is up: without targets another alert fires.
fn missing(metric: &Metric) -> Alert {
    let sample = sample_of(metric);
    Alert {
        labels: vec![("metric", metric.name.to_owned())],
        ..alert(
            "RtcFigureMissing",
            Severity::Ticket,
            "10m",
            format!("absent({sample}) and on () (sum(up{{job=\"rtcd\"}}) > 0)"),
            &format!("nobody says {} any more: what it would warn of is not seen", metric.name),
        )
    }
}

/// All rules, in the order of their files.
pub fn alerts() -> Vec<Alert> {
    use Severity::{Page, Ticket};
    let mut alerts = burning(Scale::ONE);
    alerts.extend([
        alert(
            "RtcSagaStuck",
            Page,
            "2m",
            format!("max by (saga) ({}) > 0", m::SAGA_STUCK.name),
            "{{ $value }} sagas of {{ $labels.saga }} are past their deadline and nobody takes them further",
        ),
        alert(
            "RtcOutboxGrowing",
            Page,
            "2m",
            format!("max by (service) ({}) > 60", m::OUTBOX_LAG.name),
            "the oldest message in the outbox of {{ $labels.service }} has waited {{ $value }} s for the bus",
        ),
        alert(
            "RtcConsumerLagging",
            Ticket,
            "10m",
            format!("sum by (group) (max by (group, topic) ({})) > 1000", m::CONSUMER_LAG.name),
            "{{ $labels.group }} is {{ $value }} messages behind",
        ),
        alert(
            "RtcConsumerStalled",
            Page,
            "5m",
            format!(
                "(sum by (group) (max by (group, topic) ({lag})) > 0) unless on (group) \
                 (sum by (group) (label_replace(rate({handled}[5m]), \"group\", \"$1\", \
                 \"messaging_consumer_group_name\", \"(.+)\")) > 0)",
                lag = m::CONSUMER_LAG.name,
                // What was delivered counts again each time that it fails: progress is what was handled.
                handled = m::MESSAGING_PROCESS_DURATION.count("error_type=\"\"")
            ),
            "{{ $labels.group }} has {{ $value }} messages before it and handles none",
        ),
        alert(
            "RtcDeadLetters",
            Ticket,
            "1m",
            format!("max by (group) ({}) > 0", m::DLQ_DEPTH.name),
            "{{ $labels.group }} has parked {{ $value }} messages",
        ),
        alert(
            "RtcLedgerImbalance",
            Page,
            "0s",
            format!("max({}) > 0", m::LEDGER_IMBALANCE.name),
            "the bank's ledger does not balance",
        ),
        alert(
            "RtcReconciliationDifferences",
            Page,
            "10m",
            format!("max({}) > 0", m::RECONCILIATION_DIFFERENCES.name),
            "the bank and the payments differ in {{ $value }} places",
        ),
        alert(
            "RtcStockLow",
            Ticket,
            "15m",
            format!("max by (level) ({}{{level=~\"low|out\"}}) > 0", m::STOCK_SKUS.name),
            "{{ $value }} articles are {{ $labels.level }} of stock",
        ),
        alert(
            "RtcBusAway",
            Page,
            "2m",
            format!("min by (instance) ({}) == 0", m::BUS_UP.name),
            "the event bus does not answer {{ $labels.instance }}",
        ),
        alert(
            "RtcNotReady",
            Ticket,
            "5m",
            format!("min by (instance) ({}) == 0", m::READY.name),
            "{{ $labels.instance }} runs and takes no requests",
        ),
        alert(
            "RtcDescriptorsScarce",
            Ticket,
            "5m",
            format!("{} / {} > 0.8", m::PROCESS_FDS.select(""), m::PROCESS_MAX_FDS.select("")),
            "{{ $labels.instance }} has opened more than four fifths of the files and connections that it may",
        ),
        alert(
            "RtcProcessDown",
            Ticket,
            "2m",
            format!("min by (process, replica) ({}) == 0", m::SPLIT_UP.name),
            "replica {{ $labels.replica }} of {{ $labels.process }} does not serve",
        ),
        alert(
            "RtcServiceDown",
            Page,
            "1m",
            format!("max by (process) ({}) == 0", m::SPLIT_UP.name),
            "no process of {{ $labels.process }} serves",
        ),
        alert(
            "RtcTargetDown",
            Page,
            "1m",
            "up{job=\"rtcd\"} == 0".to_owned(),
            "{{ $labels.instance }} does not answer Prometheus",
        ),
        alert(
            "RtcNotScraped",
            Page,
            "5m",
            "absent(up{job=\"rtcd\"})".to_owned(),
            "Prometheus has no target that is an rtcd: nothing is watched",
        ),
    ]);
    alerts.extend(INDISPENSABLE.into_iter().map(missing));
    alerts
}
