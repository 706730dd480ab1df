//! Functions of the values of one series within a range.
//!
//! The extrapolation of [`rate`], [`increase`] and [`delta`] is that of Prometheus: a series is taken to begin or end
//! half a sampling interval beyond its first and last value, up to the end of the range where that is nearer than 1.1
//! intervals, and a counter never begins below zero.

/// The values of a series within a range; at least one.
pub struct Window<'a> {
    pub points: &'a [(i64, f64)],
    pub start_ms: i64,
    pub end_ms: i64,
}

impl Window<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, value)| *value)
    }

    fn ends(&self) -> Option<((i64, f64), (i64, f64))> {
        match self.points {
            [first, .., last] => Some((*first, *last)),
            _ => None,
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.windows(2).map(|pair| (pair[0].1, pair[1].1))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Measured {
    Counter,
    Gauge,
}

fn extrapolated(window: &Window<'_>, measured: Measured) -> Option<f64> {
    let ((first_ms, first), (last_ms, last)) = window.ends()?;
    let mut result = last - first;
    if measured == Measured::Counter {
        result +=
            window.pairs().filter(|(before, after)| after < before).map(|(before, _)| before).sum::<f64>();
    }
    let mut to_start_s = (first_ms - window.start_ms) as f64 / 1000.0;
    let mut to_end_s = (window.end_ms - last_ms) as f64 / 1000.0;
    let sampled_s = (last_ms - first_ms) as f64 / 1000.0;
    let between_s = sampled_s / (window.points.len() - 1) as f64;
    let near_s = between_s * 1.1;
    if to_start_s >= near_s {
        to_start_s = between_s / 2.0;
    }
    if measured == Measured::Counter && result > 0.0 && first >= 0.0 {
        to_start_s = to_start_s.min(sampled_s * (first / result));
    }
    if to_end_s >= near_s {
        to_end_s = between_s / 2.0;
    }
    Some(result * ((sampled_s + to_start_s + to_end_s) / sampled_s))
}

pub fn rate(window: &Window<'_>) -> Option<f64> {
    let seconds = (window.end_ms - window.start_ms) as f64 / 1000.0;
    Some(increase(window)? / seconds)
}

pub fn increase(window: &Window<'_>) -> Option<f64> {
    extrapolated(window, Measured::Counter)
}

pub fn delta(window: &Window<'_>) -> Option<f64> {
    extrapolated(window, Measured::Gauge)
}

/// The last two values and the seconds between them.
fn newest(window: &Window<'_>) -> Option<(f64, f64, f64)> {
    match window.points {
        [.., (before_ms, before), (last_ms, last)] if last_ms > before_ms => {
            Some((*before, *last, (last_ms - before_ms) as f64 / 1000.0))
        }
        _ => None,
    }
}

pub fn irate(window: &Window<'_>) -> Option<f64> {
    let (before, last, seconds) = newest(window)?;
    Some(if last < before { last } else { last - before } / seconds)
}

pub fn idelta(window: &Window<'_>) -> Option<f64> {
    newest(window).map(|(before, last, _)| last - before)
}

pub fn resets(window: &Window<'_>) -> Option<f64> {
    Some(window.pairs().filter(|(before, after)| after < before).count() as f64)
}

pub fn changes(window: &Window<'_>) -> Option<f64> {
    let changed = |(before, after): &(f64, f64)| before != after && !(before.is_nan() && after.is_nan());
    Some(window.pairs().filter(changed).count() as f64)
}

pub fn avg(window: &Window<'_>) -> Option<f64> {
    Some(sum(window)? / window.points.len() as f64)
}

/// NaN loses against every number.
pub fn min(window: &Window<'_>) -> Option<f64> {
    window.values().reduce(|least, value| if value < least || least.is_nan() { value } else { least })
}

pub fn max(window: &Window<'_>) -> Option<f64> {
    window.values().reduce(|most, value| if value > most || most.is_nan() { value } else { most })
}

pub fn sum(window: &Window<'_>) -> Option<f64> {
    Some(compensated_sum(window.values()))
}

pub fn count(window: &Window<'_>) -> Option<f64> {
    Some(window.points.len() as f64)
}

pub fn last(window: &Window<'_>) -> Option<f64> {
    window.points.last().map(|(_, value)| *value)
}

pub fn stdvar(window: &Window<'_>) -> Option<f64> {
    let mean = avg(window)?;
    let squares = window.values().map(|value| (value - mean) * (value - mean));
    Some(compensated_sum(squares) / window.points.len() as f64)
}

pub fn stddev(window: &Window<'_>) -> Option<f64> {
    stdvar(window).map(f64::sqrt)
}

/// A sum that loses no small value beside great ones (Neumaier), as the server sums.
pub fn compensated_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    if sum.is_infinite() { sum } else { sum + lost }
}
