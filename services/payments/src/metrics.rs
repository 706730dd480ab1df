//! Counters of the payments service.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::State;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone)]
pub(crate) struct Metrics {
    states: Family<StateLabel, Counter>,
    unknown: Counter,
    differences: Gauge,
    checked: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            states: Family::default(),
            unknown: Counter::default(),
            differences: Gauge::default(),
            checked: Counter::default(),
        };
        let Metrics { states, unknown, differences, checked } = &metrics;
        registry.register("rtc_payments_states_entered", "Payments that entered a state", states.clone());
        registry.register("rtc_payments_bank_unknown", "Calls whose outcome was not known", unknown.clone());
        registry.register(
            "rtc_payments_reconciliation_differences",
            "Differences between the bank and the payments at the last reconciliation",
            differences.clone(),
        );
        registry.register(
            "rtc_payments_reconciliation_checked",
            "Operations and payments that were compared",
            checked.clone(),
        );
        metrics
    }

    pub(crate) fn entered(&self, state: State) {
        self.states.get_or_create(&StateLabel { state: state.as_str() }).inc();
    }

    pub(crate) fn outcome_unknown(&self) {
        self.unknown.inc();
    }

    pub(crate) fn reconciled(&self, checked: u64, differences: usize) {
        self.checked.inc_by(checked);
        self.differences.set(i64::try_from(differences).unwrap_or(i64::MAX));
    }
}
