//! The products that sold for the most, of any number of them, with a bounded number of counters.
//!
//! Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (2005), by weight,
//! and with sales that are taken back.
//!
//! Invariants, for every product with `net` = sold − taken back (it is not taken back before it is sold):
//! - one that has a counter: `count − error ≤ net ≤ count`;
//! - one that has none: `net ≤ floor`, the greatest count that a counter ever had as it was given to another product;
//! - as long as no counter was given away, `floor` is zero and every count is exact;
//! - ties are broken by sku, so the same sales in the same order give the same counters.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// A product's counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub sku: String,
    /// Empty where names are kept elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// At least what it sold for.
    pub count: i64,
    /// By how much that may be too much.
    pub error: i64,
    /// Pieces since it has this counter.
    pub units: i64,
}

/// The counters as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub floor: i64,
    pub counters: Vec<Counter>,
}

/// What a counter holds beside the sku.
#[derive(Debug, Clone)]
struct Own {
    name: String,
    count: i64,
    error: i64,
    units: i64,
}

/// Counters for at most `capacity` products.
#[derive(Debug, Clone)]
pub struct Top {
    capacity: usize,
    floor: i64,
    counters: HashMap<String, Own>,
    /// The last in the ranking first.
    order: BTreeSet<(i64, Reverse<String>)>,
}

impl Top {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), floor: 0, counters: HashMap::new(), order: BTreeSet::new() }
    }

    pub fn restore(capacity: usize, stored: Stored) -> Self {
        let mut top = Self::new(capacity);
        top.floor = stored.floor;
        for Counter { sku, name, count, error, units } in stored.counters {
            top.order.insert((count, Reverse(sku.clone())));
            top.counters.insert(sku, Own { name, count, error, units });
        }
        // The capacity may have been made smaller since.
        while top.counters.len() > top.capacity {
            top.give_away();
        }
        top
    }

    /// What to store: the greatest first.
    pub fn store(&self) -> Stored {
        Stored { floor: self.floor, counters: self.greatest(usize::MAX) }
    }

    /// No product without a counter has sold for more.
    pub fn floor(&self) -> i64 {
        self.floor
    }

    /// Takes the counter of the last in the ranking from its product.
    fn give_away(&mut self) {
        if let Some((count, Reverse(sku))) = self.order.pop_first() {
            self.counters.remove(&sku);
            self.floor = self.floor.max(count);
        }
    }

    /// Counts a sale, or with negative numbers takes one back.
    pub fn add(&mut self, sku: &str, name: &str, amount: i64, units: i64) {
        if let Some(own) = self.counters.get_mut(sku) {
            self.order.remove(&(own.count, Reverse(sku.to_owned())));
            own.count = own.count.saturating_add(amount);
            own.units = own.units.saturating_add(units);
            self.order.insert((own.count, Reverse(sku.to_owned())));
            return;
        }
        // What is taken back of a product without a counter only lowers what is below the floor already.
        if amount <= 0 {
            return;
        }
        if self.counters.len() >= self.capacity {
            self.give_away();
        }
        let count = self.floor.saturating_add(amount);
        self.order.insert((count, Reverse(sku.to_owned())));
        let own = Own { name: name.to_owned(), count, error: self.floor, units };
        self.counters.insert(sku.to_owned(), own);
    }

    /// The greatest first; of two with the same count the lesser sku.
    pub fn greatest(&self, limit: usize) -> Vec<Counter> {
        let mut found: Vec<Counter> = self
            .counters
            .iter()
            .map(|(sku, Own { name, count, error, units })| Counter {
                sku: sku.clone(),
                name: name.clone(),
                count: *count,
                error: *error,
                units: *units,
            })
            .collect();
        found.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.sku.cmp(&other.sku)));
        found.truncate(limit);
        found
    }
}
