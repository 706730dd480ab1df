//! Event-time tumbling windows: which window a fact belongs to, whether it still may, and what a batch adds to each.
//!
//! Invariants:
//! - a window is chosen by the time at which something happened, never by the time at which it was heard of;
//! - a fact is too late for a window once its stream has come to the window's end and the allowed lateness beyond; a
//!   stream is what one key's messages share (a partition), so the decision follows from the order within it alone, and
//!   whoever reads the same log decides the same, however the streams are woven;
//! - what is too late for a window is added to that size's late total: windows and late totals together are all facts;
//! - corrections are facts with negative sums at the time of what they correct.

use std::collections::BTreeMap;

use kernel::Timestamp;

use super::calendar::{self, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// How long a window is. Days and months are those of Asia/Seoul.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub enum Size {
    #[serde(rename = "1s")]
    Second,
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
    #[serde(rename = "1M")]
    Month,
}

impl Size {
    pub const ALL: [Size; 5] = [Size::Second, Size::Minute, Size::Hour, Size::Day, Size::Month];

    pub const fn as_str(self) -> &'static str {
        match self {
            Size::Second => "1s",
            Size::Minute => "1m",
            Size::Hour => "1h",
            Size::Day => "1d",
            Size::Month => "1M",
        }
    }

    /// When the window that holds `at` begins, in milliseconds.
    pub fn start_of(self, at: Timestamp) -> i64 {
        let at = at.as_millis();
        match self {
            Size::Second => at - at.rem_euclid(SECOND_MS),
            Size::Minute => at - at.rem_euclid(MINUTE_MS),
            Size::Hour => at - at.rem_euclid(HOUR_MS),
            Size::Day => calendar::day_start(at),
            Size::Month => calendar::month_start(at),
        }
    }

    /// Where the window that begins at `start` ends; not part of it.
    pub fn end_of(self, start: i64) -> i64 {
        match self {
            Size::Second => start + SECOND_MS,
            Size::Minute => start + MINUTE_MS,
            Size::Hour => start + HOUR_MS,
            // The zone has had days of 23 and 25 hours.
            Size::Day => calendar::day_start(start + DAY_MS + 2 * HOUR_MS),
            Size::Month => calendar::month_start(start + 32 * DAY_MS),
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Size::ALL.into_iter().find(|size| size.as_str() == text);
        found.ok_or_else(|| format!("not a size of a window: {text:?}"))
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Confirmed orders that are not cancelled, and what they are worth; by currency, when they were placed.
    Order,
    /// Orders that have come to any end, and what they were to be worth; by currency, when they were placed.
    Placed,
    /// Pieces of confirmed orders that are not cancelled, and what they cost; by currency, when they were placed.
    Sold,
    /// The same by currency and category.
    Category,
    /// Orders by the reason for which they were rejected, when they were placed.
    Rejected,
    /// Orders by the reason for which they were cancelled, when they were cancelled.
    Cancelled,
    /// Money taken and given back by currency, and refusals of the bank by code, when that happened.
    Paid,
    Refunded,
    Declined,
    /// Products looked at, and put into carts, when that happened.
    View,
    Cart,
    /// Orders by how they ended and how long that took; the sum is of milliseconds. When they ended.
    Duration,
}

impl Measure {
    pub const ALL: [Measure; 12] = [
        Measure::Order,
        Measure::Placed,
        Measure::Sold,
        Measure::Category,
        Measure::Rejected,
        Measure::Cancelled,
        Measure::Paid,
        Measure::Refunded,
        Measure::Declined,
        Measure::View,
        Measure::Cart,
        Measure::Duration,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::Order => "order",
            Measure::Placed => "placed",
            Measure::Sold => "sold",
            Measure::Category => "category",
            Measure::Rejected => "rejected",
            Measure::Cancelled => "cancelled",
            Measure::Paid => "paid",
            Measure::Refunded => "refunded",
            Measure::Declined => "declined",
            Measure::View => "view",
            Measure::Cart => "cart",
            Measure::Duration => "duration",
        }
    }

    /// In windows of which sizes it is kept: what has many labels is not kept by the second.
    pub const fn sizes(self) -> &'static [Size] {
        match self {
            Measure::Category => &[Size::Hour, Size::Day, Size::Month],
            Measure::Duration => &[Size::Minute, Size::Hour, Size::Day],
            Measure::Order | Measure::Paid | Measure::Refunded | Measure::Sold => &Size::ALL,
            _ => &[Size::Second, Size::Minute, Size::Hour, Size::Day],
        }
    }
}

impl std::str::FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Measure::ALL.into_iter().find(|measure| measure.as_str() == text);
        found.ok_or_else(|| format!("not a measure: {text:?}"))
    }
}

/// How many, and how much in minor units (or milliseconds).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: i64,
    pub amount: i64,
}

impl Sum {
    pub const fn new(count: i64, amount: i64) -> Self {
        Self { count, amount }
    }

    #[must_use]
    pub const fn negated(self) -> Self {
        Self { count: -self.count, amount: -self.amount }
    }

    /// Stops at the ends of the range. Gross totals get there first, and are refused there.
    pub fn add(&mut self, other: Sum) {
        self.count = self.count.saturating_add(other.count);
        self.amount = self.amount.saturating_add(other.amount);
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub at: Timestamp,
    pub measure: Measure,
    /// A currency, a reason, a category: whatever the measure is broken down by.
    pub label: String,
    pub sum: Sum,
}

/// One number of one window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub size: Size,
    pub start: i64,
    pub measure: Measure,
    pub label: String,
}

/// A stream: messages of one topic whose keys share a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub topic: &'static str,
    pub partition: u32,
}

/// How far streams are, in the time of what happened.
pub type Marks = BTreeMap<Place, i64>;

/// What was too late for its window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Late {
    /// How many facts.
    pub facts: i64,
    pub sum: Sum,
}

/// Everything ever, by measure and label. `gross` adds up absolute values: where it fits into 64 bits, so does every
/// window's sum, which is over some of the same facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub sum: Sum,
    pub gross: Sum,
}

/// What a batch of facts adds, each table's part in the order of its key.
#[derive(Debug)]
pub struct Batch {
    pub marks: Marks,
    pub cells: BTreeMap<Cell, Sum>,
    pub late: BTreeMap<(Size, Measure, String), Late>,
    pub totals: BTreeMap<(Measure, String), Total>,
    /// Messages that were too late for a window of this size, in the order of [`Size::ALL`].
    pub late_messages: [u64; 5],
    lateness_ms: i64,
}

impl Batch {
    /// `marks` are those of all streams that the batch has facts of, as far as they have one.
    pub fn new(marks: Marks, lateness_ms: i64) -> Self {
        Self {
            marks,
            cells: BTreeMap::new(),
            late: BTreeMap::new(),
            totals: BTreeMap::new(),
            late_messages: [0; 5],
            lateness_ms,
        }
    }

    /// Whether the window of this size that holds `at` no longer takes anything of the stream.
    pub fn is_closed(&self, place: Place, size: Size, at: Timestamp) -> bool {
        let Some(mark) = self.marks.get(&place) else { return false };
        size.end_of(size.start_of(at)).saturating_add(self.lateness_ms) <= *mark
    }

    /// Takes the facts of one message.
    pub fn take(&mut self, place: Place, facts: Vec<Fact>) {
        let mut mark = self.marks.get(&place).copied().unwrap_or(i64::MIN);
        let mut is_late = [false; 5];
        let before = mark;
        for Fact { at, measure, label, sum } in facts {
            mark = mark.max(at.as_millis());
            let total = self.totals.entry((measure, label.clone())).or_default();
            total.sum.add(sum);
            total.gross.add(Sum::new(sum.count.abs(), sum.amount.abs()));
            for size in measure.sizes() {
                let start = size.start_of(at);
                if size.end_of(start).saturating_add(self.lateness_ms) <= before {
                    is_late[*size as usize] = true;
                    let late = self.late.entry((*size, measure, label.clone())).or_default();
                    late.facts += 1;
                    late.sum.add(sum);
                } else {
                    let cell = Cell { size: *size, start, measure, label: label.clone() };
                    self.cells.entry(cell).or_default().add(sum);
                }
            }
        }
        if mark > i64::MIN {
            self.marks.insert(place, mark);
        }
        for (messages, late) in self.late_messages.iter_mut().zip(is_late) {
            *messages += u64::from(late);
        }
    }
}
