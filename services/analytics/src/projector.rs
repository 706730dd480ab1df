//! What the shop's events say becomes windows: gathered while a batch is handled, written at its end.
//!
//! Invariants:
//! - windows, late totals, marks, products and stock are written in the transaction that marks the batch's messages as
//!   handled: a restart goes on from there, and a second delivery changes nothing;
//! - a batch costs statements by the windows and products that it touches, not by its messages;
//! - only what is committed is counted in the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::inventory::StockLevel;
use contracts::topics::Topic;
use db::{Late, Tx};
use kernel::{Clock, Currency, Envelope, Timestamp};

use crate::config::{Config, ProductTotals};
use crate::domain::top::Top;
use crate::domain::tumble::{Batch, Place, Size};
use crate::domain::{News, Sale};
use crate::metrics::Metrics;
use crate::store::products::{self, Part, Stretch};
use crate::store::windows;

/// Windows for which the greatest products are counted.
pub const TOP_SIZES: [Size; 2] = [Size::Hour, Size::Day];

/// What has been written and is not yet known to be committed.
#[derive(Debug, Default, Clone, Copy)]
struct Uncommitted {
    messages: u64,
    late: [u64; 5],
}

pub struct Projector {
    clock: Arc<dyn Clock>,
    lateness_ms: i64,
    top_capacity: usize,
    product_totals: ProductTotals,
    metrics: Metrics,
    uncommitted: Mutex<Uncommitted>,
}

impl Projector {
    pub fn new(clock: Arc<dyn Clock>, config: &Config, metrics: Metrics) -> Self {
        Self {
            clock,
            lateness_ms: config.lateness_ms,
            top_capacity: config.top_capacity,
            product_totals: config.product_totals,
            metrics,
            uncommitted: Mutex::default(),
        }
    }

    fn uncommitted(&self) -> MutexGuard<'_, Uncommitted> {
        self.uncommitted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what one message of `topic` says; it is written when the batch has been handled.
    pub fn take(self: &Arc<Self>, tx: &mut Tx<'_>, topic: Topic, envelope: &Envelope, news: News) {
        let partition = bus::partition_of(&envelope.subject, topic.partitions);
        let place = Place { topic: topic.name, partition };
        tx.at_the_end(Noted { projector: self.clone(), place, told_at: envelope.time, news });
        let projector = self.clone();
        tx.after_commit(move || projector.count());
    }

    fn count(&self) {
        let Uncommitted { messages, late } = std::mem::take(&mut *self.uncommitted());
        if messages > 0 {
            self.metrics.counted(messages, late);
        }
    }
}

/// One message's news, on their way to the end of the batch.
struct Noted {
    projector: Arc<Projector>,
    place: Place,
    told_at: Timestamp,
    news: News,
}

/// Counters of windows that the batch has sales in.
struct Tops {
    capacity: usize,
    /// Names are kept in the counters where they are kept nowhere else.
    totals: ProductTotals,
    tops: BTreeMap<(Stretch, Currency), (Top, Was)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Was {
    Absent,
    Stored,
}

impl Tops {
    fn add(&mut self, tx: &mut Tx<'_>, stretch: Stretch, sale: &Sale) -> Result<(), db::Error> {
        let key = (stretch, sale.currency);
        if !self.tops.contains_key(&key) {
            let found = match products::top(tx, stretch, sale.currency)? {
                Some(stored) => (Top::restore(self.capacity, stored), Was::Stored),
                None => (Top::new(self.capacity), Was::Absent),
            };
            self.tops.insert(key, found);
        }
        if let Some((top, _)) = self.tops.get_mut(&key) {
            let name = if self.totals == ProductTotals::Bounded { sale.name.as_str() } else { "" };
            top.add(&sale.sku, name, sale.amount, sale.units);
        }
        Ok(())
    }

    fn save(&self, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        self.tops.iter().try_for_each(|(&(stretch, currency), (top, was))| match was {
            Was::Absent => products::insert_top(tx, stretch, currency, &top.store()),
            Was::Stored => products::update_top(tx, stretch, currency, &top.store()),
        })
    }
}

impl Late for Noted {
    fn write(items: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let Some(projector) = items.first().map(|first| first.projector.clone()) else { return Ok(()) };
        let places: BTreeSet<Place> = items.iter().map(|item| item.place).collect();
        let mut batch = Batch::new(windows::marks(tx, &places)?, projector.lateness_ms);
        let (capacity, totals) = (projector.top_capacity, projector.product_totals);
        let mut tops = Tops { capacity, totals, tops: BTreeMap::new() };
        let mut sold: BTreeMap<(String, Currency), Part> = BTreeMap::new();
        let mut levels: BTreeMap<String, (StockLevel, Timestamp)> = BTreeMap::new();
        let mut told_at: BTreeMap<Place, Timestamp> = BTreeMap::new();
        let messages = items.len() as u64;
        for Noted { place, told_at: at, news: News { facts, sales, levels: changed }, .. } in items {
            let last = told_at.entry(place).or_insert(at);
            *last = (*last).max(at);
            for sale in sales {
                // Decided before the message's own facts move the stream on.
                for size in TOP_SIZES {
                    if !batch.is_closed(place, size, sale.at) {
                        tops.add(tx, Stretch::Window(size, size.start_of(sale.at)), &sale)?;
                    }
                }
                if totals == ProductTotals::Bounded {
                    tops.add(tx, Stretch::Ever, &sale)?;
                    continue;
                }
                let part = sold.entry((sale.sku, sale.currency)).or_default();
                part.units = part.units.saturating_add(sale.units);
                part.amount = part.amount.saturating_add(sale.amount);
                part.named = std::mem::take(&mut part.named).max((sale.at, sale.name));
            }
            for level in changed {
                match levels.get(&level.sku) {
                    Some((known, _)) if known.version > level.version => {}
                    _ => drop(levels.insert(level.sku.clone(), (level, at))),
                }
            }
            batch.take(place, facts);
        }
        windows::check_room(tx, &batch)?;
        windows::add(tx, &batch)?;
        windows::save_marks(tx, &batch.marks, &told_at, projector.clock.now())?;
        products::add(tx, &sold)?;
        tops.save(tx)?;
        products::save_levels(tx, &levels)?;
        windows::raise_revision(tx)?;
        // Of an attempt that failed nothing is left: this one takes its place.
        *projector.uncommitted() = Uncommitted { messages, late: batch.late_messages };
        Ok(())
    }
}
