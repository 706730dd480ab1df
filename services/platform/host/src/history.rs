//! The process's own short history: every sample of its page of metrics, kept for sixteen minutes, so that an
//! operator sees rates where no Prometheus runs.
//!
//! Invariants: memory is bounded, by the number of points and of series; a series that is not there at a moment has a
//! gap, which is neither zero nor the last value.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kernel::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

/// How often the page is looked at.
pub const INTERVAL: Duration = Duration::from_secs(rtc_metrics::HISTORY_EVERY_SECONDS);
/// Sixteen minutes: enough for the most patient alert to be judged.
const POINTS: usize = rtc_metrics::HISTORY_POINTS;
/// 1,536 bytes a series and its name: 11 MB.
const SERIES_MAX: usize = 6_000;

/// No value of a metric has these bits: the sign of a NaN means nothing, and its payload is ours.
const GAP: u64 = 0xfff8_6761_7000_0000;

/// Keeps the last points of every series. Its size is fixed.
pub struct History {
    series_max: usize,
    ring: Mutex<Ring>,
}

struct Ring {
    /// When each point was taken; 0 where there is none yet.
    times: [i64; POINTS],
    /// Where the next point goes.
    next: usize,
    /// By the sample's name with its labels, as on the page.
    series: HashMap<Box<str>, Series>,
}

struct Series {
    values: Box<[u64; POINTS]>,
    /// The number of points since it was last there.
    absent: usize,
}

/// What one look at a page found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    pub series: usize,
    /// Samples that had no room.
    pub refused: usize,
}

/// What is known, for JSON.
#[derive(Debug, Serialize)]
pub struct View {
    interval_ms: u64,
    times: Vec<i64>,
    series: Vec<SeriesView>,
}

#[derive(Debug, Serialize)]
struct SeriesView {
    name: String,
    labels: BTreeMap<String, String>,
    #[serde(serialize_with = "points")]
    values: Vec<u64>,
}

fn points<S: Serializer>(bits: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(bits.len()))?;
    for bits in bits {
        let value = f64::from_bits(*bits);
        match () {
            () if *bits == GAP => list.serialize_element(&None::<f64>)?,
            () if value.is_nan() => list.serialize_element("NaN")?,
            () if value.is_infinite() => list.serialize_element(if value > 0.0 { "+Inf" } else { "-Inf" })?,
            () => list.serialize_element(&value)?,
        }
    }
    list.end()
}

impl Default for History {
    fn default() -> Self {
        Self::with_series(SERIES_MAX)
    }
}

impl History {
    /// One that keeps at most so many series.
    pub fn with_series(series_max: usize) -> Self {
        let ring = Ring { times: [0; POINTS], next: 0, series: HashMap::new() };
        Self { series_max, ring: Mutex::new(ring) }
    }

    /// Adds a point: `page` is in either form of Prometheus.
    pub fn record(&self, now: Timestamp, page: &str) -> Recorded {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = &mut *ring;
        let at = ring.next;
        ring.next = (at + 1) % POINTS;
        ring.times[at] = now.as_millis();
        for series in ring.series.values_mut() {
            series.values[at] = GAP;
            series.absent += 1;
        }
        ring.series.retain(|_, series| series.absent < POINTS);
        let mut refused = 0;
        for (key, value) in page.lines().filter_map(sample) {
            if let Some(series) = ring.series.get_mut(key) {
                (series.values[at], series.absent) = (value.to_bits(), 0);
            } else if ring.series.len() < self.series_max {
                let mut values = Box::new([GAP; POINTS]);
                values[at] = value.to_bits();
                ring.series.insert(key.into(), Series { values, absent: 0 });
            } else {
                refused += 1;
            }
        }
        Recorded { series: ring.series.len(), refused }
    }

    /// The points after `since`, the oldest first, and every series that has one of them.
    pub fn since(&self, since: Timestamp) -> View {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let order = (0..POINTS).map(|step| (ring.next + step) % POINTS);
        let wanted: Vec<usize> =
            order.filter(|at| ring.times[*at] != 0 && ring.times[*at] > since.as_millis()).collect();
        let mut series: Vec<SeriesView> = Vec::with_capacity(ring.series.len());
        for (key, one) in &ring.series {
            let values: Vec<u64> = wanted.iter().map(|at| one.values[*at]).collect();
            if values.iter().any(|bits| *bits != GAP) {
                let (name, labels) = parse(key);
                series.push(SeriesView { name: name.to_owned(), labels, values });
            }
        }
        series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        let interval_ms = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        View { interval_ms, times: wanted.iter().map(|at| ring.times[*at]).collect(), series }
    }
}

/// A line that is a sample: its name with its labels, and its value.
fn sample(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    // Labels may contain spaces and braces; what comes after them may not.
    let end = match line.find('{') {
        Some(open) => open + end_of_labels(&line[open..])?,
        None => line.find(' ')?,
    };
    let (key, rest) = line.split_at_checked(end)?;
    let value = rest.trim_start().split(' ').next()?;
    Some((key, value.parse().ok()?))
}

/// Behind the brace that closes the labels at the beginning of `text`.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `name{a="b"}` in its parts.
fn parse(key: &str) -> (&str, BTreeMap<String, String>) {
    let mut labels = BTreeMap::new();
    let Some((name, mut rest)) = key.split_once('{') else { return (key, labels) };
    while let Some((label, quoted)) = rest.trim_start_matches(',').split_once("=\"") {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let mut end = quoted.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => {}
                },
                other => value.push(other),
            }
        }
        labels.insert(label.to_owned(), value);
        rest = &quoted[end..];
    }
    (name, labels)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(step: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + step * 5_000)
    }

    fn view(history: &History, since: Timestamp) -> Value {
        serde_json::to_value(history.since(since)).unwrap()
    }

    const LONG_AGO: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn what_was_not_there_is_a_gap_and_what_is_no_number_is_told_as_text() {
        let history = History::default();
        history.record(at(0), "# TYPE a gauge\na 1\nb{k=\"x\"} NaN\n# EOF\n");
        history.record(at(1), "a 2.5\n");
        history.record(at(2), "a +Inf\nb{k=\"x\"} -Inf\n");
        assert_eq!(
            view(&history, LONG_AGO),
            json!({
                "interval_ms": 5_000,
                "times": [1_000_000, 1_005_000, 1_010_000],
                "series": [
                    {"name": "a", "labels": {}, "values": [1.0, 2.5, "+Inf"]},
                    {"name": "b", "labels": {"k": "x"}, "values": ["NaN", null, "-Inf"]},
                ],
            })
        );
        let later = view(&history, at(0));
        assert_eq!(later["times"], json!([1_005_000, 1_010_000]));
        assert_eq!(later["series"][1]["values"], json!([null, "-Inf"]));
        assert_eq!(view(&history, at(2))["series"], json!([]));
    }

    #[test]
    fn buckets_are_series_of_their_own_and_exemplars_are_left_out() {
        let history = History::default();
        let page = "t_bucket{le=\"0.5\",route=\"/a/{id}\"} 3 # {trace_id=\"4b f\"} 0.2\nt_bucket{le=\"+Inf\"} 4\n\
                    t_sum 1.25\nodd{text=\"q\\\"}, \\\\ \\n\"} 7\n";
        history.record(at(0), page);
        assert_eq!(
            view(&history, LONG_AGO)["series"],
            json!([
                {"name": "odd", "labels": {"text": "q\"}, \\ \n"}, "values": [7.0]},
                {"name": "t_bucket", "labels": {"le": "+Inf"}, "values": [4.0]},
                {"name": "t_bucket", "labels": {"le": "0.5", "route": "/a/{id}"}, "values": [3.0]},
                {"name": "t_sum", "labels": {}, "values": [1.25]},
            ])
        );
    }

    #[test]
    fn only_the_last_sixteen_minutes_are_kept() {
        let history = History::default();
        let last = POINTS as i64 + 19;
        for step in 0..=last {
            let gone = if step < 10 { "gone 1\n" } else { "" };
            history.record(at(step), &format!("a {step}\n{gone}"));
        }
        let view = view(&history, LONG_AGO);
        assert_eq!(view["times"].as_array().unwrap().len(), POINTS);
        assert_eq!(view["times"][0], json!(1_000_000 + 20 * 5_000));
        assert_eq!(view["series"].as_array().unwrap().len(), 1, "what has gone is forgotten");
        assert_eq!(view["series"][0]["values"][POINTS - 1], json!(last as f64));
    }

    #[test]
    fn more_series_than_there_is_room_for_are_refused_until_others_have_gone() {
        let history = History::with_series(2);
        assert_eq!(history.record(at(0), "a 1\nb 1\nc 1\nd 1\n"), Recorded { series: 2, refused: 2 });
        for step in 1..=POINTS as i64 {
            history.record(at(step), "b 1\n");
        }
        assert_eq!(history.record(at(POINTS as i64 + 1), "b 1\nc 1\n"), Recorded { series: 2, refused: 0 });
        assert_eq!(view(&history, at(POINTS as i64))["series"][1]["name"], json!("c"));
    }

    #[test]
    fn a_line_that_is_no_sample_is_none() {
        for line in ["", "a", "# HELP a b", "a{", "a{b=\"c\"", "a x"] {
            assert_eq!(sample(line), None, "{line:?}");
        }
        assert_eq!(sample("a{b=\"}\"} 4 1234"), Some(("a{b=\"}\"}", 4.0)));
    }
}
