//! What an operator sees of orders: states entered, ends by reason, how long it takes to settle, sagas that wait or are
//! stuck.
//!
//! Invariant: only what is committed is counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db::{Db, params};
use host::Observer;
use kernel::Clock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rtc_metrics as catalogue;

use crate::domain::{EndReason, OrderState};
use crate::saga::KIND;

/// How long after its deadline a saga counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Sagas are counted up to here.
const COUNT_MAX: u32 = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SagaLabels {
    saga: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SagaLabel {
    saga: &'static str,
}

/// The service's figures. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    entered: Family<StateLabel, Counter>,
    ended: Family<ReasonLabel, Counter>,
    settle: Family<OutcomeLabel, Histogram, fn() -> Histogram>,
    sagas: Family<SagaLabels, Gauge>,
    stuck: Family<SagaLabel, Gauge>,
}

/// What one transaction did to an order.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    pub entered: Vec<OrderState>,
    pub ended: Option<EndReason>,
    /// How it settled, and how long after it was placed.
    pub settled: Option<(OrderState, Duration)>,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            entered: Family::default(),
            ended: Family::default(),
            settle: Family::new_with_constructor(|| Histogram::new(catalogue::SETTLE_BUCKETS)),
            sagas: Family::default(),
            stuck: Family::default(),
        };
        // What is there from the start has a first increase that is seen.
        for state in OrderState::ALL {
            drop(metrics.entered.get_or_create(&StateLabel { state: state.as_str() }));
        }
        for reason in EndReason::ALL {
            drop(metrics.ended.get_or_create(&ReasonLabel { reason: reason.as_str() }));
        }
        for outcome in [OrderState::Confirmed, OrderState::Rejected, OrderState::Cancelled] {
            drop(metrics.settle.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }));
        }
        for state in catalogue::SAGA_STATES {
            drop(metrics.sagas.get_or_create(&SagaLabels { saga: KIND, state }));
        }
        drop(metrics.stuck.get_or_create(&SagaLabel { saga: KIND }));
        let Metrics { entered, ended, settle, sagas, stuck } = metrics.clone();
        registry.register(catalogue::ORDERS.family(), catalogue::ORDERS.help, entered);
        registry.register(catalogue::ORDERS_ENDED.family(), catalogue::ORDERS_ENDED.help, ended);
        registry.register(catalogue::ORDER_SETTLE.family(), catalogue::ORDER_SETTLE.help, settle);
        registry.register(catalogue::SAGA_STATE.family(), catalogue::SAGA_STATE.help, sagas);
        registry.register(catalogue::SAGA_STUCK.family(), catalogue::SAGA_STUCK.help, stuck);
        metrics
    }

    pub fn count(&self, counted: &Counted) {
        for state in &counted.entered {
            self.entered.get_or_create(&StateLabel { state: state.as_str() }).inc();
        }
        if let Some(reason) = counted.ended {
            self.ended.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
        }
        if let Some((outcome, after)) = counted.settled {
            self.settle
                .get_or_create(&OutcomeLabel { outcome: outcome.as_str() })
                .observe(after.as_secs_f64());
        }
    }
}

/// Looks at the sagas that wait.
pub struct Sagas {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

#[async_trait]
impl Observer for Sagas {
    fn name(&self) -> &str {
        "orders.sagas"
    }

    async fn observe(&self) -> kernel::Result<()> {
        let late = self.clock.now().minus(STUCK_AFTER);
        let (waiting, stuck) = self
            .db
            .read(move |tx| -> Result<(HashMap<String, i64>, i64), db::Error> {
                // A step is a word, or an object whose key is the word.
                let sql = "SELECT step, COUNT(*) FROM (SELECT SUBSTR(state, 1, 24) AS step FROM sagas \
                           WHERE deadline_at IS NOT NULL AND kind = ? LIMIT ?) waiting GROUP BY step";
                let rows: Vec<(String, i64)> =
                    tx.query(sql, params![KIND, COUNT_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let mut waiting: HashMap<String, i64> = HashMap::new();
                for (beginning, count) in rows {
                    let known = catalogue::SAGA_STATES.iter().find(|state| beginning.contains(*state));
                    *waiting.entry((*known.unwrap_or(&"")).to_owned()).or_default() += count;
                }
                let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sagas WHERE deadline_at < ? AND kind = ? LIMIT ?) stuck";
                let stuck = tx.query_one(sql, params![late, KIND, COUNT_MAX], |row| row.get(0))?;
                Ok((waiting, stuck))
            })
            .await?;
        for state in catalogue::SAGA_STATES {
            let count = waiting.get(state).copied().unwrap_or(0);
            self.metrics.sagas.get_or_create(&SagaLabels { saga: KIND, state }).set(count);
        }
        self.metrics.stuck.get_or_create(&SagaLabel { saga: KIND }).set(stuck);
        Ok(())
    }

    fn forget(&self) {
        self.metrics.sagas.clear();
        self.metrics.stuck.clear();
    }
}
