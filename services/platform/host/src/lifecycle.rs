//! The loops that turn the pumps, and how they end.
//!
//! Invariant: a pump turns until it is told to stop, whatever its steps come to. One that panics has failed like any other.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kernel::Error;
use messaging::{Progress, Pump};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Running pumps.
pub struct Pumps {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Pumps {
    /// Starts a loop for each pump.
    pub fn start(pumps: impl IntoIterator<Item = Arc<dyn Pump>>) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for pump in pumps {
            tasks.spawn(turn(pump, stop.clone()));
        }
        Self { tasks, stop }
    }

    /// Ends each pump after the step that it is in. A step cut off at `timeout` is undone by its transaction.
    pub async fn stop(mut self, timeout: Duration) {
        self.stop.cancel();
        let ended =
            tokio::time::timeout(timeout, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("some background work was still going on when the time to drain was over");
        }
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(format!("it panicked: {}", text.unwrap_or_default()))
}

/// What `work` comes to; a panic is its failure. Nothing of ours is left half-done by one: what a step has changed is in a
/// transaction, and what it holds is let go as it unwinds.
async fn caught<T>(work: impl Future<Output = T>) -> kernel::Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(panicked)
}

/// One step. What a step that panicked had begun to do is not gone on with: messages that it had polled and not handled
/// would be passed over. The next one joins anew.
async fn step(pump: &dyn Pump) -> kernel::Result<Progress> {
    let stepped = caught(pump.step()).await;
    if stepped.is_err() {
        finish(pump).await;
    }
    stepped?
}

async fn finish(pump: &dyn Pump) {
    if let Err(error) = caught(pump.finish()).await {
        tracing::error!(pump = pump.name(), error = %error.chain(), "what a pump held for others is not let go");
    }
}

async fn turn(pump: Arc<dyn Pump>, stop: CancellationToken) {
    let wake = pump.wake();
    let mut backoff = BACKOFF_FIRST;
    while !stop.is_cancelled() {
        let wait = match step(&*pump).await {
            Ok(Progress::Worked) => {
                backoff = BACKOFF_FIRST;
                tokio::task::yield_now().await;
                continue;
            }
            Ok(Progress::Idle) => {
                backoff = BACKOFF_FIRST;
                pump.interval()
            }
            Err(error) => {
                tracing::warn!(pump = pump.name(), error = %error.chain(), "step failed");
                let wait = backoff;
                backoff = (backoff * 2).min(BACKOFF_MAX);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => {}
                }
                continue;
            }
        };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    finish(&*pump).await;
}
