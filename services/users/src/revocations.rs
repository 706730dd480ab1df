//! What ended before its time, told to every process that lets callers in.
//!
//! Invariant: a feed of changes begins before the point to which the last one went by more than a transaction takes and
//! clocks differ, so nothing that was committed late is left out; taking a change in twice changes nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kernel::{Result, Timestamp};
use messaging::{Job, Progress};
use web::{RevocationFeed, RevokedSession, RevokedTokens};

use crate::store::sessions::{self as store, SessionRow};
use crate::store::users as accounts;
use crate::{Users, keys};

/// Longer than a transaction may take, together with what the clocks of two machines may differ.
const OVERLAP: Duration = Duration::from_secs(30);

fn told(session: &SessionRow) -> RevokedSession {
    RevokedSession {
        id: session.id,
        until: session.tokens_until,
        valid_from: session.ended_at.is_none().then_some(session.valid_from),
    }
}

/// Everything that still matters, or what is new since `after`.
pub(crate) async fn feed(users: &Users, after: Option<Timestamp>) -> Result<RevocationFeed> {
    let now = users.clock.now();
    let rights_since =
        after.unwrap_or(now.minus(users.config.longest_token_life())).minus(Duration::from_secs(1));
    let (sessions, rights) = users
        .db
        .read(move |tx| -> Result<_> {
            let sessions = match after {
                Some(after) => store::restricted_since(tx, now, after)?,
                None => store::restricted(tx, now)?,
            };
            Ok((sessions, accounts::changed_rights_since(tx, rights_since)?))
        })
        .await?;
    Ok(RevocationFeed {
        sessions: sessions.iter().map(told).collect(),
        tokens: rights
            .into_iter()
            .map(|(user_id, valid_from)| RevokedTokens { user_id, valid_from })
            .collect(),
        next: now.minus(OVERLAP).as_millis(),
    })
}

/// Tells the verifier what ended before this process began.
pub(crate) async fn load(users: &Users) -> Result<()> {
    users.revocations.apply(&feed(users, None).await?);
    Ok(())
}

/// Takes in what other replicas of this service have done: keys and revocations. Every replica does it.
pub(crate) struct Refresh {
    users: Users,
    next: Mutex<Option<Timestamp>>,
    failing: AtomicBool,
}

impl Refresh {
    pub(crate) fn new(users: Users) -> Self {
        let next = Mutex::new(Some(users.clock.now().minus(OVERLAP)));
        Self { users, next, failing: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Job for Refresh {
    /// Never fails: a pump that fails is turned more and more rarely, and this one has to be there when the database is
    /// back. Revocations do not wait for keys.
    async fn run(&self) -> Result<Progress> {
        let followed = self.follow().await;
        let failed = followed.and(keys::refresh(&self.users).await).err();
        if let (Some(error), false) = (&failed, self.failing.swap(failed.is_some(), Ordering::Relaxed)) {
            tracing::warn!(error = %error.chain(), "what other replicas have done cannot be read; what is known stays");
        }
        Ok(Progress::Idle)
    }
}

impl Refresh {
    async fn follow(&self) -> Result<()> {
        let after = *self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let feed = feed(&self.users, after).await?;
        self.users.revocations.apply(&feed);
        let next = Some(Timestamp::from_millis(feed.next));
        *self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        Ok(())
    }
}
