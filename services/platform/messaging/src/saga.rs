//! Sagas: a persisted state and a pure step function (R21–R25).
//!
//! Invariants:
//! - the state, the history and the commands of a step are one transaction: the intent is written before the call;
//! - a row is saved only over the version that was loaded, so of two runners one fails and changes nothing (R24): its
//!   version is compared under the row's lock, and it stays locked until it is written;
//! - a saga that waits has a deadline, and the deadline is in its row.

use db::{Kept, Param, Row, ToParam, Tx, params};
use kernel::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// A saga as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<S> {
    pub state: S,
    pub version: i64,
    pub deadline_at: Option<Timestamp>,
}

/// A saga's row. It is written once, at the end of the transaction, however many steps the saga took in it.
#[derive(Debug, Clone)]
struct SagaRow {
    kind: String,
    id: String,
    state: String,
    version: i64,
    deadline_at: Option<Timestamp>,
}

const COLUMNS: &str = "kind, id, state, version, deadline_at";

impl SagaRow {
    fn read(row: &Row<'_>) -> Result<Self, db::Error> {
        Ok(Self {
            kind: row.get(0)?,
            id: row.get(1)?,
            state: row.get(2)?,
            version: row.get(3)?,
            deadline_at: row.get(4)?,
        })
    }

    fn values(rows: &[Self]) -> Vec<Param<'_>> {
        fn of(row: &SagaRow) -> [Param<'_>; 5] {
            let (version, deadline_at) = (row.version.to_param(), row.deadline_at.to_param());
            [row.kind.to_param(), row.id.to_param(), row.state.to_param(), version, deadline_at]
        }
        rows.iter().flat_map(of).collect()
    }
}

impl Kept for SagaRow {
    type Key = (String, String);

    fn key(&self) -> Self::Key {
        (self.kind.clone(), self.id.clone())
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let into = format!("INSERT INTO sagas ({COLUMNS})");
        tx.insert_rows(&into, 5, &Self::values(&new), "")?;
        tx.insert_rows(
            &into,
            5,
            &Self::values(&changed),
            "ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state, version = excluded.version, \
             deadline_at = excluded.deadline_at",
        )
    }
}

/// Reads the sagas that are about to be taken further, so that [`load`] finds them there.
pub fn look_ahead(tx: &mut Tx<'_>, kind: &str, ids: &[String]) -> Result<(), db::Error> {
    let ids = tx.unknown::<SagaRow>(ids.iter().map(|id| (kind.to_owned(), id.clone())));
    let keys: Vec<Param<'_>> = ids.iter().map(|(_, id)| id.to_param()).collect();
    let mut found = Vec::with_capacity(ids.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT {COLUMNS} FROM sagas WHERE kind = ? AND id IN ({places}) ORDER BY id");
        let mut params = vec![kind.to_param()];
        params.extend_from_slice(portion);
        found.extend(tx.query(&sql, &params, SagaRow::read)?);
        Ok(())
    })?;
    // Those that are not there are looked for again by whoever needs them: somebody may begin them meanwhile.
    found.into_iter().for_each(|row| tx.note(row.key(), Some(row)));
    Ok(())
}

fn find(tx: &mut Tx<'_>, kind: &str, id: &str) -> Result<Option<SagaRow>, db::Error> {
    let key = (kind.to_owned(), id.to_owned());
    if let Some(Some(row)) = tx.kept::<SagaRow>(&key) {
        return Ok(Some(row));
    }
    let sql = format!("SELECT {COLUMNS} FROM sagas WHERE kind = ? AND id = ?");
    let found = tx.query_opt(&sql, params![kind, id], SagaRow::read)?;
    if let Some(row) = &found {
        tx.note(key, Some(row.clone()));
    }
    Ok(found)
}

pub fn load<S: DeserializeOwned>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
) -> Result<Option<Stored<S>>, db::Error> {
    let Some(row) = find(tx, kind, id)? else { return Ok(None) };
    let state = serde_json::from_str(&row.state)
        .map_err(|error| db::Error::Decode { column: 2, problem: error.to_string() })?;
    Ok(Some(Stored { state, version: row.version, deadline_at: row.deadline_at }))
}

pub fn insert<S: Serialize>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
    state: &S,
    deadline_at: Option<Timestamp>,
) -> kernel::Result<()> {
    let state = serde_json::to_string(state).map_err(kernel::Error::internal)?;
    let (kind, id) = (kind.to_owned(), id.to_owned());
    Ok(tx.keep_new(SagaRow { kind, id, state, version: 1, deadline_at })?)
}

/// Saves over `version`. A conflict means that another runner was faster: load again.
pub fn save<S: Serialize>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
    state: &S,
    version: i64,
    deadline_at: Option<Timestamp>,
) -> kernel::Result<()> {
    let state = serde_json::to_string(state).map_err(kernel::Error::internal)?;
    match find(tx, kind, id)? {
        Some(row) if row.version == version => {
            tx.keep(SagaRow { state, version: version + 1, deadline_at, ..row });
            Ok(())
        }
        _ => Err(kernel::Error::unavailable("saga_moved_on", "another runner has taken this saga further")),
    }
}

/// Puts off the deadline of a saga, where it has passed; its state stays. `until` is told the saga's version, and says when it is
/// due next. Answers `None` where it is not due any more, also by what this very transaction has done to it.
pub fn put_off<T>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
    now: Timestamp,
    until: impl FnOnce(&mut Tx<'_>, i64) -> Result<(T, Timestamp), db::Error>,
) -> Result<Option<T>, db::Error> {
    let Some(row) = find(tx, kind, id)?.filter(|row| row.deadline_at.is_some_and(|at| at <= now)) else {
        return Ok(None);
    };
    let (told, deadline_at) = until(tx, row.version)?;
    tx.keep(SagaRow { deadline_at: Some(deadline_at), ..row });
    Ok(Some(told))
}

/// The sagas whose deadline has passed, the most overdue first.
pub fn due(tx: &mut Tx<'_>, kind: &str, now: Timestamp, limit: u32) -> Result<Vec<String>, db::Error> {
    let sql = "SELECT id FROM sagas WHERE deadline_at <= ? AND kind = ? ORDER BY deadline_at LIMIT ?";
    tx.query(sql, params![now, kind, limit], |row| row.get(0))
}

/// How many sagas wait for an answer or their deadline, counted up to `max`.
pub fn count_waiting(tx: &mut Tx<'_>, kind: &str, max: u32) -> Result<u32, db::Error> {
    let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sagas WHERE deadline_at IS NOT NULL AND kind = ? LIMIT ?) waiting";
    let count: i64 = tx.query_one(sql, params![kind, max], |row| row.get(0))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
