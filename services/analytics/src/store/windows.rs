//! Windows of the shop's own events, their late totals, and how far each stream is.
//!
//! Invariant: everything here is added to, and nothing is read that another replica's batch could change before this one's
//! commit, apart from rows that the database locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use db::{Error, Param, ToParam, Tx, params};
use kernel::Timestamp;
use messaging::Cleared;

use super::rows;
use crate::domain::tumble::{Batch, Marks, Measure, Place, Size, Sum, Total};

/// Rows that one transaction of a sweep or of an emptying deletes, at most.
const PORTION: u32 = 1_000;

/// How far these streams are.
pub fn marks(tx: &mut Tx<'_>, places: &BTreeSet<Place>) -> Result<Marks, Error> {
    let values: Vec<Param<'_>> =
        places.iter().flat_map(|place| [place.topic.to_param(), place.partition.to_param()]).collect();
    let mut marks = Marks::new();
    rows::for_pairs(["topic", "part"], &values, |condition, keys| {
        let sql = format!("SELECT topic, part, reached_at FROM stream_marks WHERE {condition}");
        for (topic, partition, mark) in
            tx.query(&sql, keys, |row| Ok((row.get::<String>(0)?, row.get::<u32>(1)?, row.get(2)?)))?
        {
            let of_it = |place: &&Place| place.topic == topic && place.partition == partition;
            marks.extend(places.iter().find(of_it).map(|place| (*place, mark)));
        }
        Ok(())
    })?;
    Ok(marks)
}

/// `told_at` is the time of the latest message of each stream, `now` when it was heard.
pub fn save_marks(
    tx: &mut Tx<'_>,
    marks: &Marks,
    told_at: &BTreeMap<Place, Timestamp>,
    now: Timestamp,
) -> Result<(), Error> {
    let values: Vec<Param<'_>> = told_at
        .iter()
        .flat_map(|(place, told_at)| {
            let reached = marks.get(place).unwrap_or(&i64::MIN);
            [
                place.topic.to_param(),
                place.partition.to_param(),
                reached.to_param(),
                told_at.to_param(),
                now.to_param(),
            ]
        })
        .collect();
    tx.insert_rows(
        "INSERT INTO stream_marks (topic, part, reached_at, told_at, heard_at)",
        5,
        &values,
        "ON CONFLICT (topic, part) DO UPDATE SET \
         reached_at = CASE WHEN excluded.reached_at > reached_at THEN excluded.reached_at ELSE reached_at END, \
         told_at = CASE WHEN excluded.told_at > told_at THEN excluded.told_at ELSE told_at END, \
         heard_at = excluded.heard_at",
    )
}

/// Refuses a batch after which a total would leave the range of 64 bits. Where these fit, every window fits.
pub fn check_room(tx: &mut Tx<'_>, batch: &Batch) -> Result<(), Error> {
    let values: Vec<Param<'_>> = batch
        .totals
        .keys()
        .flat_map(|(measure, label)| [measure.as_str().to_param(), label.to_param()])
        .collect();
    let mut kept: HashMap<(String, String), (i64, i64)> = HashMap::new();
    rows::for_pairs(["measure", "label"], &values, |condition, keys| {
        let sql = format!(
            "SELECT measure, label, gross_counted, gross_amount FROM window_totals WHERE {condition} \
             ORDER BY measure, label"
        );
        kept.extend(tx.query(&sql, keys, |row| {
            Ok(((row.get::<String>(0)?, row.get::<String>(1)?), (row.get(2)?, row.get(3)?)))
        })?);
        Ok(())
    })?;
    for ((measure, label), Total { gross, .. }) in &batch.totals {
        let found = kept.get(&(measure.as_str().to_owned(), label.to_string()));
        let (count, amount) = found.copied().unwrap_or((0, 0));
        let fits = |kept: i64, more: i64| kept.checked_add(more).is_some_and(|sum| sum < i64::MAX);
        if !fits(count, gross.count) || !fits(amount, gross.amount) {
            let text = format!("total_overflow: {} {label} would leave 64 bits", measure.as_str());
            return Err(Error::Other(text));
        }
    }
    Ok(())
}

/// Adds a batch to all windows and totals.
pub fn add(tx: &mut Tx<'_>, batch: &Batch) -> Result<(), Error> {
    let values: Vec<Param<'_>> = batch
        .cells
        .iter()
        .flat_map(|(cell, sum)| {
            [
                cell.size.as_str().to_param(),
                cell.start.to_param(),
                cell.measure.as_str().to_param(),
                cell.label.to_param(),
                sum.count.to_param(),
                sum.amount.to_param(),
            ]
        })
        .collect();
    const ADD: &str = "counted = counted + excluded.counted, amount = amount + excluded.amount";
    tx.insert_rows(
        "INSERT INTO windows (window_size, starts_at, measure, label, counted, amount)",
        6,
        &values,
        &format!("ON CONFLICT (window_size, starts_at, measure, label) DO UPDATE SET {ADD}"),
    )?;
    let values: Vec<Param<'_>> = batch
        .late
        .iter()
        .flat_map(|((size, measure, label), late)| {
            [
                size.as_str().to_param(),
                measure.as_str().to_param(),
                label.to_param(),
                late.facts.to_param(),
                late.sum.count.to_param(),
                late.sum.amount.to_param(),
            ]
        })
        .collect();
    tx.insert_rows(
        "INSERT INTO window_late (window_size, measure, label, facts, counted, amount)",
        6,
        &values,
        &format!(
            "ON CONFLICT (window_size, measure, label) DO UPDATE SET facts = facts + excluded.facts, {ADD}"
        ),
    )?;
    let values: Vec<Param<'_>> = batch
        .totals
        .iter()
        .flat_map(|((measure, label), Total { sum, gross })| {
            [
                measure.as_str().to_param(),
                label.to_param(),
                sum.count.to_param(),
                sum.amount.to_param(),
                gross.count.to_param(),
                gross.amount.to_param(),
            ]
        })
        .collect();
    tx.insert_rows(
        "INSERT INTO window_totals (measure, label, counted, amount, gross_counted, gross_amount)",
        6,
        &values,
        &format!(
            "ON CONFLICT (measure, label) DO UPDATE SET {ADD}, gross_counted = gross_counted + excluded.gross_counted, \
             gross_amount = gross_amount + excluded.gross_amount"
        ),
    )
}

/// One number of one window, as it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    pub start: i64,
    pub measure: Measure,
    pub label: String,
    pub sum: Sum,
}

/// Windows that begin within `from..to`, in their order.
pub fn between(tx: &mut Tx<'_>, size: Size, from: i64, to: i64) -> Result<Vec<Kept>, Error> {
    let sql = "SELECT starts_at, measure, label, counted, amount FROM windows \
               WHERE window_size = ? AND starts_at >= ? AND starts_at < ? ORDER BY starts_at, measure, label";
    tx.query(sql, params![size.as_str(), from, to], |row| {
        Ok(Kept {
            start: row.get(0)?,
            measure: row.parse(1)?,
            label: row.get(2)?,
            sum: Sum::new(row.get(3)?, row.get(4)?),
        })
    })
}

/// Everything ever of one measure, by label, of those after `after`.
pub fn totals(
    tx: &mut Tx<'_>,
    measure: Measure,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, Sum)>, Error> {
    let sql = "SELECT label, counted, amount FROM window_totals WHERE measure = ? AND label > ? \
               ORDER BY label LIMIT ?";
    tx.query(sql, params![measure.as_str(), after, limit], |row| {
        Ok((row.get(0)?, Sum::new(row.get(1)?, row.get(2)?)))
    })
}

/// Months of one measure after the place (start, label), in their order.
pub fn months(
    tx: &mut Tx<'_>,
    measure: Measure,
    range: std::ops::Range<i64>,
    after: (i64, &str),
    limit: u32,
) -> Result<Vec<Kept>, Error> {
    let sql = "SELECT starts_at, label, counted, amount FROM windows \
               WHERE window_size = ? AND measure = ? AND starts_at >= ? AND starts_at < ? \
               AND (starts_at > ? OR label > ?) ORDER BY starts_at, label LIMIT ?";
    let (start, label) = after;
    let from = start.max(range.start);
    let size = Size::Month.as_str();
    tx.query(sql, params![size, measure.as_str(), from, range.end, start, label, limit], |row| {
        Ok(Kept { start: row.get(0)?, measure, label: row.get(1)?, sum: Sum::new(row.get(2)?, row.get(3)?) })
    })
}

/// What came too late for windows of each size: facts of this measure, by label.
pub fn late(tx: &mut Tx<'_>, measure: Measure) -> Result<Vec<(Size, String, i64, Sum)>, Error> {
    let sql = "SELECT window_size, label, facts, counted, amount FROM window_late WHERE measure = ? \
               ORDER BY window_size, label";
    tx.query(sql, params![measure.as_str()], |row| {
        Ok((row.parse(0)?, row.get(1)?, row.get(2)?, Sum::new(row.get(3)?, row.get(4)?)))
    })
}

/// How far one stream is.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub reached_at: i64,
    pub told_at: Timestamp,
    pub heard_at: Timestamp,
}

pub fn all_marks(tx: &mut Tx<'_>) -> Result<Vec<Mark>, Error> {
    let sql = "SELECT reached_at, told_at, heard_at FROM stream_marks ORDER BY topic, part";
    tx.query(sql, params![], |row| {
        Ok(Mark { reached_at: row.get(0)?, told_at: row.get(1)?, heard_at: row.get(2)? })
    })
}

/// Deletes some of the windows of this size that begin before `bound`, the oldest first; answers how many rows went.
pub fn sweep(tx: &mut Tx<'_>, size: Size, bound: i64) -> Result<usize, Error> {
    let sql = "SELECT starts_at FROM windows WHERE window_size = ? ORDER BY starts_at LIMIT 1 OFFSET ?";
    let next: Option<i64> =
        tx.unlocked().query_opt(sql, params![size.as_str(), PORTION], |row| row.get(0))?;
    // At least the oldest window goes, however many rows it has.
    let upto = next.map_or(bound, |next| bound.min(next + 1));
    tx.execute("DELETE FROM windows WHERE window_size = ? AND starts_at < ?", params![size.as_str(), upto])
}

/// Forgets windows, late totals and marks, a portion at a time.
pub fn clear(tx: &mut Tx<'_>) -> Result<Cleared, Error> {
    for size in Size::ALL {
        if sweep(tx, size, i64::MAX)? > 0 {
            return Ok(Cleared::Partly);
        }
    }
    for table in ["window_late", "window_totals", "stream_marks", "window_tops"] {
        tx.execute(&format!("DELETE FROM {table}"), params![])?;
    }
    Ok(Cleared::Wholly)
}

/// Rises with every transaction that changes what is shown.
pub fn raise_revision(tx: &mut Tx<'_>) -> Result<(), Error> {
    let sql = "INSERT INTO analytics_state (name, number) VALUES ('revision', 1) \
               ON CONFLICT (name) DO UPDATE SET number = number + excluded.number";
    tx.execute(sql, params![]).map(drop)
}

pub fn revision(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let sql = "SELECT number FROM analytics_state WHERE name = 'revision'";
    Ok(tx.query_opt(sql, params![], |row| row.get(0))?.unwrap_or(0))
}

/// One window's numbers of one measure, by label, of those after `after`.
pub fn in_window(
    tx: &mut Tx<'_>,
    size: Size,
    start: i64,
    measure: Measure,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, Sum)>, Error> {
    let sql = "SELECT label, counted, amount FROM windows WHERE window_size = ? AND starts_at = ? \
               AND measure = ? AND label > ? ORDER BY label LIMIT ?";
    tx.query(sql, params![size.as_str(), start, measure.as_str(), after, limit], |row| {
        Ok((row.get(0)?, Sum::new(row.get(1)?, row.get(2)?)))
    })
}
