//! The process as the kernel sees it, and the runtime that drives it: read when somebody asks.
//!
//! Linux's `/proc`; elsewhere the figures that are not there are left out.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rtc_metrics as catalogue;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::reading;

/// A collector of both.
#[derive(Debug)]
pub(crate) struct Process {
    /// In seconds since 1970.
    started_at: Option<f64>,
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
    pub fn new() -> Self {
        let booted = std::fs::read_to_string("/proc/stat").ok();
        let booted = booted.as_deref().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
            line.trim().parse::<f64>().ok()
        });
        let since_boot = stat().and_then(|fields| fields.get(START).copied());
        let started_at =
            booted.zip(since_boot).map(|(booted, ticks)| booted + ticks as f64 / ticks_a_second());
        Self { started_at }
    }
}

fn runtime(encoder: &mut DescriptorEncoder<'_>, metrics: &RuntimeMetrics) -> Result<(), std::fmt::Error> {
    let busy =
        (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64());
    reading(encoder, &catalogue::RUNTIME_WORKERS, metrics.num_workers() as f64)?;
    reading(encoder, &catalogue::RUNTIME_BUSY, busy.sum())?;
    reading(encoder, &catalogue::RUNTIME_QUEUE, metrics.global_queue_depth() as f64)?;
    reading(encoder, &catalogue::RUNTIME_TASKS, metrics.num_alive_tasks() as f64)
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
        match Handle::try_current() {
            Ok(handle) => runtime(encoder, &handle.metrics()),
            Err(_) => Ok(()),
        }
    }
}
