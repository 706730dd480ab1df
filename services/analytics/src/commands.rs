//! Taking transactions in.

use std::collections::{BTreeMap, BTreeSet};

use db::Tx;
use kernel::{Error, Result, Timestamp};

use crate::domain::{Deltas, Gross, Outcome, Refusal, RefusalCode, Source, Transaction, minute_of};
use crate::store::{totals, transactions, windows};

/// A line that could be read, or why it could not.
pub type Line = Result<Transaction, Refusal>;

/// Stores the lines that are new and adds them to the totals, all in one transaction; answers what became of each.
pub fn ingest(tx: &mut Tx<'_>, source: &Source, lines: &[Line], now: Timestamp) -> Result<Vec<Outcome>> {
    let currencies: BTreeSet<_> = lines.iter().flatten().map(|line| line.fields().currency).collect();
    let mut gross = totals::gross(tx, source, currencies)?;
    let mut deltas = Deltas::default();
    let mut outcomes = Vec::with_capacity(lines.len());
    let mut results: BTreeMap<&'static str, i64> = BTreeMap::new();
    for line in lines {
        let outcome = match line {
            Ok(line) => take(tx, source, line, now, &mut gross, &mut deltas)?,
            Err(refusal) => Outcome::Rejected(refusal.clone()),
        };
        let result = match &outcome {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "duplicate",
            Outcome::Rejected(refusal) => refusal.code.as_str(),
        };
        *results.entry(result).or_default() += 1;
        outcomes.push(outcome);
    }
    totals::add(tx, source, &deltas)?;
    totals::count_ingest(tx, minute_of(now), &results)?;
    windows::raise_revision(tx)?;
    Ok(outcomes)
}

fn take<'a>(
    tx: &mut Tx<'_>,
    source: &Source,
    line: &'a Transaction,
    now: Timestamp,
    gross: &mut Gross,
    deltas: &mut Deltas<'a>,
) -> Result<Outcome> {
    let has_room = gross.take(line);
    if has_room && transactions::insert(tx, source, line, now)? {
        deltas.add(line);
        return Ok(Outcome::Accepted);
    }
    if has_room {
        gross.give_back(line);
    }
    let rejected = |code, detail: &str| Ok(Outcome::Rejected(Refusal::new(code, detail)));
    match transactions::find(tx, source, &line.fields().external_id)? {
        Some(stored) if stored == *line.fields() => Ok(Outcome::Duplicate),
        Some(_) => rejected(
            RefusalCode::ContentDiffers,
            "a line with this external_id was taken before with another content",
        ),
        None if has_room => Err(Error::internal("a line was neither stored nor there before")),
        None => rejected(RefusalCode::TotalOverflow, "a total would leave the range of 64-bit minor units"),
    }
}
