//! Leases: of several processes that could do a piece of work, one does.
//!
//! Invariants:
//! - a lease is a row with an owner, a token and an end; whoever takes it over raises the token;
//! - every command that a leased pump gives to its database checks the token in its own transaction ([`db::fence`]), so
//!   a holder that was paused past the end changes nothing when it resumes;
//! - it is extended while a step goes on, however long that takes;
//! - clocks decide only how long the work rests after a holder has died, never who may write. The end is written and
//!   judged by the database's clock alone, and one further off than a lease lasts is not believed: no machine whose clock
//!   is wrong makes others wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use db::fence::{self, Fence};
use db::{Db, Tx, params};
use kernel::Timestamp;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::{Progress, Pump};

/// How long a holder that went silent keeps the others waiting.
const LEASE_FOR: Duration = Duration::from_secs(10);
/// How often who waits looks whether it has been let go.
const WAIT_FOR: Duration = Duration::from_secs(1);
/// How often a holder looks for what other processes have committed, and how often where it has found nothing for so long.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const LOOK_IDLE_EVERY: Duration = Duration::from_millis(100);
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// Takes leases in one database in the name of one process.
#[derive(Clone)]
pub struct Leases {
    db: Db,
    owner: Arc<str>,
}

/// What a look at the row came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Holder {
        token: i64,
    },
    /// Somebody else has it, for so long at most.
    Waiting {
        at_most: Duration,
    },
}

/// What is known of the lease here, until it is looked at again.
#[derive(Debug, Clone, Copy)]
struct Known {
    standing: Standing,
    /// `None` is at once.
    look_at: Option<Instant>,
    /// When something was found to do; `None` is never.
    worked_at: Option<Instant>,
}

impl Known {
    const NOTHING: Known =
        Known { standing: Standing::Waiting { at_most: Duration::ZERO }, look_at: None, worked_at: None };

    /// How long the host may rest after a step that found nothing, where the pump itself would rest for `interval`.
    fn rests(&self, interval: Duration, follows_commits: bool) -> Duration {
        if !follows_commits {
            return interval.min(LEASE_FOR / 4);
        }
        let now = Instant::now();
        match self.standing {
            // Whatever is committed, nothing is done here before the row is looked at again.
            Standing::Waiting { .. } => self.look_at.map_or(interval, |at| at.saturating_duration_since(now)),
            Standing::Holder { .. } => {
                let is_busy = self.worked_at.is_some_and(|at| now.duration_since(at) < IDLE_AFTER);
                interval.min(if is_busy { LOOK_EVERY } else { LOOK_IDLE_EVERY })
            }
        }
    }
}

impl Leases {
    /// `owner` is unique to the process.
    pub fn new(db: Db, owner: Arc<str>) -> Self {
        Self { db, owner }
    }

    /// The pump, turned by the lease's holder alone.
    pub fn leased(&self, pump: Arc<dyn Pump>) -> Arc<dyn Pump> {
        Arc::new(Leased { leases: self.clone(), pump, known: Mutex::new(Known::NOTHING) })
    }

    /// Takes the lease, extends it, or says for how long somebody else has it. Whoever does not hold it looks first without a
    /// lock: the holder's commands share the row, and nobody who only waits holds them up, or waits for them.
    async fn stand(&self, name: &str, before: Standing) -> Result<Standing, db::Error> {
        let (name, owner) = (name.to_owned(), self.owner.clone());
        let the_time = format!("SELECT {}", self.db.dialect().now_millis());
        self.db
            .write(move |tx| -> Result<Standing, db::Error> {
                if let Standing::Waiting { .. } = before {
                    let row = Row::read(&mut tx.unlocked(), &name)?;
                    let now: Timestamp = tx.unlocked().query_one(&the_time, params![], |row| row.get(0))?;
                    if let Some(at_most) = row.and_then(|row| row.held_for(&owner, now)) {
                        return Ok(Standing::Waiting { at_most });
                    }
                }
                let found = Row::read(tx, &name)?;
                // Asked once the row is ours: whoever had to wait for it is not late by that.
                let now: Timestamp = tx.unlocked().query_one(&the_time, params![], |row| row.get(0))?;
                let until = now.plus(LEASE_FOR);
                let Some(row) = found else {
                    let sql = "INSERT INTO leases (name, owner, token, expires_at) VALUES (?, ?, 1, ?)";
                    tx.execute(sql, params![name, &*owner, until])?;
                    return Ok(Standing::Holder { token: 1 });
                };
                if let Some(at_most) = row.held_for(&owner, now) {
                    return Ok(Standing::Waiting { at_most });
                }
                let Row { holder, token, .. } = row;
                let token = if *holder == *owner { token } else { token + 1 };
                let sql = "UPDATE leases SET owner = ?, token = ?, expires_at = ? WHERE name = ?";
                tx.execute(sql, params![&*owner, token, until, name])?;
                Ok(Standing::Holder { token })
            })
            .await
    }

    /// Lets the lease go, if it is still ours.
    async fn release(&self, name: &str, token: i64) -> Result<(), db::Error> {
        let (name, owner) = (name.to_owned(), self.owner.clone());
        self.db
            .write(move |tx| {
                let sql = "UPDATE leases SET expires_at = 0 WHERE name = ? AND owner = ? AND token = ?";
                tx.execute(sql, params![name, &*owner, token]).map(drop)
            })
            .await
    }
}

/// A lease as it is stored.
struct Row {
    holder: String,
    token: i64,
    expires_at: Timestamp,
}

impl Row {
    fn read(tx: &mut Tx<'_>, name: &str) -> Result<Option<Self>, db::Error> {
        let sql = "SELECT owner, token, expires_at FROM leases WHERE name = ?";
        tx.query_opt(sql, params![name], |row| {
            Ok(Self { holder: row.get(0)?, token: row.get(1)?, expires_at: row.get(2)? })
        })
    }

    /// For how long somebody else has it. An end that nobody can have written is not believed.
    fn held_for(&self, owner: &str, now: Timestamp) -> Option<Duration> {
        let is_theirs =
            self.holder != owner && self.expires_at > now && self.expires_at <= now.plus(LEASE_FOR);
        is_theirs.then(|| self.expires_at.since(now))
    }
}

fn check(tx: &mut Tx<'_>, name: &str, owner: &str, token: i64) -> Result<(), db::Error> {
    let sql = "SELECT 1 FROM leases WHERE name = ? AND owner = ? AND token = ?";
    tx.query_opt(sql, params![name, owner, token], |_| Ok(()))?.ok_or(db::Error::Fenced)
}

/// A pump that works only while its lease is held.
struct Leased {
    leases: Leases,
    pump: Arc<dyn Pump>,
    known: Mutex<Known>,
}

impl Leased {
    /// The token, if the lease is ours. It is extended after a third of its time.
    async fn token(&self, known: &mut Known) -> kernel::Result<Option<i64>> {
        let now = Instant::now();
        if known.look_at.is_none_or(|at| at <= now) {
            let before = known.standing;
            let standing = self.leases.stand(self.pump.name(), before).await?;
            let rests = match standing {
                Standing::Holder { .. } => LEASE_FOR / 3,
                // Not until its end: whoever stops lets it go before that.
                Standing::Waiting { at_most } => at_most.min(WAIT_FOR),
            };
            *known = Known { standing, look_at: Some(now + rests), ..*known };
            if let (Standing::Waiting { .. }, Standing::Holder { token }) = (before, standing) {
                tracing::debug!(pump = self.pump.name(), token, "took the lease");
            }
        }
        Ok(match known.standing {
            Standing::Holder { token } => Some(token),
            Standing::Waiting { .. } => None,
        })
    }
}

impl Leased {
    /// Keeps the lease for a step that takes long, beside it: what the step has done is refused once somebody else has taken over.
    async fn extend(&self, token: i64, look_at: Option<Instant>) -> Infallible {
        let mut look_at = look_at.unwrap_or_else(Instant::now);
        loop {
            tokio::time::sleep_until(look_at).await;
            look_at = Instant::now() + LEASE_FOR / 3;
            match self.leases.stand(self.pump.name(), Standing::Holder { token }).await {
                Ok(standing) if standing == (Standing::Holder { token }) => {}
                Ok(_) => {
                    tracing::warn!(pump = self.pump.name(), "the lease was lost amid a step");
                    return std::future::pending().await;
                }
                Err(error) => tracing::debug!(pump = self.pump.name(), %error, "the lease is not extended"),
            }
        }
    }
}

#[async_trait]
impl Pump for Leased {
    fn name(&self) -> &str {
        self.pump.name()
    }

    async fn step(&self) -> kernel::Result<Progress> {
        // Held to the end of the step: of one pump there is one at a time.
        let mut known = self.known.lock().await;
        let Some(token) = self.token(&mut known).await? else { return Ok(Progress::Idle) };
        let (name, owner) = (self.pump.name().to_owned(), self.leases.owner.clone());
        let fence = Fence::new(&self.leases.db, move |tx| check(tx, &name, &owner, token));
        let done = tokio::select! {
            done = fence::scope(fence, self.pump.step()) => done,
            never = self.extend(token, known.look_at) => match never {},
        };
        match done {
            Ok(Progress::Worked) => known.worked_at = Some(Instant::now()),
            Ok(Progress::Idle) => {}
            // The lease itself may be what was lost: look at its row before the next step.
            Err(_) => *known = Known::NOTHING,
        }
        done
    }

    fn wake(&self) -> Arc<Notify> {
        self.pump.wake()
    }

    fn interval(&self) -> Duration {
        let (interval, follows_commits) = (self.pump.interval(), self.pump.follows_commits());
        match self.known.try_lock() {
            Ok(known) => known.rests(interval, follows_commits),
            // It is at work this moment.
            Err(_) => interval.min(LOOK_EVERY),
        }
    }

    fn follows_commits(&self) -> bool {
        self.pump.follows_commits()
    }

    async fn finish(&self) {
        self.pump.finish().await;
        // Whoever goes on after a step that panicked looks at the row first.
        let known = std::mem::replace(&mut *self.known.lock().await, Known::NOTHING);
        if let Standing::Holder { token } = known.standing
            && let Err(error) = self.leases.release(self.pump.name(), token).await
        {
            tracing::debug!(pump = self.pump.name(), %error, "the lease runs out by itself");
        }
    }
}
