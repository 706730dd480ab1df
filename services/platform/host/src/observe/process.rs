//! The process as the kernel sees it, and the runtimes that drive it: read when somebody asks.
//!
//! Linux's `/proc`; elsewhere the figures that are not there are left out.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rtc_metrics as catalogue;
use rtc_metrics::{Kind, Metric};
use tokio::runtime::{Handle, RuntimeMetrics};
use web::Gate;

use super::reading;

/// A collector of both.
pub(crate) struct Process {
    /// In seconds since 1970.
    started_at: Option<f64>,
    /// It has threads of its own for what is let in under overload.
    gate: Arc<Gate>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuntimeLabel {
    runtime: &'static str,
}

/// The fields of `/proc/self/stat` behind the program's name, which may contain anything.
fn stat() -> Option<Vec<u64>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    // The first of them is a letter.
    Some(rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect())
}

fn ticks_a_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Places in what [`stat`] gives: fields 14, 15, 20, 22 and 24 of proc(5), counted from 4.
const USER: usize = 10;
const SYSTEM: usize = 11;
const THREADS: usize = 16;
const START: usize = 18;
const PAGES: usize = 20;

impl Process {
    pub fn new(gate: Arc<Gate>) -> Self {
        let booted = std::fs::read_to_string("/proc/stat").ok();
        let booted = booted.as_deref().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
            line.trim().parse::<f64>().ok()
        });
        let since_boot = stat().and_then(|fields| fields.get(START).copied());
        let started_at =
            booted.zip(since_boot).map(|(booted, ticks)| booted + ticks as f64 / ticks_a_second());
        Self { started_at, gate }
    }
}

/// Writes a figure of each runtime.
fn runtimes(
    encoder: &mut DescriptorEncoder<'_>,
    of: &Metric,
    runtimes: &[(&'static str, RuntimeMetrics)],
    read: fn(&RuntimeMetrics) -> f64,
) -> Result<(), std::fmt::Error> {
    let kind = if of.kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
    let mut family = encoder.encode_descriptor(of.family(), of.help, None, kind)?;
    for (runtime, metrics) in runtimes {
        let label = RuntimeLabel { runtime };
        let (value, one) = (read(metrics), family.encode_family(&label)?);
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(one)?,
            _ => ConstGauge::new(value).encode(one)?,
        }
    }
    Ok(())
}

fn busy(runtime: &RuntimeMetrics) -> f64 {
    let of = |worker| runtime.worker_total_busy_duration(worker).as_secs_f64();
    (0..runtime.num_workers()).map(of).sum()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let encoder = &mut encoder;
        if let Some(fields) = stat() {
            let field = |index: usize| fields.get(index).copied().unwrap_or(0) as f64;
            reading(encoder, &catalogue::PROCESS_CPU, (field(USER) + field(SYSTEM)) / ticks_a_second())?;
            let pages = field(PAGES) * rustix::param::page_size() as f64;
            reading(encoder, &catalogue::PROCESS_MEMORY, pages)?;
            reading(encoder, &catalogue::PROCESS_THREADS, field(THREADS))?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            reading(encoder, &catalogue::PROCESS_FDS, open.count() as f64)?;
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            reading(encoder, &catalogue::PROCESS_MAX_FDS, most as f64)?;
        }
        if let Some(started_at) = self.started_at {
            reading(encoder, &catalogue::PROCESS_START, started_at)?;
        }
        let main = Handle::try_current().ok().map(|handle| handle.metrics());
        let both = catalogue::RUNTIMES.into_iter().zip([main, self.gate.work_runtime()]);
        let there: Vec<_> = both.filter_map(|(name, metrics)| Some((name, metrics?))).collect();
        runtimes(encoder, &catalogue::RUNTIME_WORKERS, &there, |one| one.num_workers() as f64)?;
        runtimes(encoder, &catalogue::RUNTIME_BUSY, &there, busy)?;
        runtimes(encoder, &catalogue::RUNTIME_QUEUE, &there, |one| one.global_queue_depth() as f64)?;
        runtimes(encoder, &catalogue::RUNTIME_TASKS, &there, |one| one.num_alive_tasks() as f64)
    }
}
