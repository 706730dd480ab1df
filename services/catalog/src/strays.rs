//! Pictures that may be nobody's, and the sweep that clears them away.
//!
//! Invariants:
//! - a picture that a product refers to is never removed. Whoever is about to refer to one announces it first; the sweep
//!   dooms only what has been a stray since before a day, and only if nobody has announced it while it looked;
//! - a name that is doomed once is nobody's for ever: the same picture, sent again, is kept under another name. So a
//!   removal takes away nothing that is needed, however late it comes, and whoever does it: a process that was paused
//!   past its lease, or an answer that was lost and is asked for again;
//! - a stray is done with only when it is gone or somebody's: a store that is away costs a later try.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db::{Db, Migration, Migrations, Tx, params};
use kernel::{Clock, Error, Result, Timestamp};
use messaging::{Job, Progress};
use objects::{Key, LIST_MAX, Objects};

use crate::pictures::PictureName;

pub const MIGRATIONS: Migrations = Migrations {
    component: "catalog_pictures",
    steps: &[Migration {
        version: 1,
        name: "pictures that may be nobody's",
        // `doomed_at`: since when it is nobody's for ever; 0 where it may yet be somebody's. `since` of one that is gone is
        // [`GONE`].
        sql: "CREATE TABLE stray_pictures (
                name VARCHAR(80) NOT NULL PRIMARY KEY, since BIGINT NOT NULL, doomed_at BIGINT NOT NULL
              ) WITHOUT ROWID;
              CREATE INDEX stray_pictures_by_since ON stray_pictures (since);",
    }],
};

/// What is doomed and gone comes after all that is still to be dealt with.
const GONE: Timestamp = Timestamp::from_millis(i64::MAX);

/// How long a picture may be nobody's.
pub const GRACE: Duration = Duration::from_secs(86_400);
/// After that a removal that was begun is begun again: whoever began it has died.
const REMOVAL_MAX: Duration = Duration::from_secs(60);
const AT_ONCE: u32 = 100;
const PRODUCTS_AT_ONCE: u32 = 500;
/// How often the whole store is looked through for what no table knows of.
const AUDIT_EVERY: Duration = Duration::from_secs(86_400);

/// Before a picture is put into the store: it is nobody's until a product refers to it. Answers the name under which it is
/// to be kept: its own, or where that is doomed the next one that is not.
pub fn announce(tx: &mut Tx<'_>, name: &PictureName, now: Timestamp) -> Result<PictureName> {
    let mut name = name.clone();
    loop {
        let sql = "UPDATE stray_pictures SET since = ? WHERE name = ? AND doomed_at = 0";
        if tx.execute(sql, params![now, name.as_str()])? == 1 || insert(tx, name.as_str(), now)? == 1 {
            return Ok(name);
        }
        name = name.next();
    }
}

/// A product refers to it. 503 where it was doomed meanwhile: whoever announced it took longer than a stray is kept.
pub fn claim(tx: &mut Tx<'_>, name: &str) -> Result<()> {
    let sql = "SELECT doomed_at FROM stray_pictures WHERE name = ?";
    let doomed_at: Option<i64> = tx.query_opt(sql, params![name], |row| row.get(0))?;
    if doomed_at.is_some_and(|at| at > 0) {
        let text = "this picture was cleared away before a product had it: send it again";
        return Err(Error::unavailable("picture_gone", text));
    }
    tx.execute("DELETE FROM stray_pictures WHERE name = ? AND doomed_at = 0", params![name])?;
    Ok(())
}

/// A product refers to it no more; another may.
pub fn suspect(tx: &mut Tx<'_>, name: &str, now: Timestamp) -> Result<(), db::Error> {
    insert(tx, name, now).map(drop)
}

fn insert(tx: &mut Tx<'_>, name: &str, since: Timestamp) -> Result<usize, db::Error> {
    let sql = "INSERT OR IGNORE INTO stray_pictures (name, since, doomed_at) VALUES (?, ?, 0)";
    tx.execute(sql, params![name, since])
}

/// A picture that may be nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stray {
    pub name: String,
    since: Timestamp,
    doomed_at: Timestamp,
}

impl Stray {
    /// Whether somebody has doomed it, and may be removing it.
    pub fn is_begun(&self) -> bool {
        self.doomed_at > Timestamp::EPOCH
    }
}

pub(crate) fn strays_before(tx: &mut Tx<'_>, before: Timestamp) -> Result<Vec<Stray>, db::Error> {
    let sql = "SELECT name, since, doomed_at FROM stray_pictures WHERE since < ? ORDER BY since LIMIT ?";
    tx.query(sql, params![before, AT_ONCE], |row| {
        Ok(Stray { name: row.get(0)?, since: row.get(1)?, doomed_at: row.get(2)? })
    })
}

/// The products after `number` that have pictures: their numbers and the names.
fn pictures_after(tx: &mut Tx<'_>, number: i64) -> Result<Vec<(i64, Vec<String>)>, db::Error> {
    let sql =
        "SELECT number, images FROM products WHERE number > ? AND images <> '[]' ORDER BY number LIMIT ?";
    tx.query(sql, params![number, PRODUCTS_AT_ONCE], |row| Ok((row.get(0)?, row.json(1)?)))
}

/// Takes away what has been nobody's for long.
pub struct Sweep {
    db: Db,
    objects: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    audit: Mutex<Audit>,
}

/// How far the look through the store is.
#[derive(Clone, Default)]
struct Audit {
    after: Option<Key>,
    rests_until: Timestamp,
}

impl Sweep {
    pub fn new(db: Db, objects: Arc<dyn Objects>, clock: Arc<dyn Clock>) -> Self {
        Self { db, objects, clock, audit: Mutex::default() }
    }

    /// Those of `names` that no product refers to.
    async fn unreferenced(&self, names: Vec<String>) -> Result<HashSet<String>> {
        let mut names: HashSet<String> = names.into_iter().collect();
        let mut number = 0;
        while !names.is_empty() {
            let products = self.db.read(move |tx| pictures_after(tx, number)).await?;
            let Some((last, _)) = products.last() else { break };
            number = *last;
            for name in products.iter().flat_map(|(_, pictures)| pictures) {
                names.remove(name);
            }
        }
        Ok(names)
    }

    /// Decides on some strays and removes what is nobody's; answers how many it dealt with.
    async fn clear(&self) -> Result<usize> {
        let now = self.clock.now();
        let mut strays = self.db.read(move |tx| strays_before(tx, now.minus(GRACE))).await?;
        strays.retain(|stray| !stray.is_begun() || now.since(stray.doomed_at) > REMOVAL_MAX);
        let (begun, open): (Vec<_>, Vec<_>) = strays.into_iter().partition(Stray::is_begun);
        let unreferenced = self.unreferenced(open.iter().map(|stray| stray.name.clone()).collect()).await?;
        let dealt_with = begun.len() + open.len();
        let mut doomed: Vec<String> = begun.into_iter().map(|stray| stray.name).collect();
        doomed.extend(self.db.write(move |tx| doom(tx, &open, &unreferenced, now)).await?);
        for name in &doomed {
            if let Some(name) = PictureName::parse(name) {
                self.objects.remove(&name.key()?).await?;
            }
        }
        if !doomed.is_empty() {
            tracing::info!(pictures = doomed.len(), "pictures that no product refers to were removed");
            self.db.write(move |tx| bury(tx, &doomed)).await?;
        }
        Ok(dealt_with)
    }

    fn audit(&self) -> std::sync::MutexGuard<'_, Audit> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a page of the store for pictures that no table knows of: put before there was one, or restored.
    async fn look_through(&self) -> Result<()> {
        let now = self.clock.now();
        let Audit { after, rests_until } = self.audit().clone();
        if now < rests_until {
            return Ok(());
        }
        let page = self.objects.list("", after.as_ref(), LIST_MAX).await?;
        let next = match page.last() {
            Some(last) if page.len() == LIST_MAX => Audit { after: Some(last.key.clone()), rests_until },
            _ => Audit { after: None, rests_until: now.plus(AUDIT_EVERY) },
        };
        let old =
            page.into_iter().filter(|listed| listed.modified_at < now.minus(GRACE)).filter_map(|listed| {
                let name = PictureName::parse(listed.key.as_str().split_once('/')?.1)?;
                // What lies elsewhere is somebody else's.
                (name.key().ok()? == listed.key).then(|| name.as_str().to_owned())
            });
        let unreferenced = self.unreferenced(old.collect()).await?;
        if !unreferenced.is_empty() {
            let found = move |tx: &mut Tx<'_>| unreferenced.iter().try_for_each(|name| found(tx, name, now));
            self.db.write(found).await?;
        }
        *self.audit() = next;
        Ok(())
    }
}

/// Decides on strays as they were read: forgets those that are somebody's, dooms the others. Answers whom it doomed;
/// one that was announced in between is left alone.
pub(crate) fn doom(
    tx: &mut Tx<'_>,
    strays: &[Stray],
    unreferenced: &HashSet<String>,
    now: Timestamp,
) -> Result<Vec<String>, db::Error> {
    let mut doomed = Vec::new();
    for Stray { name, since, .. } in strays {
        if !unreferenced.contains(name) {
            let sql = "DELETE FROM stray_pictures WHERE name = ? AND since = ? AND doomed_at = 0";
            tx.execute(sql, params![name, since])?;
            continue;
        }
        let sql = "UPDATE stray_pictures SET doomed_at = ? WHERE name = ? AND since = ? AND doomed_at = 0";
        if tx.execute(sql, params![now, name, since])? == 1 {
            doomed.push(name.clone());
        }
    }
    Ok(doomed)
}

/// They are gone; that they were doomed is remembered.
pub(crate) fn bury(tx: &mut Tx<'_>, names: &[String]) -> Result<(), db::Error> {
    for name in names {
        let sql = "UPDATE stray_pictures SET since = ? WHERE name = ? AND doomed_at > 0";
        tx.execute(sql, params![GONE, name])?;
    }
    Ok(())
}

/// The store has it and no product refers to it: a stray, or one that was put after it had been removed.
fn found(tx: &mut Tx<'_>, name: &str, now: Timestamp) -> Result<(), db::Error> {
    suspect(tx, name, now)?;
    let sql = "UPDATE stray_pictures SET since = ? WHERE name = ? AND doomed_at > 0 AND since = ?";
    tx.execute(sql, params![now, name, GONE]).map(drop)
}

#[async_trait]
impl Job for Sweep {
    async fn run(&self) -> Result<Progress> {
        let dealt_with = self.clear().await?;
        self.look_through().await?;
        Ok(Progress::from_count(dealt_with))
    }
}
