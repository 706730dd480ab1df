//! Windows: chosen by when it happened, closed by their own stream, and with the late totals always whole.

use std::collections::BTreeMap;

use kernel::Timestamp;
use kernel::id::SplitMix;

use crate::domain::tumble::{Batch, Cell, Fact, Marks, Measure, Place, Size, Sum};

const LATENESS_MS: i64 = 300_000;
const A: Place = Place { topic: "rtc.orders", partition: 0 };
const B: Place = Place { topic: "rtc.orders", partition: 1 };

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn order(at: Timestamp, amount: i64) -> Fact {
    let sum = Sum::new(amount.signum(), amount);
    Fact { at, measure: Measure::Order, label: "KRW".to_owned(), sum }
}

fn cell(size: Size, start: &str) -> Cell {
    Cell { size, start: at(start).as_millis(), measure: Measure::Order, label: "KRW".to_owned() }
}

fn taken(facts: &[(Place, Fact)]) -> Batch {
    let mut batch = Batch::new(Marks::new(), LATENESS_MS);
    for (place, fact) in facts {
        batch.take(*place, vec![fact.clone()]);
    }
    batch
}

#[test]
fn a_fact_counts_in_one_window_of_each_size_and_days_begin_at_midnight_in_seoul() {
    let batch = taken(&[
        (A, order(at("2026-02-28T14:59:59.999Z"), 10)),
        (A, order(at("2026-02-28T15:00:00.000Z"), 200)),
    ]);
    let wanted = BTreeMap::from([
        (cell(Size::Second, "2026-02-28T14:59:59Z"), Sum::new(1, 10)),
        (cell(Size::Second, "2026-02-28T15:00:00Z"), Sum::new(1, 200)),
        (cell(Size::Minute, "2026-02-28T14:59:00Z"), Sum::new(1, 10)),
        (cell(Size::Minute, "2026-02-28T15:00:00Z"), Sum::new(1, 200)),
        (cell(Size::Hour, "2026-02-28T14:00:00Z"), Sum::new(1, 10)),
        (cell(Size::Hour, "2026-02-28T15:00:00Z"), Sum::new(1, 200)),
        (cell(Size::Day, "2026-02-27T15:00:00Z"), Sum::new(1, 10)),
        (cell(Size::Day, "2026-02-28T15:00:00Z"), Sum::new(1, 200)),
        (cell(Size::Month, "2026-01-31T15:00:00Z"), Sum::new(1, 10)),
        (cell(Size::Month, "2026-02-28T15:00:00Z"), Sum::new(1, 200)),
    ]);
    assert_eq!(batch.cells, wanted);
}

#[test]
fn a_window_ends_where_the_next_begins() {
    let mut random = SplitMix(5);
    for _ in 0..20_000 {
        let moment = Timestamp::from_millis(i64::try_from(random.below(7_000_000_000_000)).unwrap());
        for size in Size::ALL {
            let start = size.start_of(moment);
            let end = size.end_of(start);
            assert!((start..end).contains(&moment.as_millis()), "{size:?} {moment}");
            assert_eq!(size.start_of(Timestamp::from_millis(end - 1)), start, "{size:?} {moment}");
            assert_eq!(size.start_of(Timestamp::from_millis(end)), end, "{size:?} {moment}");
        }
    }
}

#[test]
fn a_window_takes_what_is_late_until_its_stream_is_past_its_end_and_the_lateness() {
    let early = order(at("2026-03-01T00:00:30Z"), 7);
    let minute = cell(Size::Minute, "2026-03-01T00:00:00Z");
    // The minute ends at 00:01, and takes what comes until the stream is at 00:06.
    let reopened = taken(&[(A, order(at("2026-03-01T00:05:59.999Z"), 1)), (A, early.clone())]);
    assert_eq!(reopened.cells[&minute], Sum::new(1, 7));
    let closed = taken(&[(A, order(at("2026-03-01T00:06:00Z"), 1)), (A, early.clone())]);
    assert!(!closed.cells.contains_key(&minute));
    let late = closed.late[&(Size::Minute, Measure::Order, "KRW".to_owned())];
    assert_eq!((late.facts, late.sum), (1, Sum::new(1, 7)));
    // Its hour goes on.
    assert_eq!(closed.cells[&cell(Size::Hour, "2026-03-01T00:00:00Z")], Sum::new(2, 8));
    assert_eq!(closed.late_messages, [1, 1, 0, 0, 0]);
    // Another stream is where it is.
    let other = taken(&[(B, order(at("2026-03-01T00:06:00Z"), 1)), (A, early)]);
    assert_eq!(other.cells[&minute], Sum::new(1, 7));
}

#[test]
fn a_correction_reopens_its_window_or_goes_to_the_late_total_and_nothing_is_lost() {
    let placed = at("2026-03-01T00:00:30Z");
    let minute = cell(Size::Minute, "2026-03-01T00:00:00Z");
    let soon = taken(&[(A, order(placed, 500)), (A, order(placed, -500))]);
    assert_eq!(soon.cells[&minute], Sum::default());
    let much_later = taken(&[
        (A, order(placed, 500)),
        (A, order(at("2026-03-09T00:00:00Z"), 20)),
        (A, order(placed, -500)),
    ]);
    assert_eq!(much_later.cells[&minute], Sum::new(1, 500));
    let key = |size| (size, Measure::Order, "KRW".to_owned());
    assert_eq!(much_later.late[&key(Size::Minute)].sum, Sum::new(-1, -500));
    assert_eq!(much_later.late[&key(Size::Day)].sum, Sum::new(-1, -500));
    // March goes on.
    assert_eq!(much_later.cells[&cell(Size::Month, "2026-02-28T15:00:00Z")], Sum::new(1, 20));
    let total = much_later.totals[&(Measure::Order, "KRW".to_owned())];
    assert_eq!((total.sum, total.gross), (Sum::new(1, 20), Sum::new(3, 1_020)));
}

/// A day of orders in two streams, each in its own order of publishing, with some that are very late.
fn script(seed: u64) -> [Vec<Fact>; 2] {
    let mut random = SplitMix(seed);
    let mut streams = [Vec::new(), Vec::new()];
    let mut now = at("2026-02-28T12:00:00Z").as_millis();
    for _ in 0..600 {
        now += i64::try_from(random.below(240_000)).unwrap();
        let back = if random.chance(10) { random.below(90_000_000) } else { random.below(400_000) };
        let placed = Timestamp::from_millis(now - i64::try_from(back).unwrap());
        let amount = i64::try_from(random.below(10_000)).unwrap() + 1;
        let stream = usize::try_from(random.below(2)).unwrap();
        streams[stream].push(order(placed, if random.chance(15) { -amount } else { amount }));
    }
    streams
}

type Kept = (BTreeMap<Cell, Sum>, BTreeMap<(Size, Measure, String), (i64, Sum)>);

/// Reads both streams in batches of random sizes, woven by the seed; a batch's marks go on to the next.
fn read(streams: &[Vec<Fact>; 2], weave: u64) -> (Kept, Sum) {
    let mut random = SplitMix(weave);
    let (mut cells, mut late, mut total) = (BTreeMap::new(), BTreeMap::new(), Sum::default());
    let mut marks = Marks::new();
    let mut at = [0, 0];
    while at[0] < streams[0].len() || at[1] < streams[1].len() {
        let mut batch = Batch::new(marks, LATENESS_MS);
        for _ in 0..=random.below(50) {
            let stream = usize::try_from(random.below(2)).unwrap();
            if let Some(fact) = streams[stream].get(at[stream]) {
                batch.take([A, B][stream], vec![fact.clone()]);
                at[stream] += 1;
            }
        }
        for (cell, sum) in batch.cells {
            cells.entry(cell).or_insert_with(Sum::default).add(sum);
        }
        for (key, found) in batch.late {
            let (facts, sum) = late.entry(key).or_insert((0, Sum::default()));
            *facts += found.facts;
            sum.add(found.sum);
        }
        for found in batch.totals.into_values() {
            total.add(found.sum);
        }
        marks = batch.marks;
    }
    ((cells, late), total)
}

#[test]
fn however_streams_are_woven_and_cut_the_windows_are_the_same_and_with_the_late_ones_whole() {
    for seed in 0..12 {
        let streams = script(seed);
        let (first, total) = read(&streams, 1);
        let expected = streams.iter().flatten().fold(Sum::default(), |mut sum, fact| {
            sum.add(fact.sum);
            sum
        });
        assert_eq!(total, expected);
        for size in Size::ALL {
            let mut sum = Sum::default();
            first.0.iter().filter(|(cell, _)| cell.size == size).for_each(|(_, part)| sum.add(*part));
            first.1.iter().filter(|((of, ..), _)| *of == size).for_each(|(_, (_, part))| sum.add(*part));
            assert_eq!(sum, expected, "seed {seed}, {size:?}");
        }
        assert!(first.1.keys().any(|(size, ..)| *size == Size::Second), "seed {seed}: nothing was late");
        for weave in 2..8 {
            assert_eq!(read(&streams, weave).0, first, "seed {seed}, weave {weave}");
        }
    }
}
