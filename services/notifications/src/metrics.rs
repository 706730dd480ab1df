//! Figures: what became of notifications, and how often it is not known whether a provider has one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rtc_metrics::{NOTIFICATIONS, NOTIFICATIONS_AMBIGUOUS};

/// What can become of an attempt.
const RESULTS: [&str; 4] = ["sent", "deferred", "failed", "suppressed"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    channel: &'static str,
    result: &'static str,
}

#[derive(Clone, Default)]
pub(crate) struct Metrics {
    notifications: Family<Labels, Counter>,
    ambiguous: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        for result in RESULTS {
            drop(metrics.notifications.get_or_create(&Labels { channel: "email", result }));
        }
        registry.register(NOTIFICATIONS.family(), NOTIFICATIONS.help, metrics.notifications.clone());
        let of = &NOTIFICATIONS_AMBIGUOUS;
        registry.register(of.family(), of.help, metrics.ambiguous.clone());
        metrics
    }

    pub(crate) fn count(&self, result: &'static str) {
        self.notifications.get_or_create(&Labels { channel: "email", result }).inc();
    }

    pub(crate) fn count_ambiguous(&self, by: u64) {
        self.ambiguous.inc_by(by);
    }
}
