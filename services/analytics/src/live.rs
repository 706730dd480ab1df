//! The live numbers, as server-sent events: computed once, whoever listens.
//!
//! Invariants:
//! - the numbers are computed at most once for each change, and not at all while nobody listens;
//! - an event is the whole state, and its id says which: a listener that was away, or is slow, misses intermediate states
//!   and never the last one, and nothing is queued for it;
//! - ids come from the database, so a listener may go on after a restart of the process, or at another replica: what it
//!   has seen already does not come again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use db::Db;
use kernel::{Clock, Result};
use messaging::{Job, Progress};
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::minute_of;
use crate::metrics::Metrics;
use crate::report::{self, Rules};
use crate::store::windows;

/// How often it is looked whether the numbers have changed.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After so long without an event a comment says that the stream is alive (R47).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
const OPENING: &[u8] = b"retry: 2000\n\n";
const COMMENT: &[u8] = b":\n\n";

/// One state of the numbers, ready to be sent.
#[derive(Debug)]
struct Frame {
    id: String,
    event: Bytes,
}

type Latest = Option<Arc<Frame>>;

pub struct Live {
    db: Db,
    clock: Arc<dyn Clock>,
    rules: Rules,
    metrics: Metrics,
    frames: watch::Sender<Latest>,
    /// Held while the numbers are computed.
    computing: Mutex<()>,
}

impl Live {
    pub fn new(db: Db, clock: Arc<dyn Clock>, rules: Rules, metrics: Metrics) -> Self {
        let frames = watch::Sender::new(None);
        Self { db, clock, rules, metrics, frames, computing: Mutex::new(()) }
    }

    /// Computes the numbers where they are not those that were computed last.
    pub async fn refresh(&self) -> Result<Progress> {
        let _alone = self.computing.lock().await;
        let now = self.clock.now();
        let minute = minute_of(now);
        // Windows move on although nothing happens.
        let name = move |revision: i64| format!("{revision}.{minute}");
        let revision = self.db.look_up(windows::revision).await?;
        if self.frames.borrow().as_ref().is_some_and(|latest| latest.id == name(revision)) {
            return Ok(Progress::Idle);
        }
        let rules = self.rules;
        let view = self.db.read(move |tx| report::live(tx, rules, now)).await?;
        self.metrics.computations.inc();
        let id = name(view.revision);
        let data = serde_json::to_string(&view).map_err(kernel::Error::internal)?;
        let event = format!("id: {id}\nevent: numbers\ndata: {data}\n\n").into();
        self.frames.send_replace(Some(Arc::new(Frame { id, event })));
        Ok(Progress::Worked)
    }

    /// A stream of events for whoever has seen `seen` last.
    pub fn listen(
        &self,
        seen: Option<String>,
        until: Instant,
        stopping: CancellationToken,
        permit: OwnedSemaphorePermit,
    ) -> Body {
        self.metrics.listeners.inc();
        let listener = Listener {
            frames: self.frames.subscribe(),
            seen,
            is_open: false,
            until,
            stopping,
            metrics: self.metrics.clone(),
            _permit: permit,
        };
        Body::from_stream(futures_util::stream::unfold(listener, async |mut listener| {
            let bytes = listener.next().await?;
            Some((Ok::<_, Infallible>(bytes), listener))
        }))
    }
}

struct Listener {
    frames: watch::Receiver<Latest>,
    seen: Option<String>,
    is_open: bool,
    until: Instant,
    stopping: CancellationToken,
    metrics: Metrics,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.is_open, true) {
            return Some(Bytes::from_static(OPENING));
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let latest = self.frames.borrow_and_update().clone();
            if let Some(frame) = latest.filter(|frame| self.seen.as_ref() != Some(&frame.id)) {
                self.seen = Some(frame.id.clone());
                return Some(frame.event.clone());
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                changed = self.frames.changed() => changed.ok()?,
                () = tokio::time::sleep_until(heartbeat.min(self.until)) => {
                    return (Instant::now() < self.until).then(|| Bytes::from_static(COMMENT));
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.metrics.listeners.dec();
    }
}

/// Keeps the numbers of those who listen up to date.
pub struct Refresher(pub Arc<Live>);

#[async_trait]
impl Job for Refresher {
    async fn run(&self) -> Result<Progress> {
        if self.0.frames.receiver_count() == 0 {
            return Ok(Progress::Idle);
        }
        self.0.refresh().await
    }
}
