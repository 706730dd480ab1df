//! Waits until something is due, more finely than a runtime's timer, which knows whole milliseconds and is late by one on average:
//! that would be told as the platform's latency.
//!
//! Invariants: nobody waits less than asked for; a wait that is given up ends at once.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// What comes due sooner than after this is sent together: a hand-over between threads costs about as much as a request.
const FINEST: Duration = Duration::from_micros(250);

/// Who asks to be told, and when.
pub struct Wait {
    length: Duration,
    since: std::time::Instant,
    due: oneshot::Sender<()>,
}

/// Says when it is time.
pub enum Pace {
    /// By the runtime's clock: also where a test moves it.
    Runtime,
    /// By a thread that sleeps, to some fifty microseconds.
    Thread(mpsc::Sender<Wait>),
}

impl Pace {
    /// A thread of its own where there is one to be had.
    pub fn precise() -> Self {
        let (asks, asked) = mpsc::channel();
        let sleeping = move || keep_time(&asked);
        match thread::Builder::new().name("pace".to_owned()).spawn(sleeping) {
            Ok(_) => Pace::Thread(asks),
            Err(_) => Pace::Runtime,
        }
    }

    pub async fn until(&self, at: Instant) {
        let Pace::Thread(asks) = self else { return sleep_until(at).await };
        let now = Instant::now();
        let (due, is_due) = oneshot::channel();
        let length = at.saturating_duration_since(now).max(FINEST);
        let asked = asks.send(Wait { length, since: now.into_std(), due });
        // A thread that is gone tells nobody: then the runtime does.
        if asked.is_err() || is_due.await.is_err() {
            sleep_until(at).await;
        }
    }
}

/// Sleeps until what was asked for last is due: there is one who asks, and whoever asks anew has given up what he asked before.
fn keep_time(asked: &mpsc::Receiver<Wait>) {
    let mut next = asked.recv().ok();
    while let Some(Wait { length, since, due }) = next {
        next = match asked.recv_timeout(length.saturating_sub(since.elapsed())) {
            Ok(wait) => Some(wait),
            Err(RecvTimeoutError::Timeout) => {
                // Whoever asked may have gone.
                let _ = due.send(());
                asked.recv().ok()
            }
            Err(RecvTimeoutError::Disconnected) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_less_than_asked_for() {
        for pace in [Pace::precise(), Pace::Runtime] {
            for micros in [0, 300, 1_700, 5_200] {
                let at = Instant::now() + Duration::from_micros(micros);
                pace.until(at).await;
                assert!(Instant::now() >= at, "{micros}");
            }
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_keeps_nobody_from_the_next_one() {
        let pace = Pace::precise();
        let mut given_up = Box::pin(pace.until(Instant::now() + Duration::from_secs(3_600)));
        let looked =
            std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context))).await;
        assert!(looked.is_pending());
        drop(given_up);
        let at = Instant::now() + Duration::from_millis(1);
        tokio::time::timeout(Duration::from_secs(60), pace.until(at)).await.expect("no hour is waited for");
        assert!(Instant::now() >= at);
    }
}
