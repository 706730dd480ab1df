//! The catalogue of metrics: what each is called, what it counts in, which labels it has, who emits it.
//!
//! Invariants:
//! - data alone, without a dependency: services register by it, dashboards and rules are generated from it, rtcctl
//!   asks by it, so that none can use a name that another does not know;
//! - every label is bounded, and says by what: no id, no path, no text from outside is ever one;
//! - names are Prometheus': base units, `_total` for counters, `rtc_` before what is ours and OpenTelemetry's own names
//!   where it has them (semantic conventions 1.44).

mod commerce;
mod edges;
mod platform;
pub mod slo;
#[cfg(test)]
mod tests;

pub use commerce::*;
pub use edges::*;
pub use platform::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    Gauge,
    /// `_bucket{le=…}`, `_sum`, `_count`.
    Histogram,
    /// A gauge that is always 1 and whose labels say something; its name ends in `_info`.
    Info,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }

    /// What stands in the line `# TYPE`.
    pub const fn exposed(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things: requests, orders, messages.
    Count,
    Seconds,
    Bytes,
    /// 0 to 1.
    Ratio,
    /// Minor units of the currency in the label.
    Money,
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "ratio",
            Unit::Money => "minor units",
        }
    }

    /// Grafana's name of it.
    pub const fn grafana(self) -> &'static str {
        match self {
            Unit::Count | Unit::Money => "short",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
            Unit::Ratio => "percentunit",
        }
    }
}

/// What a label can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One of these; an empty string where there is nothing to say.
    OneOf(&'static [&'static str]),
    /// A name from a table of the program, of which there are at most so many.
    AtMost(usize, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

impl Label {
    /// How many different values there can be.
    pub const fn bound(&self) -> usize {
        match self.values {
            Values::OneOf(values) => values.len(),
            Values::AtMost(most, _) => most,
        }
    }
}

/// Where a metric can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Wherever its emitter runs.
    Always,
    /// Once what it counts has happened: a family without a member is not exposed.
    Happened,
    /// From the supervisor of `rtcd split`, and the calls between its processes.
    Split,
}

/// The job under which a scraper knows every process of the platform.
pub const JOB: &str = "rtcd";

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// As a query names it: a counter with its `_total`, a histogram without `_bucket`.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [Label],
    /// A sentence without a full stop.
    pub help: &'static str,
    /// The crate that counts: `web`, `orders`.
    pub emitter: &'static str,
    /// Upper bounds of a histogram's buckets, without `+Inf`.
    pub buckets: &'static [f64],
    pub when: When,
}

impl Metric {
    /// The name of its family: what a registry is given, and what OpenMetrics says in `# TYPE`.
    pub fn family(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            _ => self.name,
        }
    }

    /// The names under which its samples stand on a page.
    pub fn samples(&self) -> Vec<String> {
        match self.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", self.name)).to_vec()
            }
            _ => vec![self.name.to_owned()],
        }
    }

    /// Whether programs that are not ours have metrics of this name too.
    pub fn is_shared(&self) -> bool {
        !self.name.starts_with("rtc_")
    }

    /// PromQL: its series with these labels (`a="b", c="d"`). Where others use the name too, those of the platform.
    pub fn select(&self, labels: &str) -> String {
        self.selected("", labels)
    }

    /// The same of a histogram's number of events.
    pub fn count(&self, labels: &str) -> String {
        self.selected("_count", labels)
    }

    /// The same of a histogram's buckets.
    pub fn bucket(&self, labels: &str) -> String {
        self.selected("_bucket", labels)
    }

    fn selected(&self, part: &str, labels: &str) -> String {
        let name = self.name;
        match (self.is_shared(), labels) {
            (false, "") => format!("{name}{part}"),
            (false, _) => format!("{name}{part}{{{labels}}}"),
            (true, "") => format!("{name}{part}{{job=\"{JOB}\"}}"),
            (true, _) => format!("{name}{part}{{job=\"{JOB}\", {labels}}}"),
        }
    }

    /// How many series there can be of it, buckets included.
    pub fn series_max(&self) -> usize {
        let each = if self.kind == Kind::Histogram { self.buckets.len() + 3 } else { 1 };
        self.labels.iter().map(Label::bound).product::<usize>() * each
    }

    pub fn label(&self, name: &str) -> Option<&'static Label> {
        self.labels.iter().find(|label| label.name == name)
    }
}

/// Every metric that there is.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    edges::ALL.iter().chain(&platform::ALL).chain(&commerce::ALL).copied()
}

/// The metric to which a sample of this name belongs: `…_bucket` to its histogram.
pub fn of_sample(name: &str) -> Option<&'static Metric> {
    let is_part = |metric: &Metric| {
        let rest = name.strip_prefix(metric.name);
        metric.kind == Kind::Histogram && matches!(rest, Some("_bucket" | "_sum" | "_count"))
    };
    all().find(|metric| metric.name == name || is_part(metric))
}

/// The first name in a text of PromQL that other programs use too and that is not asked of the platform alone.
pub fn unscoped(promql: &str) -> Option<String> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let names = all().filter(|metric| metric.is_shared()).flat_map(Metric::samples);
    names.into_iter().find(|name| {
        promql.match_indices(name.as_str()).any(|(at, _)| {
            let (before, after) = (&promql[..at], &promql[at + name.len()..]);
            let is_whole = !before.bytes().next_back().is_some_and(is_of_name)
                && !after.bytes().next().is_some_and(is_of_name);
            is_whole && !after.starts_with(&format!("{{job=\"{JOB}\""))
        })
    })
}

pub(crate) const fn label(name: &'static str, values: Values) -> Label {
    Label { name, values }
}

/// A service of this process, or `gateway`.
pub(crate) const SERVICE: Label = label("service", Values::AtMost(16, "services"));

pub(crate) const fn counter(
    name: &'static str,
    labels: &'static [Label],
    emitter: &'static str,
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels,
        help,
        emitter,
        buckets: &[],
        when: When::Always,
    }
}

pub(crate) const fn gauge(
    name: &'static str,
    labels: &'static [Label],
    emitter: &'static str,
    help: &'static str,
) -> Metric {
    Metric { kind: Kind::Gauge, ..counter(name, labels, emitter, help) }
}

pub(crate) const fn seconds(
    name: &'static str,
    buckets: &'static [f64],
    labels: &'static [Label],
    emitter: &'static str,
    help: &'static str,
) -> Metric {
    Metric { kind: Kind::Histogram, unit: Unit::Seconds, buckets, ..counter(name, labels, emitter, help) }
}
