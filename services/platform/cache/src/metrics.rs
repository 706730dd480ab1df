//! What a cache tells of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rtc_metrics::{CACHE_LOOKUPS, CACHE_OUTAGES, CACHE_UP};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

/// Handles on counters; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    lookups: Family<Labels, Counter>,
    hits: Counter,
    misses: Counter,
    unanswered: Counter,
    outages: Counter,
    available: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let lookups = Family::<Labels, Counter>::default();
        let of = |result| lookups.get_or_create(&Labels { result }).clone();
        let (hits, misses, unanswered) = (of("hit"), of("miss"), of("away"));
        let available = Gauge::default();
        available.set(1);
        Self { lookups, hits, misses, unanswered, outages: Counter::default(), available }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register(CACHE_LOOKUPS.family(), CACHE_LOOKUPS.help, self.lookups.clone());
        registry.register(CACHE_OUTAGES.family(), CACHE_OUTAGES.help, self.outages.clone());
        registry.register(CACHE_UP.family(), CACHE_UP.help, self.available.clone());
    }

    pub fn hit(&self) {
        self.hits.inc();
    }

    pub fn miss(&self) {
        self.misses.inc();
    }

    /// Something was asked of a cache that did not answer.
    pub fn unanswered(&self) {
        self.unanswered.inc();
    }

    pub fn went_away(&self) {
        self.outages.inc();
        self.available.set(0);
    }

    pub fn came_back(&self) {
        self.available.set(1);
    }

    /// Hits, misses and what was not answered.
    pub fn lookups(&self) -> (u64, u64, u64) {
        (self.hits.get(), self.misses.get(), self.unanswered.get())
    }

    pub fn outages(&self) -> u64 {
        self.outages.get()
    }

    pub fn is_available(&self) -> bool {
        self.available.get() == 1
    }
}
