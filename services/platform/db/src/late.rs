//! What happens at the end of a command: rows that are written together, then, after the commit, hooks.
//!
//! Invariant: both are kept in one list in the order in which they came, so undoing a part of the command forgets what
//! that part has added, and nothing else.

use std::any::{Any, TypeId};

use crate::{Error, Param, Tx};

/// What a command writes once it has succeeded, all of a kind together: a statement for many rows where each would have
/// cost one.
pub trait Late: Send + Sized + 'static {
    /// `items` are in the order in which they came. Failing fails the command.
    fn write(items: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error>;
}

type Writer = fn(Vec<Box<dyn Any + Send>>, &mut Tx<'_>) -> Result<(), Error>;

pub(crate) enum Pending {
    Hook(Box<dyn FnOnce() + Send>),
    Late { kind: TypeId, item: Box<dyn Any + Send>, write: Writer },
}

impl Pending {
    pub fn late<T: Late>(item: T) -> Self {
        Pending::Late { kind: TypeId::of::<T>(), item: Box::new(item), write: write_all::<T> }
    }

    fn kind(&self) -> Option<TypeId> {
        match self {
            Pending::Hook(_) => None,
            Pending::Late { kind, .. } => Some(*kind),
        }
    }
}

fn write_all<T: Late>(items: Vec<Box<dyn Any + Send>>, tx: &mut Tx<'_>) -> Result<(), Error> {
    T::write(items.into_iter().filter_map(|item| item.downcast().ok()).map(|item| *item).collect(), tx)
}

/// Writes what waits, kind after kind. What that adds is written too.
pub(crate) fn write(tx: &mut Tx<'_>) -> Result<(), Error> {
    while let Some(first) = tx.pending.iter().find_map(Pending::kind) {
        let of_kind = tx.pending.extract_if(.., |pending| pending.kind() == Some(first));
        let mut items = Vec::new();
        let mut writer: Option<Writer> = None;
        for pending in of_kind {
            if let Pending::Late { item, write, .. } = pending {
                items.push(item);
                writer = Some(write);
            }
        }
        if let Some(writer) = writer {
            writer(items, tx)?;
        }
    }
    Ok(())
}

/// The change is on disk.
pub(crate) fn run_hooks(pending: &mut Vec<Pending>) {
    for pending in pending.drain(..) {
        if let Pending::Hook(hook) = pending {
            hook();
        }
    }
}

/// Rows a statement. Few sizes, so that few statements are prepared.
const PORTIONS: [usize; 4] = [64, 16, 4, 1];

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
