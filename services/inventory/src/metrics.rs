//! What an operator sees of stock: answers by kind, and reservations that ran out.
//!
//! Invariant: only what is committed is counted.

use async_trait::async_trait;
use db::{Db, Tx, params};
use host::Observer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rtc_metrics::{RESERVATIONS, RESERVATIONS_EXPIRED, STOCK_SKUS};

use crate::domain::Reply;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    answer: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: &'static str,
}

const LEVELS: [&str; 3] = ["ok", "low", "out"];

/// The service's counters. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics {
    answers: Family<AnswerLabels, Counter>,
    expired: Counter,
    skus: Family<LevelLabels, Gauge>,
}

/// Looks how many articles are on stock, low, or out of it.
pub(crate) struct StockLevels {
    pub db: Db,
    pub metrics: Metrics,
}

#[async_trait]
impl Observer for StockLevels {
    fn name(&self) -> &str {
        "inventory.stock"
    }

    async fn observe(&self) -> kernel::Result<()> {
        let counts: [i64; 3] = self
            .db
            .read(|tx| -> Result<[i64; 3], db::Error> {
                let sql = "SELECT COALESCE(SUM(CASE WHEN free > low THEN 1 ELSE 0 END), 0), \
                             COALESCE(SUM(CASE WHEN free > 0 AND free <= low THEN 1 ELSE 0 END), 0), \
                             COALESCE(SUM(CASE WHEN free <= 0 THEN 1 ELSE 0 END), 0) \
                           FROM (SELECT on_hand - reserved AS free, low_stock_threshold AS low FROM stock_items \
                                 WHERE mode <> 'none' LIMIT 1000000) counted";
                tx.query_one(sql, params![], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
            })
            .await?;
        for (level, count) in LEVELS.into_iter().zip(counts) {
            self.metrics.skus.get_or_create(&LevelLabels { level }).set(count);
        }
        Ok(())
    }

    fn forget(&self) {
        self.metrics.skus.clear();
    }
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reply in [
            Reply::Reserved,
            Reply::Refused,
            Reply::Committed,
            Reply::CommitRefused,
            Reply::Released,
            Reply::Returned,
        ] {
            drop(metrics.answers.get_or_create(&AnswerLabels { answer: name(reply) }));
        }
        for level in LEVELS {
            drop(metrics.skus.get_or_create(&LevelLabels { level }));
        }
        registry.register(RESERVATIONS.family(), RESERVATIONS.help, metrics.answers.clone());
        registry.register(RESERVATIONS_EXPIRED.family(), RESERVATIONS_EXPIRED.help, metrics.expired.clone());
        registry.register(STOCK_SKUS.family(), STOCK_SKUS.help, metrics.skus.clone());
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
