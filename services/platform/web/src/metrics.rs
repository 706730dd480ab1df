//! Request metrics by OpenTelemetry's conventions in Prometheus form, and the two forms of a page of metrics.
//!
//! Invariants: labels are bounded: the route is its template, never the path; a route that is not there is `_OTHER`, and
//! so is a method that nobody knows. A request from outside is counted as one at the entry in one process alone, however
//! many of ours it goes through.

use axum::http::{HeaderMap, Method, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rtc_metrics as catalogue;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: &'static str,
    http_response_status_code: u16,
    hop: &'static str,
    service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShedLabels {
    service: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    service: &'static str,
    http_request_method: &'static str,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabel {
    trace_id: String,
}

type Durations =
    Family<RequestLabels, HistogramWithExemplars<TraceLabel>, fn() -> HistogramWithExemplars<TraceLabel>>;
type Calls = Family<CallLabels, Histogram, fn() -> Histogram>;

/// Where on its way a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// It came from outside.
    Entry,
    /// A process of ours sent it, and has counted it if it came from outside.
    Inner,
}

/// Why a request is refused before anything is done for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    Overloaded,
    Pressure,
    Deadline,
    RateLimited,
}

impl Shed {
    const fn reason(self) -> &'static str {
        catalogue::SHED_REASONS[self as usize]
    }
}

/// Rate, errors and duration of requests by method, route and status; what is at work, what was refused.
#[derive(Clone)]
pub struct HttpMetrics {
    durations: Durations,
    active: Family<ServiceLabel, Gauge>,
    shed: Family<ShedLabels, Counter>,
    calls: Calls,
}

/// What a request was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct What<'a> {
    pub service: &'static str,
    pub method: &'a Method,
    pub route: &'static str,
    pub hop: Hop,
}

/// A request at work.
pub(crate) struct Active(Gauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl HttpMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            durations: Family::new_with_constructor(|| {
                HistogramWithExemplars::new(catalogue::HTTP_BUCKETS.into_iter())
            }),
            active: Family::default(),
            shed: Family::default(),
            calls: Family::new_with_constructor(|| Histogram::new(catalogue::HTTP_BUCKETS)),
        };
        let Self { durations, active, shed, calls } = metrics.clone();
        let of = &catalogue::HTTP_SERVER_REQUEST_DURATION;
        registry.register(of.family(), of.help, durations);
        let of = &catalogue::HTTP_SERVER_ACTIVE_REQUESTS;
        registry.register(of.family(), of.help, active);
        let of = &catalogue::HTTP_SHED;
        registry.register(of.family(), of.help, shed);
        let of = &catalogue::HTTP_CLIENT_REQUEST_DURATION;
        registry.register(of.family(), of.help, calls);
        metrics
    }

    /// Has the series of a service on the page before anything has happened, so that their first increase is seen.
    pub fn expect(&self, service: &'static str) {
        drop(self.active.get_or_create(&ServiceLabel { service }));
        for reason in catalogue::SHED_REASONS {
            drop(self.shed.get_or_create(&ShedLabels { service, reason }));
        }
    }

    pub fn observe(
        &self,
        service: &'static str,
        method: &Method,
        route: &'static str,
        status: u16,
        seconds: f64,
        trace_id: Option<String>,
    ) {
        let what = What { service, method, route, hop: Hop::Entry };
        self.observe_at(&what, status, seconds, trace_id);
    }

    pub(crate) fn observe_at(&self, what: &What<'_>, status: u16, seconds: f64, trace_id: Option<String>) {
        let What { service, method, route, hop } = *what;
        let labels = RequestLabels {
            http_request_method: method_name(method),
            http_route: route,
            http_response_status_code: status,
            hop: catalogue::HOPS[hop as usize],
            service,
        };
        let exemplar = trace_id.map(|trace_id| TraceLabel { trace_id });
        self.durations.get_or_create(&labels).observe(seconds, exemplar, None);
    }

    /// A request to an address that is not in any table.
    pub fn unmatched(&self, service: &'static str, method: &Method, status: u16) {
        self.observe(service, method, catalogue::OTHER, status, 0.0, None);
    }

    pub(crate) fn begins(&self, service: &'static str) -> Active {
        let gauge = self.active.get_or_create_owned(&ServiceLabel { service });
        gauge.inc();
        Active(gauge)
    }

    pub(crate) fn shed(&self, service: &'static str, why: Shed) {
        self.shed.get_or_create(&ShedLabels { service, reason: why.reason() }).inc();
    }

    /// A call to a service in another process: `status` is `None` where nobody answered.
    pub(crate) fn called(&self, service: &'static str, method: &Method, status: Option<u16>, seconds: f64) {
        let error_type = match status {
            None => "unanswered",
            Some(500..) => "5xx",
            Some(400..) => "4xx",
            Some(_) => "",
        };
        let labels = CallLabels { service, http_request_method: method_name(method), error_type };
        self.calls.get_or_create(&labels).observe(seconds);
    }
}

pub(crate) fn method_name(method: &Method) -> &'static str {
    let known = catalogue::METHODS.iter().find(|name| **name == method.as_str());
    known.copied().unwrap_or(catalogue::OTHER)
}

/// The form of a page of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With exemplars.
    OpenMetrics,
    /// What everybody reads (version 0.0.4).
    Text,
}

impl Format {
    /// What whoever asks takes: OpenMetrics where it is named.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let named = accepts.flat_map(|value| value.split(',')).any(|part| {
            let mut words = part.split(';').map(str::trim);
            words.next() == Some("application/openmetrics-text") && !words.any(|word| word == "q=0")
        });
        if named { Format::OpenMetrics } else { Format::Text }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// A page of OpenMetrics in this form.
    pub fn of(self, page: String) -> String {
        match self {
            Format::OpenMetrics => page,
            Format::Text => as_text(&page),
        }
    }
}

/// The registry as a page of OpenMetrics.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

/// What the older form says differently: a counter's family has its samples' name; there are no exemplars, no units and
/// no end.
fn as_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line.split(" # {").next().unwrap_or(line));
            text.push('\n');
            continue;
        };
        let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_counter = |line: &str| {
            line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_prefix(name)) == Some(" counter")
        };
        let ending = match word {
            "HELP" if lines.peek().is_some_and(|next| is_counter(next)) => "_total",
            "TYPE" if is_counter(line) => "_total",
            "HELP" | "TYPE" => "",
            _ => continue,
        };
        text.push_str(&format!("# {word} {name}{ending} {rest}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Format::wanted(&headers)
    }

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        // What Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(wanted(prometheus), Format::OpenMetrics);
        assert_eq!(wanted("text/plain; version=0.0.4"), Format::Text);
        assert_eq!(wanted("*/*"), Format::Text);
        assert_eq!(wanted("application/openmetrics-text;q=0, text/plain"), Format::Text);
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn both_forms_say_the_same_and_exemplars_stand_in_one() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        metrics.observe("orders", &Method::POST, "/orders", 202, 0.003, Some("ab12".to_owned()));
        metrics.shed("orders", Shed::RateLimited);
        let page = encode(&registry);
        let name = "http_server_request_duration_seconds";
        let labels = "http_request_method=\"POST\",http_route=\"/orders\",http_response_status_code=\"202\",\
                      hop=\"entry\",service=\"orders\"";
        assert!(
            page.contains(&format!(
                "{name}_bucket{{{labels},le=\"0.005\"}} 1 # {{trace_id=\"ab12\"}} 0.003\n"
            )) || page.contains(&format!(
                "{name}_bucket{{le=\"0.005\",{labels}}} 1 # {{trace_id=\"ab12\"}} 0.003\n"
            )),
            "{page}"
        );
        assert!(page.contains("# TYPE rtc_http_shed counter\n") && page.ends_with("# EOF\n"), "{page}");
        let text = Format::Text.of(page.clone());
        assert!(!text.contains("trace_id") && !text.contains("EOF"), "{text}");
        assert!(text.contains("# HELP rtc_http_shed_total Requests refused"), "{text}");
        assert!(text.contains("# TYPE rtc_http_shed_total counter\n"), "{text}");
        assert!(
            text.contains("rtc_http_shed_total{service=\"orders\",reason=\"rate_limited\"} 1\n"),
            "{text}"
        );
        assert!(text.contains(&format!("# TYPE {name} histogram\n")), "{text}");
        assert_eq!(
            page.lines().filter(|line| !line.starts_with('#')).count(),
            text.lines().filter(|line| !line.starts_with('#')).count()
        );
        assert_eq!(Format::OpenMetrics.of(page.clone()), page);
    }

    #[test]
    fn a_method_that_nobody_knows_is_no_label() {
        assert_eq!(method_name(&Method::PATCH), "PATCH");
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        assert_eq!(method_name(&Method::CONNECT), "_OTHER");
    }
}
