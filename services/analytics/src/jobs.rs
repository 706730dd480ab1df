//! Forgetting: windows of seconds and minutes, and the counters of hours and days, are kept for a while.
//!
//! Invariant: nothing goes that could still be added to, and what goes is chosen by the time of what happened.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db::Db;
use kernel::{Clock, Result, Timestamp};
use messaging::{Job, Progress};

use crate::domain::tumble::Size;
use crate::report::{self, Rules};
use crate::store::{products, windows};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

pub const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How long windows are kept, and how long counters.
pub const WINDOWS: [(Size, Duration); 2] =
    [(Size::Second, Duration::from_secs(2 * 3_600)), (Size::Minute, Duration::from_secs(8 * 86_400))];
pub const TOPS: [(Size, Duration); 2] =
    [(Size::Hour, HOUR.saturating_mul(48)), (Size::Day, DAY.saturating_mul(35))];

/// Windows that begin before it may be gone.
fn bound(watermark: Timestamp, kept: Duration, rules: Rules) -> i64 {
    // Streams are not all as far as the one that is farthest: as much again is left to them.
    let slack = Duration::from_millis(rules.lateness_ms.unsigned_abs()) * 2 + HOUR;
    watermark.minus(kept.max(slack)).as_millis()
}

/// From when on there are windows, or counters, of this size; `None` where none is ever forgotten.
pub fn kept_from(
    of: &[(Size, Duration)],
    size: Size,
    watermark: Option<Timestamp>,
    rules: Rules,
) -> Option<i64> {
    let (_, kept) = of.iter().find(|(known, _)| *known == size)?;
    Some(size.end_of(size.start_of(Timestamp::from_millis(bound(watermark?, *kept, rules) - 1))))
}

pub struct Sweep {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub rules: Rules,
}

#[async_trait]
impl Job for Sweep {
    async fn run(&self) -> Result<Progress> {
        let (rules, now) = (self.rules, self.clock.now());
        let swept = self
            .db
            .write(move |tx| -> Result<usize> {
                let Some(watermark) = report::progress(&mut tx.unlocked(), rules, now)?.watermark else {
                    return Ok(0);
                };
                let bound = |kept| bound(watermark, kept, rules);
                let mut swept = 0;
                for (size, kept) in WINDOWS {
                    swept += windows::sweep(tx, size, bound(kept))?;
                }
                for (size, kept) in TOPS {
                    swept += products::sweep_tops(tx, size, bound(kept))?;
                }
                Ok(swept)
            })
            .await?;
        Ok(Progress::from_count(swept))
    }
}
