//! A database, measured: how long queries wait for a connection, how long they and commands take, how many are under way, how often
//! one is run again.

use std::sync::Arc;

use db::{Asker, Connection, Dialect, Engine, Error, Job, Migrations, Stats, Verdict, Waiting};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use trace::Spot;

use super::{AskerLabels, Measures, OperationLabels, ServiceLabel};

#[derive(Clone)]
struct Counts {
    duration: Histogram,
    active: Gauge,
}

impl Counts {
    fn of(measures: &Measures, service: &'static str, operation: &'static str) -> Self {
        let labels = OperationLabels { service, operation };
        Self {
            duration: measures.db_duration.get_or_create_owned(&labels),
            active: measures.db_active.get_or_create_owned(&labels),
        }
    }

    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        self.active.inc();
        let outcome = work();
        self.active.dec();
        self.duration.observe(began.elapsed().as_secs_f64());
        outcome
    }
}

struct Measured {
    inner: Arc<dyn Engine>,
    reads: Counts,
    writes: Counts,
    retries: Counter,
    guests_wait: Histogram,
    house_waits: Histogram,
}

/// The engine of a service's database with what is counted of it.
pub(crate) fn measured(
    measures: &Measures,
    service: &'static str,
    inner: Arc<dyn Engine>,
) -> Arc<dyn Engine> {
    Arc::new(Measured {
        inner,
        reads: Counts::of(measures, service, "read"),
        writes: Counts::of(measures, service, "write"),
        retries: measures.db_retries.get_or_create_owned(&ServiceLabel { service }),
        guests_wait: measures.db_wait.get_or_create_owned(&AskerLabels { service, asker: "guest" }),
        house_waits: measures.db_wait.get_or_create_owned(&AskerLabels { service, asker: "house" }),
    })
}

/// Somebody who waits, until he has a connection, is refused or goes.
struct Waits<'a> {
    began: Instant,
    duration: &'a Histogram,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

struct MeasuredJob {
    inner: Option<Box<dyn Job>>,
    /// When it was first run. It may have waited before; that is the queue's time.
    began: Option<Instant>,
    counts: Counts,
    retries: Counter,
    /// Where in a trace it was given: it runs on a thread of the engine's.
    spot: Spot,
}

impl MeasuredJob {
    fn end(&mut self) {
        if let Some(began) = self.began.take() {
            self.counts.active.dec();
            self.counts.duration.observe(began.elapsed().as_secs_f64());
        }
    }
}

impl Drop for MeasuredJob {
    fn drop(&mut self) {
        self.end();
    }
}

impl Job for MeasuredJob {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        if self.began.is_some() {
            self.retries.inc();
        } else {
            self.began = Some(Instant::now());
            self.counts.active.inc();
        }
        let _inside = self.spot.enter();
        self.inner.as_mut().map_or(Verdict::Undo, |job| job.run(connection))
    }

    fn finish(mut self: Box<Self>, commit: Result<(), Error>) {
        self.end();
        if let Some(job) = self.inner.take() {
            job.finish(commit);
        }
    }
}

impl Measured {
    fn job(&self, inner: Box<dyn Job>) -> Box<dyn Job> {
        let (counts, retries) = (self.writes.clone(), self.retries.clone());
        Box::new(MeasuredJob { inner: Some(inner), began: None, counts, retries, spot: Spot::current() })
    }
}

impl Engine for Measured {
    fn write(&self, job: Box<dyn Job>) {
        self.inner.write(self.job(job));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.inner.write_lazily(self.job(job));
    }

    fn turn(&self, asker: Asker) -> Waiting<'_> {
        let duration = match asker {
            Asker::Guest => &self.guests_wait,
            Asker::House => &self.house_waits,
        };
        Box::pin(async move {
            let _waits = Waits { began: Instant::now(), duration };
            self.inner.turn(asker).await
        })
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.reads.time(|| self.inner.read(query))
    }

    fn look_up(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.reads.time(|| self.inner.look_up(query))
    }

    fn reads_inline(&self) -> bool {
        self.inner.reads_inline()
    }

    fn is_commit_ordered(&self) -> bool {
        self.inner.is_commit_ordered()
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn migrate(&self, migrations: &'static [Migrations]) -> Option<Result<Vec<String>, Error>> {
        self.inner.migrate(migrations)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}
