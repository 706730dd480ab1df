//! What commands are about to read: those that share a transaction have it read together, before the first of them runs.
//!
//! Invariant: it is a matter of speed alone. What was not read ahead is read by the command that needs it, and where commands
//! do not share transactions (SQLite) nothing is.

use std::any::{Any, TypeId};

use crate::{Connection, Error, Tx};

/// What a command will read.
pub trait Ahead: Clone + Send + 'static {
    /// Reads what all of them need, with few statements and in the order of the keys, and notes it ([`Tx::note`]).
    fn look(all: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error>;
}

type Look = fn(Vec<Box<dyn Any + Send>>, &mut Tx<'_>) -> Result<(), Error>;

/// What one command wants to have read, of whatever kind.
pub struct Wish {
    kind: TypeId,
    item: Box<dyn Any + Send>,
    look: Look,
}

fn look_for_all<A: Ahead>(items: Vec<Box<dyn Any + Send>>, tx: &mut Tx<'_>) -> Result<(), Error> {
    A::look(items.into_iter().filter_map(|item| item.downcast().ok()).map(|item| *item).collect(), tx)
}

impl Wish {
    pub(crate) fn new<A: Ahead>(item: &A) -> Self {
        Self { kind: TypeId::of::<A>(), item: Box::new(item.clone()), look: look_for_all::<A> }
    }

    /// Reads what several wish for; who is alone with a wish looks for itself.
    pub fn look(mut wishes: Vec<Wish>, connection: &mut dyn Connection) -> Result<(), Error> {
        while let Some(Wish { kind, look, .. }) = wishes.first() {
            let (kind, look) = (*kind, *look);
            let of_kind: Vec<_> =
                wishes.extract_if(.., |wish| wish.kind == kind).map(|wish| wish.item).collect();
            if of_kind.len() > 1 {
                look(of_kind, &mut Tx::new(connection, &mut Vec::new()))?;
            }
        }
        Ok(())
    }
}
