//! Rows that a transaction keeps in memory: read once, ahead of the commands that need them, and written once, however
//! often they change in between.
//!
//! Invariants:
//! - a row is read under the transaction's lock before it is kept, or is new; so nobody else changes it in between, and
//!   nobody else's change is overwritten;
//! - a new row is inserted plainly: where somebody else was faster its key decides;
//! - undoing a part of a command takes back its changes here as it does in the database.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::Hash;

use crate::{Error, Tx};

/// A row that is written as a whole at the end of the transaction. Statements do not see its changes before.
pub trait Kept: Clone + Send + 'static {
    type Key: Clone + Ord + Hash + Send + 'static;

    fn key(&self) -> Self::Key;

    /// Inserts `new` plainly, and saves `changed` over what is there. Both are in the order of their keys.
    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error>;
}

pub(crate) type Shelves = HashMap<TypeId, Box<dyn Shelf>>;

pub(crate) trait Shelf: Send {
    fn as_any(&mut self) -> &mut dyn Any;

    fn write(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), Error>;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    AsRead,
    Changed,
    New,
}

#[derive(Clone)]
struct Entry<K> {
    /// `None`: it is known that there is none.
    row: Option<K>,
    standing: Standing,
}

struct Rows<K: Kept>(HashMap<K::Key, Entry<K>>);

impl<K: Kept> Shelf for Rows<K> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn write(self: Box<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for (key, entry) in self.0 {
            match (entry.standing, entry.row) {
                (Standing::New, Some(row)) => new.push((key, row)),
                (Standing::Changed, Some(row)) => changed.push((key, row)),
                _ => {}
            }
        }
        if new.is_empty() && changed.is_empty() {
            return Ok(());
        }
        let in_order = |mut rows: Vec<(K::Key, K)>| -> Vec<K> {
            rows.sort_by(|(one, _), (other, _)| one.cmp(other));
            rows.into_iter().map(|(_, row)| row).collect()
        };
        K::write(in_order(new), in_order(changed), tx)
    }
}

fn shelf<K: Kept>(shelves: &mut Shelves) -> Option<&mut HashMap<K::Key, Entry<K>>> {
    let shelf = shelves.get_mut(&TypeId::of::<K>())?;
    shelf.as_any().downcast_mut::<Rows<K>>().map(|rows| &mut rows.0)
}

fn put<K: Kept>(shelves: &mut Shelves, key: K::Key, entry: Option<Entry<K>>) {
    shelves.entry(TypeId::of::<K>()).or_insert_with(|| Box::new(Rows::<K>(HashMap::new())));
    if let Some(rows) = shelf::<K>(shelves) {
        match entry {
            Some(entry) => rows.insert(key, entry),
            None => rows.remove(&key),
        };
    }
}

impl Tx<'_> {
    /// What is known of a row: `None` where nobody has looked yet.
    pub fn kept<K: Kept>(&mut self, key: &K::Key) -> Option<Option<K>> {
        let entry = shelf::<K>(self.work().shelves())?.get(key)?;
        Some(entry.row.clone())
    }

    /// Notes a row as it was read just now, and locked, or that there is none.
    pub fn note<K: Kept>(&mut self, key: K::Key, row: Option<K>) {
        put(self.work().shelves(), key, Some(Entry { row, standing: Standing::AsRead }));
    }

    /// Which of `keys` nobody has looked for yet, each once, in their order.
    pub fn unknown<K: Kept>(&mut self, keys: impl IntoIterator<Item = K::Key>) -> Vec<K::Key> {
        let mut keys: Vec<K::Key> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        if let Some(rows) = shelf::<K>(self.work().shelves()) {
            keys.retain(|key| !rows.contains_key(key));
        }
        keys
    }

    /// Adds a row that is not there yet.
    pub fn keep_new<K: Kept>(&mut self, row: K) -> Result<(), Error> {
        let key = row.key();
        match self.kept::<K>(&key) {
            Some(Some(_)) => Err(Error::Unique("kept row".to_owned())),
            _ => {
                self.set(key, row, Standing::New);
                Ok(())
            }
        }
    }

    /// Changes a row that was read or added in this transaction.
    pub fn keep<K: Kept>(&mut self, row: K) {
        let key = row.key();
        let standing = shelf::<K>(self.work().shelves()).and_then(|rows| rows.get(&key));
        let is_new = standing.is_some_and(|entry| entry.standing == Standing::New);
        self.set(key, row, if is_new { Standing::New } else { Standing::Changed });
    }

    fn set<K: Kept>(&mut self, key: K::Key, row: K, standing: Standing) {
        let work = self.work();
        let before = shelf::<K>(work.shelves()).and_then(|rows| rows.get(&key)).cloned();
        put(work.shelves(), key.clone(), Some(Entry { row: Some(row), standing }));
        work.on_undo(move |shelves| put(shelves, key, before));
    }
}
