//! What an operator sees of the numbers' making: events taken in, those that came too late, listeners, computations.
//!
//! Invariant: the only labels are the sizes of windows.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rtc_metrics::{ANALYTICS_COMPUTATIONS, ANALYTICS_EVENTS, ANALYTICS_LISTENERS, LATE_EVENTS};

use crate::domain::tumble::Size;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabels {
    window: &'static str,
}

/// The service's metrics. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    events: Counter,
    late: Family<WindowLabels, Counter>,
    /// Who listens to the live numbers.
    pub listeners: Gauge,
    /// How often the live numbers were computed, for however many listeners.
    pub computations: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(ANALYTICS_EVENTS.family(), ANALYTICS_EVENTS.help, metrics.events.clone());
        registry.register(LATE_EVENTS.family(), LATE_EVENTS.help, metrics.late.clone());
        let of = &ANALYTICS_LISTENERS;
        registry.register(of.family(), of.help, metrics.listeners.clone());
        let of = &ANALYTICS_COMPUTATIONS;
        registry.register(of.family(), of.help, metrics.computations.clone());
        // There from the start: a counter that appears with its first event hides that event from a rate.
        metrics.counted(0, [0; 5]);
        metrics
    }

    pub fn counted(&self, messages: u64, late: [u64; 5]) {
        self.events.inc_by(messages);
        for (size, late) in Size::ALL.into_iter().zip(late) {
            self.late.get_or_create_owned(&WindowLabels { window: size.as_str() }).inc_by(late);
        }
    }
}
