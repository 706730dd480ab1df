//! The windows as they are stored, and the same made anew from a list of what happened.
//!
//! Invariant: nothing here uses the code that makes the windows.

use std::collections::BTreeMap;

use db::{Db, params};
use kernel::Timestamp;
use testkit::House;

/// `size|start|measure|label` → count and amount.
pub type Windows = BTreeMap<String, [i64; 2]>;

fn rows(db: &Db, sql: &str) -> Windows {
    let rows = db.read_now(|tx| {
        tx.query(sql, params![], |row| {
            let key: [String; 3] = [row.get(0)?, row.get(2)?, row.get(3)?];
            let start: i64 = row.get(1)?;
            Ok((format!("{}|{start}|{}|{}", key[0], key[1], key[2]), [row.get(4)?, row.get(5)?]))
        })
    });
    rows.unwrap_or_else(|error: db::Error| panic!("{error}")).into_iter().collect()
}

/// What is stored, without what has come to nothing.
pub fn windows(house: &House) -> Windows {
    let sql = "SELECT window_size, starts_at, measure, label, counted, amount FROM windows";
    let mut found = rows(&house.service("analytics").db, sql);
    found.retain(|_, sum| *sum != [0, 0]);
    found
}

/// What was too late; the start is 0.
pub fn late(house: &House) -> Windows {
    let sql = "SELECT window_size, 0, measure, label, counted, amount FROM window_late";
    rows(&house.service("analytics").db, sql)
}

/// Everything ever; the size is empty, the start is 0.
pub fn totals(house: &House) -> Windows {
    rows(&house.service("analytics").db, "SELECT '', 0, measure, label, counted, amount FROM window_totals")
}

/// What happened, as a script has it.
#[derive(Debug, Default, Clone)]
pub struct Happened {
    pub facts: Vec<(Timestamp, &'static str, String, [i64; 2])>,
}

const SIZES: [&str; 5] = ["1s", "1m", "1h", "1d", "1M"];

fn is_kept(size: &str, measure: &str) -> bool {
    match size {
        "1s" => !["category", "duration"].contains(&measure),
        "1m" => measure != "category",
        "1M" => ["order", "sold", "category", "paid", "refunded"].contains(&measure),
        _ => true,
    }
}

/// Korea has had one offset since 1988.
const OFFSET_MS: i64 = 9 * 3_600_000;

fn start(size: &str, at: Timestamp) -> i64 {
    let at = at.as_millis();
    let floor = |length: i64| at - at % length;
    match size {
        "1s" => floor(1_000),
        "1m" => floor(60_000),
        "1h" => floor(3_600_000),
        "1d" => (at + OFFSET_MS) / 86_400_000 * 86_400_000 - OFFSET_MS,
        _ => {
            let local = Timestamp::from_millis(at + OFFSET_MS).to_string();
            let first: Timestamp = format!("{}-01T00:00:00Z", &local[..7]).parse().unwrap();
            first.as_millis() - OFFSET_MS
        }
    }
}

impl Happened {
    pub fn add(&mut self, at: Timestamp, measure: &'static str, label: &str, sum: [i64; 2]) {
        self.facts.push((at, measure, label.to_owned(), sum));
    }

    /// Every window, where none of it was late.
    pub fn windows(&self) -> Windows {
        let mut windows = Windows::new();
        for (at, measure, label, sum) in &self.facts {
            for size in SIZES.into_iter().filter(|size| is_kept(size, measure)) {
                let key = format!("{size}|{}|{measure}|{label}", start(size, *at));
                let [count, amount] = windows.entry(key).or_default();
                *count += sum[0];
                *amount += sum[1];
            }
        }
        windows.retain(|_, sum| *sum != [0, 0]);
        windows
    }
}

/// Whatever was late: for each size, measure and label the windows and the late total are all that happened.
#[track_caller]
pub fn assert_whole(house: &House) {
    let mut by_size = Windows::new();
    for (key, sum) in windows(house).into_iter().chain(late(house)) {
        let mut parts = key.splitn(4, '|');
        let (size, measure) = (parts.next().unwrap(), parts.nth(1).unwrap());
        let key = format!("{size}|{measure}|{}", parts.next().unwrap());
        let [count, amount] = by_size.entry(key).or_default();
        *count += sum[0];
        *amount += sum[1];
    }
    let mut compared = 0;
    for (key, total) in totals(house) {
        let mut parts = key.splitn(4, '|');
        let (measure, label) = (parts.nth(2).unwrap(), parts.next().unwrap());
        for size in SIZES.into_iter().filter(|size| is_kept(size, measure)) {
            let sum = by_size.get(&format!("{size}|{measure}|{label}")).copied().unwrap_or_default();
            assert_eq!(sum, total, "{size} {measure} {label}");
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing was counted");
}
