//! What a transaction writes at its end: rows that commands have kept or added, all of a kind together.
//!
//! Invariants:
//! - what a part of a command adds is listed in the order in which it came, so undoing the part forgets what it has added and
//!   nothing else;
//! - commands that share a transaction share its end: where it fails, each of them fails.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use crate::kept::{Shelf, Shelves};
use crate::{Connection, Error, Param, Tx};

/// What a transaction writes once its commands have succeeded, all of a kind together: a statement for many rows where
/// each would have cost one.
pub trait Late: Send + Sized + 'static {
    /// `items` are in the order in which they came. Failing fails the command.
    fn write(items: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error>;
}

/// Who writes what is left to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// The command itself: it can be undone alone.
    #[default]
    OfCommand,
    /// The engine, by [`Work::finish`], for all commands of the transaction.
    OfTransaction,
}

type Writer = fn(Vec<Box<dyn Any + Send>>, &mut Tx<'_>) -> Result<(), Error>;

enum Pending {
    Late {
        kind: TypeId,
        item: Box<dyn Any + Send>,
        write: Writer,
    },
    /// How to forget a change of a kept row.
    Keep(Box<dyn FnOnce(&mut Shelves) + Send>),
}

fn write_all<T: Late>(items: Vec<Box<dyn Any + Send>>, tx: &mut Tx<'_>) -> Result<(), Error> {
    T::write(items.into_iter().filter_map(|item| item.downcast().ok()).map(|item| *item).collect(), tx)
}

/// What the commands of one transaction have left for its end, and the rows that they know.
#[derive(Default)]
pub struct Work {
    pub(crate) end: End,
    pending: Vec<Pending>,
    shelves: Shelves,
    /// The fences that were found to hold, until the transaction ends.
    pub(crate) passed: Vec<usize>,
}

impl Work {
    pub fn new(end: End) -> Self {
        Self { end, ..Self::default() }
    }

    /// Forgets the transaction before.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.shelves.clear();
        self.passed.clear();
    }

    pub(crate) fn add<T: Late>(&mut self, item: T) {
        let item = Box::new(item);
        self.pending.push(Pending::Late { kind: TypeId::of::<T>(), item, write: write_all::<T> });
    }

    pub(crate) fn on_undo(&mut self, undo: impl FnOnce(&mut Shelves) + Send + 'static) {
        self.pending.push(Pending::Keep(Box::new(undo)));
    }

    pub(crate) fn shelves(&mut self) -> &mut Shelves {
        &mut self.shelves
    }

    /// A place to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn undo_to(&mut self, mark: usize) {
        while self.pending.len() > mark {
            if let Some(Pending::Keep(undo)) = self.pending.pop() {
                undo(&mut self.shelves);
            }
        }
    }

    /// Writes what was left to the end of the transaction that `connection` is in.
    pub fn finish(connection: &mut dyn Connection) -> Result<(), Error> {
        write(&mut Tx::new(connection, &mut Vec::new()))
    }

    /// The next kind that waits, with all that is there of it.
    fn take_kind(&mut self) -> Option<(Writer, Vec<Box<dyn Any + Send>>)> {
        let mut found: Option<(TypeId, Writer)> = None;
        let of_kind = self.pending.extract_if(.., |pending| match pending {
            Pending::Late { kind, write, .. } => found.get_or_insert((*kind, *write)).0 == *kind,
            // What is written is not undone by parts any more.
            Pending::Keep(_) => true,
        });
        let items = of_kind.filter_map(|pending| match pending {
            Pending::Late { item, .. } => Some(item),
            Pending::Keep(_) => None,
        });
        let items = items.collect();
        found.map(|(_, write)| (write, items))
    }
}

/// Writes what waits, kind after kind. What that adds is written too.
pub(crate) fn write(tx: &mut Tx<'_>) -> Result<(), Error> {
    let shelves: HashMap<TypeId, Box<dyn Shelf>> = std::mem::take(tx.work().shelves());
    for shelf in shelves.into_values() {
        shelf.write(tx)?;
    }
    while let Some((write, items)) = tx.work().take_kind() {
        write(items, tx)?;
    }
    Ok(())
}

/// Rows a statement: sizes of which few make up any number, and not so many that preparing them all would be dear.
const PORTIONS: [usize; 18] = [64, 48, 32, 28, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1];

pub(crate) fn in_portions<'p>(
    mut values: &[Param<'p>],
    columns: usize,
    mut each: impl FnMut(&[Param<'p>]) -> Result<(), Error>,
) -> Result<(), Error> {
    for rows in PORTIONS {
        while values.len() >= rows * columns && columns > 0 {
            let (portion, rest) = values.split_at(rows * columns);
            each(portion)?;
            values = rest;
        }
    }
    Ok(())
}

/// Keys that are asked for at once.
const KEYS_MAX: usize = 128;

/// As [`in_portions`], for keys: the last portion is filled up with its last key, which makes no difference to a question.
pub(crate) fn in_filled_portions<'p>(
    keys: &[Param<'p>],
    mut each: impl FnMut(&[Param<'p>]) -> Result<(), Error>,
) -> Result<(), Error> {
    for portion in keys.chunks(KEYS_MAX) {
        let size = portion.len().next_power_of_two();
        match portion.last() {
            Some(last) if size > portion.len() => {
                let mut filled = portion.to_vec();
                filled.resize(size, last.clone());
                each(&filled)?;
            }
            _ => each(portion)?,
        }
    }
    Ok(())
}

/// Rows that one statement changes, at most: it looks for its row among them, for each row and column.
const UPDATED_MAX: usize = 32;

/// Portions of whole rows. The last is filled up with its last row, which is the same change once more.
pub(crate) fn in_filled_rows<'p>(
    values: &[Param<'p>],
    width: usize,
    mut each: impl FnMut(&[&[Param<'p>]]) -> Result<(), Error>,
) -> Result<(), Error> {
    let rows: Vec<&[Param<'p>]> = values.chunks_exact(width).collect();
    for portion in rows.chunks(UPDATED_MAX) {
        let mut filled = portion.to_vec();
        if let Some(last) = portion.last() {
            filled.resize(portion.len().next_power_of_two(), last);
        }
        each(&filled)?;
    }
    Ok(())
}

/// The statement that changes these rows, and its parameters.
pub(crate) fn update_of<'p>(
    table: &str,
    key: &str,
    columns: &[&str],
    rows: &[&[Param<'p>]],
) -> (String, Vec<Param<'p>>) {
    let cases = vec!["WHEN ? THEN ?"; rows.len()].join(" ");
    let set: Vec<String> =
        columns.iter().map(|column| format!("{column} = CASE {key} {cases} END")).collect();
    let places = vec!["?"; rows.len()].join(", ");
    let sql = format!("UPDATE {table} SET {} WHERE {key} IN ({places})", set.join(", "));
    let mut params = Vec::with_capacity(rows.len() * (2 * columns.len() + 1));
    for column in 1..=columns.len() {
        for row in rows {
            params.extend(row.first().cloned());
            params.extend(row.get(column).cloned());
        }
    }
    params.extend(rows.iter().filter_map(|row| row.first().cloned()));
    (sql, params)
}
