//! What an operator sees of money: payments by state, what was earned and given back, and whether the ledger balances.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db::{Db, params};
use host::Observer;
use kernel::Currency;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rtc_metrics::{
    BANK_UNKNOWN, LEDGER_IMBALANCE, PAYMENTS, RECONCILIATION_CHECKED, RECONCILIATION_DIFFERENCES, REFUNDS,
    REVENUE,
};

use tokio::time::Instant;

use crate::domain::State;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CurrencyLabel {
    currency: String,
}

/// Of a payment that has entered a state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub currency: Option<Currency>,
    pub captured_minor: i64,
    pub refunded_minor: i64,
}

#[derive(Clone)]
pub(crate) struct Metrics {
    states: Family<StateLabel, Counter>,
    unknown: Counter,
    differences: Gauge,
    checked: Counter,
    revenue: Family<CurrencyLabel, Counter>,
    refunds: Family<CurrencyLabel, Counter>,
    /// Without a member until it has been looked up.
    imbalance: Family<[(&'static str, &'static str); 0], Gauge>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            states: Family::default(),
            unknown: Counter::default(),
            differences: Gauge::default(),
            checked: Counter::default(),
            revenue: Family::default(),
            refunds: Family::default(),
            imbalance: Family::default(),
        };
        for state in State::ALL.iter() {
            drop(metrics.states.get_or_create(&StateLabel { state: state.as_str() }));
        }
        let Metrics { states, unknown, differences, checked, revenue, refunds, imbalance } = metrics.clone();
        registry.register(PAYMENTS.family(), PAYMENTS.help, states);
        registry.register(BANK_UNKNOWN.family(), BANK_UNKNOWN.help, unknown);
        let of = &RECONCILIATION_DIFFERENCES;
        registry.register(of.family(), of.help, differences);
        let of = &RECONCILIATION_CHECKED;
        registry.register(of.family(), of.help, checked);
        registry.register(REVENUE.family(), REVENUE.help, revenue);
        registry.register(REFUNDS.family(), REFUNDS.help, refunds);
        registry.register(LEDGER_IMBALANCE.family(), LEDGER_IMBALANCE.help, imbalance);
        metrics
    }

    /// A payment is now in `to`.
    pub(crate) fn entered(&self, to: State, payment: &Moved) {
        self.states.get_or_create(&StateLabel { state: to.as_str() }).inc();
        let Some(currency) = payment.currency else { return };
        let (family, minor) = match to {
            State::Captured => (&self.revenue, payment.captured_minor),
            State::Refunded => (&self.refunds, payment.refunded_minor),
            _ => return,
        };
        let counter = family.get_or_create_owned(&CurrencyLabel { currency: currency.to_string() });
        counter.inc_by(u64::try_from(minor).unwrap_or(0));
    }

    pub(crate) fn outcome_unknown(&self) {
        self.unknown.inc();
    }

    pub(crate) fn reconciled(&self, checked: u64, differences: usize) {
        self.checked.inc_by(checked);
        self.differences.set(i64::try_from(differences).unwrap_or(i64::MAX));
    }
}

/// Every posting is summed at each look, so looks are as rare as they are slow.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// When to look again where a look was given up because it took too long: meanwhile it may go on in the database.
const AFTER_GIVING_UP: Duration = Duration::from_secs(600);
/// What looking may take of all time.
const SHARE: u32 = 60;

/// Looks whether the bank's ledger balances.
pub(crate) struct Ledger {
    db: Db,
    metrics: Metrics,
    next: Mutex<Option<Instant>>,
}

impl Ledger {
    pub(crate) fn new(db: Db, metrics: Metrics) -> Self {
        Self { db, metrics, next: Mutex::new(None) }
    }

    fn look_again_at(&self, next: Instant) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    fn is_time(&self, now: Instant) -> bool {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.is_none_or(|next| now >= next)
    }
}

#[async_trait]
impl Observer for Ledger {
    fn name(&self) -> &str {
        "payments.ledger"
    }

    async fn observe(&self) -> kernel::Result<()> {
        let began = Instant::now();
        if !self.is_time(began) {
            return Ok(());
        }
        // First, so that a look which is given up because it takes long is not followed by another at once.
        self.look_again_at(began + AFTER_GIVING_UP);
        let looked = self
            .db
            .read(|tx| -> Result<i64, db::Error> {
                let sums = "SELECT COUNT(*) FROM (SELECT currency FROM bank_postings GROUP BY currency \
                            HAVING SUM(amount) <> 0) unbalanced";
                let sums: i64 = tx.query_one(sums, params![], |row| row.get(0))?;
                let below = "SELECT COUNT(*) FROM bank_accounts WHERE available < 0 OR held < 0";
                let below: i64 = tx.query_one(below, params![], |row| row.get(0))?;
                Ok(sums + below)
            })
            .await;
        let now = Instant::now();
        self.look_again_at(now + LOOK_EVERY.max((now - began) * SHARE));
        self.metrics.imbalance.get_or_create(&[]).set(looked?);
        Ok(())
    }

    fn forget(&self) {
        self.metrics.imbalance.clear();
    }
}
