//! All SQL of the service.
//!
//! Invariants: one row per (event, recipient, channel), by a unique key; `next_attempt_at` says when a row is to be
//! looked at again, and is NULL where nothing is to be done: finished, or waiting for a contact; whoever marks a result
//! names the attempt that it is the result of, so that a result that comes late changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use contracts::UserId;
use contracts::users::Sealed;
use db::{Late, Migration, Migrations, Param, Row, ToParam, Tx, params};
use kernel::Timestamp;

use crate::mailer::Place;
use crate::notice::Notice;

pub(crate) const CHANNEL: &str = "email";

pub(crate) const TABLES: Migrations = Migrations {
    component: "notifications",
    steps: &[Migration {
        version: 1,
        name: "contacts, notifications",
        sql: "CREATE TABLE contacts (
                user_id VARCHAR(64) NOT NULL PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL,
                locale VARCHAR(16) NOT NULL, updated_at BIGINT NOT NULL
              ) WITHOUT ROWID;
              CREATE TABLE notifications (
                id INTEGER PRIMARY KEY AUTOINCREMENT, event_id VARCHAR(64) NOT NULL, recipient VARCHAR(64) NOT NULL,
                channel VARCHAR(16) NOT NULL, kind VARCHAR(32) NOT NULL,
                state VARCHAR(16) NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'suppressed')),
                payload TEXT, attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
                deferrals INTEGER NOT NULL DEFAULT 0 CHECK (deferrals >= 0),
                ambiguous INTEGER NOT NULL DEFAULT 0 CHECK (ambiguous >= 0),
                next_attempt_at BIGINT, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
                provider VARCHAR(16), provider_id VARCHAR(255), last_error TEXT,
                to_index VARCHAR(64), segment VARCHAR(32), pos BIGINT, length BIGINT,
                UNIQUE (event_id, recipient, channel),
                CHECK (state <> 'sent' OR provider_id IS NOT NULL),
                CHECK (state IN ('queued', 'sending') OR next_attempt_at IS NULL),
                CHECK (state <> 'sending' OR next_attempt_at IS NOT NULL)
              );
              CREATE INDEX notifications_due ON notifications (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
              CREATE INDEX notifications_to ON notifications (to_index, id) WHERE to_index IS NOT NULL;
              CREATE TABLE waiting (
                user_id VARCHAR(64) NOT NULL, notification_id BIGINT NOT NULL, PRIMARY KEY (user_id, notification_id)
              ) WITHOUT ROWID;",
    }],
};

/// What is sealed for as long as it is there; what is in a notification's payload is done with within a day.
pub(crate) static SEALED: &[host::SealedRows] =
    &[host::SealedRows { table: "contacts", key: "user_id", columns: &["email", "name"] }];

/// Keeps what is known of a user, and lets go what waited for it. Answers whether anything did.
pub(crate) fn put_contact(
    tx: &mut Tx<'_>,
    user: UserId,
    email: &Sealed,
    name: &Sealed,
    locale: &str,
    now: Timestamp,
) -> Result<bool, db::Error> {
    let user = user.to_string();
    tx.execute(
        "INSERT INTO contacts (user_id, email, name, locale, updated_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, name = excluded.name,
           locale = excluded.locale, updated_at = excluded.updated_at",
        params![user, email, name, locale, now],
    )?;
    // Read by itself, so that it waits for whoever is about to wait for this contact (see [`queue`]).
    let waiting: Vec<i64> =
        tx.query("SELECT notification_id FROM waiting WHERE user_id = ?", params![user], |row| row.get(0))?;
    let mut freed = 0;
    for id in &waiting {
        freed += tx.execute(
            "UPDATE notifications SET next_attempt_at = ?, updated_at = ? WHERE id = ? AND state = 'queued'
             AND next_attempt_at IS NULL",
            params![now, now, id],
        )?;
        tx.execute("DELETE FROM waiting WHERE user_id = ? AND notification_id = ?", params![user, id])?;
    }
    Ok(freed > 0)
}

fn is_known(tx: &mut Tx<'_>, user: &str) -> Result<bool, db::Error> {
    let sql = "SELECT 1 FROM contacts WHERE user_id = ?";
    Ok(tx.shared().query_opt(sql, params![user], |_| Ok(()))?.is_some())
}

/// Which of them are known; they stay so until the transaction ends.
fn known(tx: &mut Tx<'_>, users: &BTreeSet<&str>) -> Result<HashSet<String>, db::Error> {
    let keys: Vec<Param<'_>> = users.iter().map(ToParam::to_param).collect();
    let mut known = HashSet::with_capacity(keys.len());
    tx.shared().for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT user_id FROM contacts WHERE user_id IN ({places})");
        known.extend(tx.query(&sql, portion, |row| row.get::<String>(0))?);
        Ok(())
    })?;
    Ok(known)
}

/// A notification on its way to its row: those of a batch are queued together.
struct Queued {
    event_id: String,
    recipient: String,
    kind: &'static str,
    payload: String,
    needs_contact: bool,
    at: Timestamp,
}

const QUEUED: &str =
    "event_id, recipient, channel, kind, state, payload, next_attempt_at, created_at, updated_at";

/// Queues a notification, once an event and recipient. It waits where it needs a contact that is not known yet. Its row is there
/// at the end of the transaction.
pub(crate) fn queue(
    tx: &mut Tx<'_>,
    event_id: &str,
    recipient: UserId,
    notice: &Notice,
    now: Timestamp,
) -> kernel::Result<()> {
    tx.at_the_end(Queued {
        event_id: event_id.to_owned(),
        recipient: recipient.to_string(),
        kind: notice.kind(),
        payload: serde_json::to_string(notice).map_err(kernel::Error::internal)?,
        needs_contact: notice.needs_contact(),
        at: now,
    });
    Ok(())
}

impl Late for Queued {
    fn write(queued: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let needed = queued.iter().filter(|one| one.needs_contact);
        let known = known(tx, &needed.map(|one| one.recipient.as_str()).collect())?;
        let (due, waiting): (Vec<_>, Vec<_>) =
            queued.iter().partition(|one| !one.needs_contact || known.contains(&one.recipient));
        let values: Vec<Param<'_>> = due.into_iter().flat_map(|one| one.values(Some(one.at))).collect();
        tx.insert_rows(&format!("INSERT OR IGNORE INTO notifications ({QUEUED})"), 9, &values, "")?;
        waiting.into_iter().try_for_each(|one| one.wait(tx))
    }
}

impl Queued {
    /// In the order of [`QUEUED`].
    fn values(&self, due: Option<Timestamp>) -> [Param<'_>; 9] {
        [
            self.event_id.to_param(),
            self.recipient.to_param(),
            CHANNEL.to_param(),
            self.kind.to_param(),
            "queued".to_param(),
            self.payload.to_param(),
            due.map_or(Param::Null, |due| Param::Int(due.as_millis())),
            self.at.to_param(),
            self.at.to_param(),
        ]
    }

    /// Queues it behind its contact.
    fn wait(&self, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let places = ["?"; 9].join(", ");
        let sql = format!("INSERT OR IGNORE INTO notifications ({QUEUED}) VALUES ({places})");
        if tx.execute(&sql, &self.values(None))? == 0 {
            return Ok(());
        }
        let mine = params![self.event_id, self.recipient, CHANNEL];
        tx.execute(
            "INSERT INTO waiting (user_id, notification_id) SELECT recipient, id FROM notifications
             WHERE event_id = ? AND recipient = ? AND channel = ?",
            mine,
        )?;
        // The contact may have come between the look and the row that waits for it; of the two, one sees the other.
        if is_known(tx, &self.recipient)? {
            tx.execute(
                "UPDATE notifications SET next_attempt_at = ?
                 WHERE event_id = ? AND recipient = ? AND channel = ?",
                params![self.at, self.event_id, self.recipient, CHANNEL],
            )?;
            tx.execute(
                "DELETE FROM waiting WHERE user_id = ? AND notification_id IN (SELECT id FROM notifications
                 WHERE event_id = ? AND recipient = ? AND channel = ?)",
                params![self.recipient, self.event_id, self.recipient, CHANNEL],
            )?;
        }
        Ok(())
    }
}

/// What is known of a recipient, sealed.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub email: Sealed,
    pub name: Sealed,
    pub locale: String,
}

/// A notification that this process is sending now.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    pub id: i64,
    pub event_id: String,
    pub recipient: String,
    pub payload: String,
    /// The number of this attempt: the fencing token of its result.
    pub attempt: i64,
    pub deferrals: i64,
    pub created_at: Timestamp,
    pub contact: Option<Contact>,
    /// Somebody was sending it before and never said what came of it.
    pub was_sending: bool,
}

fn read_claimed(row: &Row<'_>) -> Result<Claimed, db::Error> {
    let contact = match (row.get(7)?, row.get(8)?, row.get(9)?) {
        (Some(email), Some(name), Some(locale)) => Some(Contact { email, name, locale }),
        _ => None,
    };
    Ok(Claimed {
        id: row.get(0)?,
        event_id: row.get(1)?,
        recipient: row.get(2)?,
        payload: row.get::<Option<String>>(3)?.unwrap_or_default(),
        attempt: row.get::<i64>(4)? + 1,
        deferrals: row.get(5)?,
        created_at: row.get(6)?,
        contact,
        was_sending: row.get::<String>(10)? == "sending",
    })
}

/// Takes up to `max` due notifications and marks them as being sent until `lease_end`.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    max: u32,
    now: Timestamp,
    lease_end: Timestamp,
) -> Result<Vec<Claimed>, db::Error> {
    let claimed = tx.query(
        "SELECT n.id, n.event_id, n.recipient, n.payload, n.attempts, n.deferrals, n.created_at,
                c.email, c.name, c.locale, n.state
         FROM notifications n LEFT JOIN contacts c ON c.user_id = n.recipient
         WHERE n.next_attempt_at <= ? ORDER BY n.next_attempt_at LIMIT ?",
        params![now, max],
        read_claimed,
    )?;
    let ids: Vec<Param<'_>> = claimed.iter().map(|one| Param::Int(one.id)).collect();
    tx.for_each_portion(&ids, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        // Its state is set last: what it was decides what is added.
        let sql = format!(
            "UPDATE notifications SET attempts = attempts + 1,
               ambiguous = ambiguous + CASE WHEN state = 'sending' THEN 1 ELSE 0 END,
               next_attempt_at = ?, updated_at = ?, state = 'sending' WHERE id IN ({places})"
        );
        let mut params = vec![lease_end.to_param(), now.to_param()];
        params.extend_from_slice(portion);
        tx.execute(&sql, &params).map(drop)
    })?;
    Ok(claimed)
}

/// What is noted of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    Sent {
        provider: &'static str,
        provider_id: String,
        to_index: String,
        place: Option<Place>,
    },
    /// To be tried again. `deferrals`: how often the provider has turned it away; `ambiguous`: it may have taken it.
    Again {
        at: Timestamp,
        reason: String,
        deferrals: i64,
        ambiguous: i64,
    },
    Failed {
        reason: String,
    },
    /// Not sent on purpose.
    Suppressed {
        reason: String,
    },
}

/// A letter that was sent.
#[derive(Debug, Clone, Copy)]
struct Letter<'a> {
    id: i64,
    attempt: i64,
    provider_id: &'a str,
    to_index: &'a str,
    place: Option<&'a Place>,
}

/// Letters that one statement marks, at most: it looks for its letter among them, for each row and column.
const LETTERS_MAX: usize = 32;

fn note_sent(
    tx: &mut Tx<'_>,
    provider: &str,
    letters: &[Letter<'_>],
    now: Timestamp,
) -> Result<usize, db::Error> {
    let mut changed = 0;
    for portion in letters.chunks(LETTERS_MAX) {
        // Filled up with the last one, so that few statements are prepared.
        let mut letters = portion.to_vec();
        letters.extend(
            portion
                .last()
                .map(|last| vec![*last; portion.len().next_power_of_two() - portion.len()])
                .unwrap_or_default(),
        );
        let by_id = format!("CASE id {} END", vec!["WHEN ? THEN ?"; letters.len()].join(" "));
        let places = vec!["?"; letters.len()].join(", ");
        // A letter that is sent needs no copy here; a code above all.
        let sql = format!(
            "UPDATE notifications SET state = 'sent', payload = NULL, next_attempt_at = NULL, last_error = NULL,
               provider = ?, updated_at = ?, provider_id = {by_id}, to_index = {by_id}, segment = {by_id},
               pos = {by_id}, length = {by_id}
             WHERE id IN ({places}) AND state = 'sending' AND attempts = {by_id}"
        );
        let mut params = vec![provider.to_param(), now.to_param()];
        let mut each = |value: &dyn Fn(&Letter<'_>) -> Param<'static>| {
            params.extend(letters.iter().flat_map(|letter| [Param::Int(letter.id), value(letter)]));
        };
        let text = |text: &str| Param::Text(text.to_owned().into());
        each(&|letter| text(letter.provider_id));
        each(&|letter| letter.place.map_or(Param::Null, |_| text(letter.to_index)));
        each(&|letter| letter.place.map_or(Param::Null, |place| text(&place.segment)));
        each(&|letter| letter.place.map_or(Param::Null, |place| Param::Int(place.offset)));
        each(&|letter| letter.place.map_or(Param::Null, |place| Param::Int(place.length)));
        params.extend(letters.iter().map(|letter| Param::Int(letter.id)));
        params.extend(letters.iter().flat_map(|letter| [letter.id, letter.attempt].map(Param::Int)));
        changed += tx.execute(&sql, &params)?;
    }
    Ok(changed)
}

/// Notes what came of several letters, each with its attempt: those that were sent together.
pub(crate) fn note_all(
    tx: &mut Tx<'_>,
    noted: &[(i64, i64, Noted)],
    now: Timestamp,
) -> Result<(), db::Error> {
    let mut sent: BTreeMap<&str, Vec<Letter<'_>>> = BTreeMap::new();
    for (id, attempt, noted) in noted {
        match noted {
            Noted::Sent { provider, provider_id, to_index, place } => sent
                .entry(provider)
                .or_default()
                .push(Letter { id: *id, attempt: *attempt, provider_id, to_index, place: place.as_ref() }),
            other => drop(note(tx, *id, *attempt, other, now)?),
        }
    }
    sent.into_iter().try_for_each(|(provider, letters)| note_sent(tx, provider, &letters, now).map(drop))
}

pub(crate) fn note(
    tx: &mut Tx<'_>,
    id: i64,
    attempt: i64,
    noted: &Noted,
    now: Timestamp,
) -> Result<bool, db::Error> {
    const MINE: &str = "WHERE id = ? AND state = 'sending' AND attempts = ?";
    let changed = match noted {
        Noted::Sent { provider, provider_id, to_index, place } => {
            let place = place.as_ref();
            note_sent(tx, provider, &[Letter { id, attempt, provider_id, to_index, place }], now)?
        }
        Noted::Again { at, reason, deferrals, ambiguous } => tx.execute(
            &format!(
                "UPDATE notifications SET state = 'queued', next_attempt_at = ?, last_error = ?, deferrals = ?,
                   ambiguous = ambiguous + ?, updated_at = ? {MINE}"
            ),
            params![at, reason, deferrals, ambiguous, now, id, attempt],
        )?,
        Noted::Failed { reason } => tx.execute(
            &format!(
                "UPDATE notifications SET state = 'failed', next_attempt_at = NULL, last_error = ?,
                   payload = CASE WHEN kind = 'verification' THEN NULL ELSE payload END, updated_at = ? {MINE}"
            ),
            params![reason, now, id, attempt],
        )?,
        Noted::Suppressed { reason } => tx.execute(
            &format!(
                "UPDATE notifications SET state = 'suppressed', next_attempt_at = NULL, payload = NULL,
                   last_error = ?, updated_at = ? {MINE}"
            ),
            params![reason, now, id, attempt],
        )?,
    };
    Ok(changed == 1)
}

/// When the next row is to be looked at: a hint, for which nothing is locked.
pub(crate) fn next_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, db::Error> {
    let sql = "SELECT MIN(next_attempt_at) FROM notifications WHERE next_attempt_at IS NOT NULL";
    tx.unlocked().query_one(sql, params![], |row| row.get(0))
}

/// Makes everything that was being sent due at once: after a start of the only process that can have been sending.
pub(crate) fn end_leases(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, db::Error> {
    tx.execute("UPDATE notifications SET next_attempt_at = ? WHERE state = 'sending'", params![now])
}

/// A letter in the mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub id: i64,
    pub kind: String,
    pub sent_at: Timestamp,
    pub place: Place,
}

fn read_delivered(row: &Row<'_>) -> Result<Delivered, db::Error> {
    let place = Place { segment: row.get(3)?, offset: row.get(4)?, length: row.get(5)? };
    Ok(Delivered { id: row.get(0)?, kind: row.get(1)?, sent_at: row.get(2)?, place })
}

/// The latest letters first, those with an id below `before`.
pub(crate) fn delivered(
    tx: &mut Tx<'_>,
    to_index: Option<&str>,
    before: i64,
    limit: u32,
) -> Result<Vec<Delivered>, db::Error> {
    const COLUMNS: &str = "SELECT id, kind, updated_at, segment, pos, length FROM notifications";
    match to_index {
        Some(to) => tx.query(
            &format!("{COLUMNS} WHERE to_index = ? AND id < ? ORDER BY id DESC LIMIT ?"),
            params![to, before, limit],
            read_delivered,
        ),
        None => tx.query(
            &format!("{COLUMNS} WHERE to_index IS NOT NULL AND id < ? ORDER BY id DESC LIMIT ?"),
            params![before, limit],
            read_delivered,
        ),
    }
}

pub(crate) fn delivered_one(tx: &mut Tx<'_>, id: i64) -> Result<Option<Delivered>, db::Error> {
    let sql = "SELECT id, kind, updated_at, segment, pos, length FROM notifications
               WHERE id = ? AND to_index IS NOT NULL";
    tx.query_opt(sql, params![id], read_delivered)
}

/// Forgets finished notifications made before `horizon`, oldest first; what still waits for a contact has failed.
pub(crate) fn forget(tx: &mut Tx<'_>, horizon: Timestamp, now: Timestamp) -> Result<usize, db::Error> {
    let old: Vec<(i64, bool)> = tx.query(
        "SELECT id, waits FROM (
           SELECT id, created_at, state = 'queued' AND next_attempt_at IS NULL AS waits
           FROM notifications ORDER BY id LIMIT 1000) oldest
         WHERE created_at < ?",
        params![horizon],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut changed = 0;
    for (id, waits) in old {
        changed += if waits {
            tx.execute("DELETE FROM waiting WHERE notification_id = ?", params![id])?;
            tx.execute(
                "UPDATE notifications SET state = 'failed', last_error = 'the recipient was never heard of',
                   updated_at = ? WHERE id = ?",
                params![now, id],
            )?
        } else {
            tx.execute(
                "DELETE FROM notifications WHERE id = ? AND updated_at < ?
                 AND state IN ('sent', 'failed', 'suppressed')",
                params![id, horizon],
            )?
        };
    }
    Ok(changed)
}
