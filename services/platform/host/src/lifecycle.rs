//! The loops that turn the pumps, and how they end.

use std::sync::Arc;
use std::time::Duration;

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

async fn turn(pump: Arc<dyn Pump>, stop: CancellationToken) {
    let wake = pump.wake();
    let mut backoff = BACKOFF_FIRST;
    while !stop.is_cancelled() {
        let wait = match pump.step().await {
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
    pump.finish().await;
}
