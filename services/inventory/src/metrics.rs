//! What an operator sees of stock: answers by kind, and reservations that ran out.
//!
//! Invariant: only what is committed is counted.

use db::Tx;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::domain::Reply;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    answer: &'static str,
}

/// The service's counters. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    answers: Family<AnswerLabels, Counter>,
    expired: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let answers = metrics.answers.clone();
        registry.register("rtc_inventory_answers", "Commands answered, by their answer", answers);
        let expired = metrics.expired.clone();
        registry.register("rtc_inventory_expired_reservations", "Reservations whose time ran out", expired);
        metrics
    }

    pub(crate) fn answered(&self, tx: &mut Tx<'_>, reply: Reply) {
        let counter = self.answers.get_or_create_owned(&AnswerLabels { answer: name(reply) });
        tx.after_commit(move || {
            counter.inc();
        });
    }

    pub(crate) fn expired(&self, tx: &mut Tx<'_>) {
        let counter = self.expired.clone();
        tx.after_commit(move || {
            counter.inc();
        });
    }
}

const fn name(reply: Reply) -> &'static str {
    match reply {
        Reply::Reserved => "reserved",
        Reply::Refused => "refused",
        Reply::Committed => "committed",
        Reply::CommitRefused => "commit_refused",
        Reply::Released => "released",
        Reply::Returned => "returned",
    }
}
