//! Figures: what became of notifications, and how often it is not known whether a provider has one.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

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
        registry.register(
            "rtc_notifications",
            "Notifications by channel and what became of an attempt",
            metrics.notifications.clone(),
        );
        registry.register(
            "rtc_notifications_ambiguous",
            "Attempts of which nobody knows whether the provider took them",
            metrics.ambiguous.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, result: &'static str) {
        self.notifications.get_or_create(&Labels { channel: "email", result }).inc();
    }

    pub(crate) fn count_ambiguous(&self, by: u64) {
        self.ambiguous.inc_by(by);
    }
}
