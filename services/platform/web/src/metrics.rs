//! Request metrics by OpenTelemetry's conventions in Prometheus form.
//!
//! Invariant: labels are bounded: the route is its template, never the path; an unknown method is `_OTHER`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// OpenTelemetry's advised bounds for `http.server.request.duration`, in seconds.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: &'static str,
    http_response_status_code: u16,
    service: &'static str,
}

/// Durations of requests by method, route and status.
#[derive(Clone)]
pub struct HttpMetrics {
    durations: Family<RequestLabels, Histogram>,
}

impl HttpMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests",
            durations.clone(),
        );
        Self { durations }
    }

    pub fn observe(
        &self,
        service: &'static str,
        method: &http::Method,
        route: &'static str,
        status: u16,
        seconds: f64,
    ) {
        let labels = RequestLabels {
            http_request_method: method_name(method),
            http_route: route,
            http_response_status_code: status,
            service,
        };
        self.durations.get_or_create(&labels).observe(seconds);
    }
}

use axum::http;

fn method_name(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        http::Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The registry in Prometheus' text form (OpenMetrics).
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}
