//! What the process tells of itself: what the platform counts for every service alike, what has to be looked up from
//! time to time, and the short history of both.
//!
//! Invariants: looking costs the requests nothing: it happens beside them, in bounded time; what does not answer is
//! counted, and what it told before is told no more; every name is the catalogue's.

mod bus;
mod database;
mod delivery;
mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use messaging::RelayLag;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rtc_metrics as catalogue;
use rtc_metrics::{Kind, Metric};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub(crate) use bus::MeasuredBus;
pub(crate) use database::measured;
pub(crate) use delivery::{DeliveryObserver, LagObserver};
pub(crate) use process::Process;

use crate::Context;
use crate::history::{INTERVAL, Recorded};

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(4);

/// Something that has to be looked up: rows are counted, an engine is asked.
#[async_trait]
pub trait Observer: Send + Sync {
    /// Of a service and what is looked at: `orders.sagas`.
    fn name(&self) -> &str;

    /// Looks, and sets gauges. It costs a query or two and changes nothing.
    async fn observe(&self) -> kernel::Result<()>;

    /// Takes back what it has told: a look has failed, and an old figure would look like one of now.
    fn forget(&self);
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ServiceLabel {
    pub service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OperationLabels {
    pub service: &'static str,
    pub operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AskerLabels {
    pub service: &'static str,
    pub asker: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct GroupLabel {
    pub group: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LagLabels {
    pub group: String,
    pub topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConsumedLabels {
    pub messaging_consumer_group_name: String,
    pub messaging_destination_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProcessLabels {
    pub messaging_consumer_group_name: String,
    pub messaging_destination_name: String,
    pub error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SentLabels {
    pub messaging_destination_name: String,
    pub error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SendLabels {
    pub messaging_operation_name: &'static str,
    pub error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LookLabel {
    pub look: String,
}

pub(crate) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What the platform counts for every service alike. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Measures {
    pub process_duration: Histograms<ProcessLabels>,
    pub consumed: Family<ConsumedLabels, Counter>,
    pub sent: Family<SentLabels, Counter>,
    pub send_duration: Histograms<SendLabels>,
    pub lag: Family<LagLabels, Gauge>,
    pub dead: Family<GroupLabel, Gauge>,
    pub outbox_depth: Family<ServiceLabel, Gauge>,
    pub outbox_lag: Family<ServiceLabel, Gauge<f64, std::sync::atomic::AtomicU64>>,
    pub bus_up: Gauge,
    pub db_duration: Histograms<OperationLabels>,
    pub db_wait: Histograms<AskerLabels>,
    pub db_active: Family<OperationLabels, Gauge>,
    pub db_commands: Family<ServiceLabel, Counter>,
    pub db_commits: Family<ServiceLabel, Counter>,
    pub db_retries: Family<ServiceLabel, Counter>,
    pub db_queued: Family<ServiceLabel, Gauge>,
    pub db_size: Family<ServiceLabel, Gauge>,
    pub history_series: Gauge,
    pub history_refused: Counter,
    pub looks_failed: Family<LookLabel, Counter>,
    pub relay_lag: RelayLag,
}

fn work_histogram() -> Histogram {
    Histogram::new(catalogue::WORK_BUCKETS)
}

impl Measures {
    pub fn register(registry: &mut Registry) -> Self {
        let histogram = work_histogram as fn() -> Histogram;
        let m = Self {
            relay_lag: RelayLag::register(registry),
            process_duration: Family::new_with_constructor(histogram),
            consumed: Family::default(),
            sent: Family::default(),
            send_duration: Family::new_with_constructor(histogram),
            lag: Family::default(),
            dead: Family::default(),
            outbox_depth: Family::default(),
            outbox_lag: Family::default(),
            bus_up: Gauge::default(),
            db_duration: Family::new_with_constructor(histogram),
            db_wait: Family::new_with_constructor(histogram),
            db_active: Family::default(),
            db_commands: Family::default(),
            db_commits: Family::default(),
            db_retries: Family::default(),
            db_queued: Family::default(),
            db_size: Family::default(),
            history_series: Gauge::default(),
            history_refused: Counter::default(),
            looks_failed: Family::default(),
        };
        fn add<M>(registry: &mut Registry, of: &Metric, metric: &M)
        where
            M: prometheus_client::registry::Metric + Clone,
        {
            registry.register(of.family(), of.help, metric.clone());
        }
        add(registry, &catalogue::MESSAGING_PROCESS_DURATION, &m.process_duration);
        add(registry, &catalogue::MESSAGING_CONSUMED, &m.consumed);
        add(registry, &catalogue::MESSAGING_SENT, &m.sent);
        add(registry, &catalogue::MESSAGING_SEND_DURATION, &m.send_duration);
        add(registry, &catalogue::CONSUMER_LAG, &m.lag);
        add(registry, &catalogue::DLQ_DEPTH, &m.dead);
        add(registry, &catalogue::OUTBOX_DEPTH, &m.outbox_depth);
        add(registry, &catalogue::OUTBOX_LAG, &m.outbox_lag);
        add(registry, &catalogue::BUS_UP, &m.bus_up);
        add(registry, &catalogue::DB_COMMAND_DURATION, &m.db_duration);
        add(registry, &catalogue::DB_WAIT_DURATION, &m.db_wait);
        add(registry, &catalogue::DB_ACTIVE, &m.db_active);
        add(registry, &catalogue::DB_COMMANDS, &m.db_commands);
        add(registry, &catalogue::DB_COMMITS, &m.db_commits);
        add(registry, &catalogue::DB_RETRIES, &m.db_retries);
        add(registry, &catalogue::DB_QUEUED, &m.db_queued);
        add(registry, &catalogue::DB_SIZE, &m.db_size);
        add(registry, &catalogue::HISTORY_SERIES, &m.history_series);
        add(registry, &catalogue::HISTORY_REFUSED, &m.history_refused);
        add(registry, &catalogue::LOOKS_FAILED, &m.looks_failed);
        m
    }

    pub fn recorded(&self, recorded: Recorded) {
        self.history_series.set(i64::try_from(recorded.series).unwrap_or(i64::MAX));
        self.history_refused.inc_by(recorded.refused as u64);
    }
}

/// A gauge without labels that is read when it is asked for.
pub(crate) struct Reading {
    of: &'static Metric,
    read: Box<dyn Fn() -> f64 + Send + Sync>,
}

impl Reading {
    pub fn new(of: &'static Metric, read: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { of, read: Box::new(read) }
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("of", &self.of.name).finish()
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        reading(&mut encoder, self.of, (self.read)())
    }
}

/// Writes one value of a metric without labels.
pub(crate) fn reading(
    encoder: &mut DescriptorEncoder<'_>,
    of: &Metric,
    value: f64,
) -> Result<(), std::fmt::Error> {
    if of.kind == Kind::Counter {
        let counter = ConstCounter::new(value);
        return counter.encode(encoder.encode_descriptor(
            of.family(),
            of.help,
            None,
            counter.metric_type(),
        )?);
    }
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(of.family(), of.help, None, gauge.metric_type())?)
}

/// Those who look. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Observers {
    all: Arc<Mutex<Vec<Arc<dyn Observer>>>>,
    failed: Family<LookLabel, Counter>,
}

impl Observers {
    pub fn new(measures: &Measures) -> Self {
        Self { all: Arc::default(), failed: measures.looks_failed.clone() }
    }

    pub fn add(&self, observer: Arc<dyn Observer>) {
        drop(self.failed.get_or_create(&LookLabel { look: observer.name().to_owned() }));
        let mut observers = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // A service that is built again in the same context looks once.
        observers.retain(|one| one.name() != observer.name());
        observers.push(observer);
    }

    pub async fn look(&self) {
        let observers = self.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
        join_all(observers.iter().map(|observer| async {
            match tokio::time::timeout(LOOK_MAX, observer.observe()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::debug!(observer = observer.name(), error = %error.chain(), "a look failed");
                }
                Err(_) => tracing::debug!(observer = observer.name(), "a look took too long"),
            }
            observer.forget();
            self.failed.get_or_create(&LookLabel { look: observer.name().to_owned() }).inc();
        }))
        .await;
    }
}

/// Looks and records, again and again, until `stop`.
pub async fn follow(context: Context, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        context.look().await;
        context.record(&context.encode_metrics());
    }
}

#[cfg(test)]
mod tests;
