//! The pump that sends: marks a batch as being sent, hands it to the provider, marks what came of it.
//!
//! Invariants:
//! - the provider is called outside of any transaction, between two commits;
//! - a crash in between leaves rows that are being sent; they are sent again with the same Message-ID and counted as
//!   ambiguous (transactional mail: at least once, never silently not at all);
//! - a provider that is down costs no letter its attempts: the pump pauses, and the letters wait;
//! - a step takes one bounded batch, and a batch is gathered for a moment first: mail never crowds out orders.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db::Db;
use kernel::{Clock, IdSource, Timestamp};
use messaging::{Progress, Pump};
use tokio::sync::Notify;

use crate::config::Config;
use crate::letter::{self, About, Language};
use crate::mailer::{Mail, Mailer, Outcome};
use crate::message::{self, Sender};
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::store::{self, Claimed, Noted};

/// When there may be something to send. Raised after a commit, looked at before anything else is.
#[derive(Debug)]
pub(crate) struct Due(AtomicI64);

impl Due {
    /// Right away: what an earlier process left is not known yet.
    pub(crate) fn now() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(i64::MIN)))
    }

    pub(crate) fn raise(&self, at: Timestamp) {
        self.0.fetch_min(at.as_millis(), Ordering::SeqCst);
    }

    /// Takes the signal, if its time has come. Whoever takes it looks, and raises it anew for what is left.
    fn take(&self, now: Timestamp) -> bool {
        if self.0.load(Ordering::SeqCst) > now.as_millis() {
            return false;
        }
        self.0.store(i64::MAX, Ordering::SeqCst);
        true
    }
}

/// How often it is looked for letters that another process has put there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the provider can be used.
#[derive(Debug, Clone, Copy, Default)]
struct Breaker {
    failures: u32,
    paused_until: Timestamp,
}

pub(crate) struct SenderPump {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    pub vault: host::Vault,
    pub config: Config,
    pub from: Sender,
    pub mailer: Arc<dyn Mailer>,
    pub due: Arc<Due>,
    pub metrics: Metrics,
    breaker: Mutex<Breaker>,
    looked_at: AtomicI64,
    /// Never signalled: a commit raises `due`, which is looked at when the gathering time is over, so that a busy
    /// minute costs a few commits a second and not a thousand.
    wake: Arc<Notify>,
}

/// A letter on its way, and the row that it came from.
struct Addressed {
    mail: Mail,
    to_index: String,
}

impl SenderPump {
    pub(crate) fn new(
        context: &host::Context,
        db: Db,
        config: Config,
        from: Sender,
        mailer: Arc<dyn Mailer>,
        due: Arc<Due>,
        metrics: Metrics,
    ) -> Self {
        Self {
            db,
            clock: context.clock.clone(),
            ids: context.ids.clone(),
            vault: context.vault.clone(),
            config,
            from,
            mailer,
            due,
            metrics,
            breaker: Mutex::default(),
            looked_at: AtomicI64::new(0),
            wake: Arc::new(Notify::new()),
        }
    }

    fn breaker(&self) -> Breaker {
        *self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the letter, or says why there is none to write.
    fn address(&self, row: &Claimed, now: Timestamp) -> Result<Addressed, Noted> {
        let failed = |reason: String| Noted::Failed { reason };
        let notice: Notice = serde_json::from_str(&row.payload)
            .map_err(|error| failed(format!("the notification cannot be read: {error}")))?;
        let open = |sealed: &str| self.vault.open(sealed).map_err(|error| failed(error.chain()));
        let name = row.contact.as_ref().map(|contact| open(&contact.name)).transpose()?;
        let (email, locale) = match (&notice, &row.contact) {
            (Notice::Verification { email, locale, .. }, _) => (open(email)?, locale.as_str()),
            (_, Some(contact)) => (open(&contact.email)?, contact.locale.as_str()),
            (_, None) => return Err(failed("the recipient's address is not known".to_owned())),
        };
        let code;
        let about = match &notice {
            Notice::Verification { expires_at, .. } if *expires_at <= now => {
                return Err(Noted::Suppressed { reason: "the code has expired".to_owned() });
            }
            Notice::Verification { code: sealed, expires_at, .. } => {
                code = open(sealed)?;
                About::Verification { code: &code, expires_at: *expires_at }
            }
            Notice::OrderConfirmed { order } => About::Confirmed { order },
            Notice::OrderRejected { order, reason } => About::Rejected { order, reason },
            Notice::OrderCancelled { order, reason, was_confirmed } => {
                About::Cancelled { order, reason, was_confirmed: *was_confirmed }
            }
            Notice::OrderFulfilled { order_id } => About::Fulfilled { order_id: order_id.to_string() },
        };
        let letter = letter::write(&about, name.as_deref(), Language::of(locale));
        let to = message::address_of(&email).map_err(failed)?;
        let domain = self.from.mailbox.email.domain();
        let message_id = format!("{}.{}@{domain}", row.event_id, row.recipient);
        // The time of the event, not of the attempt: a second copy is the same letter to the byte.
        let bytes =
            message::compose(&self.from, to.clone(), name.as_deref(), &letter, &message_id, row.created_at)
                .map_err(failed)?;
        let from = self.from.mailbox.email.clone();
        let to_index = crate::address_index(&self.vault, &email);
        Ok(Addressed { mail: Mail { message_id, from, to, bytes: bytes.into() }, to_index })
    }

    /// What to note of an outcome.
    fn judge(
        &self,
        row: &Claimed,
        outcome: Outcome,
        to_index: String,
        paused_until: Timestamp,
        now: Timestamp,
    ) -> Noted {
        let too_old = now.since(row.created_at) >= self.config.give_up_after();
        let again = |reason: String, ambiguous: i64| {
            let deferrals = row.deferrals + 1;
            if too_old || deferrals >= i64::from(self.config.attempts_max) {
                return Noted::Failed { reason };
            }
            let failures = u32::try_from(deferrals).unwrap_or(u32::MAX);
            let at = now.plus(self.config.backoff(failures, self.ids.random_u64()));
            Noted::Again { at, reason, deferrals, ambiguous }
        };
        match outcome {
            Outcome::Sent { provider_id, place } => {
                Noted::Sent { provider: self.mailer.name(), provider_id, to_index, place }
            }
            Outcome::Deferred { reason } => again(reason, 0),
            Outcome::Unknown { reason } => again(reason, 1),
            Outcome::Refused { reason } => Noted::Failed { reason },
            Outcome::Unreachable { reason } if too_old => Noted::Failed { reason },
            Outcome::Unreachable { reason } => {
                Noted::Again { at: paused_until, reason, deferrals: row.deferrals, ambiguous: 0 }
            }
        }
    }

    /// Opens the breaker where the provider took and refused nothing at all; answers until when letters have to wait.
    fn note_provider(&self, outcomes: &[Outcome], now: Timestamp) -> Timestamp {
        let down = |outcome: &Outcome| matches!(outcome, Outcome::Unreachable { .. });
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if !outcomes.iter().any(down) {
            *breaker = Breaker::default();
            return now;
        }
        breaker.failures = if outcomes.iter().all(down) { breaker.failures.saturating_add(1) } else { 1 };
        breaker.paused_until = now.plus(self.config.backoff(breaker.failures, self.ids.random_u64()));
        let reason = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Unreachable { reason } => Some(reason.as_str()),
            _ => None,
        });
        tracing::warn!(provider = self.mailer.name(), reason, until = %breaker.paused_until, "mail waits");
        breaker.paused_until
    }

    async fn send(&self, claimed: Vec<Claimed>) -> kernel::Result<()> {
        let now = self.clock.now();
        let repeated = claimed.iter().filter(|row| row.was_sending).count();
        if repeated > 0 {
            tracing::warn!(count = repeated, "letters that may have been sent are sent again");
            self.metrics.count_ambiguous(repeated as u64);
        }
        let mut noted: Vec<(i64, i64, Noted)> = Vec::with_capacity(claimed.len());
        let (mut rows, mut mails, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        for row in claimed {
            match self.address(&row, now) {
                Ok(addressed) => {
                    rows.push(row);
                    mails.push(addressed.mail);
                    indexes.push(addressed.to_index);
                }
                Err(verdict) => noted.push((row.id, row.attempt, verdict)),
            }
        }
        if !mails.is_empty() {
            let outcomes = self.mailer.send(mails).await;
            let now = self.clock.now();
            let paused_until = self.note_provider(&outcomes, now);
            for ((row, to_index), outcome) in rows.iter().zip(indexes).zip(outcomes) {
                let verdict = self.judge(row, outcome, to_index, paused_until, now);
                noted.push((row.id, row.attempt, verdict));
            }
        }
        self.note(noted).await
    }

    async fn note(&self, noted: Vec<(i64, i64, Noted)>) -> kernel::Result<()> {
        let noted = Arc::new(noted);
        let (rows, now) = (noted.clone(), self.clock.now());
        let due = self
            .db
            .write(move |tx| -> Result<_, db::Error> {
                store::note_all(tx, &rows, now)?;
                store::next_due(tx)
            })
            .await?;
        if let Some(due) = due {
            self.due.raise(due);
        }
        for (id, _, verdict) in noted.iter() {
            match verdict {
                Noted::Sent { .. } => self.metrics.count("sent"),
                Noted::Again { ambiguous, .. } => {
                    self.metrics.count("deferred");
                    self.metrics.count_ambiguous(u64::try_from(*ambiguous).unwrap_or(0));
                }
                Noted::Failed { reason } => {
                    tracing::error!(notification = id, reason, "a letter could not be sent");
                    self.metrics.count("failed");
                }
                Noted::Suppressed { .. } => self.metrics.count("suppressed"),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pump for SenderPump {
    fn name(&self) -> &str {
        "notifications.send"
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let now = self.clock.now();
        let paused_until = self.breaker().paused_until;
        if now < paused_until {
            return Ok(Progress::Idle);
        }
        // What another process has put there raises nothing here: it is looked for by the clock.
        let looks = !self.db.is_commit_ordered()
            && now.since(Timestamp::from_millis(self.looked_at.load(Ordering::SeqCst))) >= LOOK_EVERY;
        if !self.due.take(now) && !looks {
            return Ok(Progress::Idle);
        }
        self.looked_at.store(now.as_millis(), Ordering::SeqCst);
        let (max, lease_end) = (self.config.batch_max, now.plus(self.config.lease()));
        let claimed = self
            .db
            .write(move |tx| -> Result<_, db::Error> {
                let claimed = store::claim(tx, max, now, lease_end)?;
                let due = store::next_due(tx)?;
                Ok((claimed, due))
            })
            .await;
        let (claimed, due) = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.due.raise(now);
                return Err(error.into());
            }
        };
        if let Some(due) = due {
            self.due.raise(due);
        }
        if claimed.is_empty() {
            return Ok(Progress::Idle);
        }
        let full = claimed.len() >= max as usize;
        self.send(claimed).await?;
        // A batch that was not full ends here: the next one is gathered before it is sent.
        Ok(if full { Progress::Worked } else { Progress::Idle })
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.config.linger_ms.max(1))
    }
}
