//! Figures as an operator reads them: three digits, a unit, and never more than nine columns.

use super::model::Reading;

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    PerSecond,
    PerMinute,
    /// 0 to 1, shown as a percentage.
    Share,
    Seconds,
    Bytes,
    /// Processors that are busy.
    Cores,
}

/// Three digits and a letter for thousands.
fn short(value: f64) -> String {
    let (magnitude, sign) = (value.abs(), if value < 0.0 { "-" } else { "" });
    let (scaled, letter) = match magnitude {
        m if m >= 999_500_000_000.0 => (m / 1e12, "T"),
        m if m >= 999_500_000.0 => (m / 1e9, "G"),
        m if m >= 999_500.0 => (m / 1e6, "M"),
        m if m >= 9_999.5 => (m / 1e3, "k"),
        m => (m, ""),
    };
    let text = match scaled {
        0.0 => "0".to_owned(),
        s if s.fract() == 0.0 && letter.is_empty() => format!("{s:.0}"),
        s if s < 0.01 => format!("{s:.0e}"),
        s if s < 9.995 => format!("{s:.2}"),
        s if s < 99.95 => format!("{s:.1}"),
        s => format!("{s:.0}"),
    };
    format!("{sign}{text}{letter}")
}

fn seconds(value: f64) -> String {
    match value {
        0.0 => "0 s".to_owned(),
        v if v < 0.000_999_5 => format!("{:.0} µs", v * 1e6),
        v if v < 0.009_995 => format!("{:.2} ms", v * 1e3),
        v if v < 0.099_95 => format!("{:.1} ms", v * 1e3),
        v if v < 0.999_5 => format!("{:.0} ms", v * 1e3),
        v if v < 9.995 => format!("{v:.2} s"),
        v if v < 120.0 => format!("{v:.0} s"),
        v if v < 7_200.0 => format!("{:.0} min", v / 60.0),
        v if v < 172_800.0 => format!("{:.0} h", v / 3_600.0),
        v => format!("{:.0} d", v / 86_400.0),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        p if p < 0.001 => "<0.001 %".to_owned(),
        p if p < 0.0995 => format!("{p:.3} %"),
        p if p < 9.995 => format!("{p:.2} %"),
        p if p < 99.95 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

impl Unit {
    pub fn format(self, value: f64) -> String {
        if value.is_infinite() {
            return if value > 0.0 { "∞".to_owned() } else { "-∞".to_owned() };
        }
        match self {
            Unit::Count => short(value),
            Unit::PerSecond => format!("{}/s", short(value)),
            Unit::PerMinute => format!("{}/min", short(value)),
            Unit::Share => percent(value),
            Unit::Seconds => seconds(value),
            Unit::Bytes => crate::human::bytes(value.max(0.0) as u64),
            Unit::Cores => format!("{value:.2}"),
        }
    }

    /// A dash where there is no series, a word where there is no number.
    pub fn show(self, reading: Reading) -> String {
        match reading {
            Reading::NoSeries => "–".to_owned(),
            Reading::NaN => "NaN".to_owned(),
            Reading::Value(value) => self.format(value),
        }
    }
}

/// A change against before: `+12 %`, `-3 %`, `×14`, `=`; `new` from nought, a dash where one of them is missing.
pub fn change(now: Reading, before: Reading) -> String {
    let (Reading::Value(now), Reading::Value(before)) = (now, before) else { return "–".to_owned() };
    if now == before {
        return "=".to_owned();
    }
    if before == 0.0 {
        return "new".to_owned();
    }
    let ratio = now / before;
    match (ratio - 1.0) * 100.0 {
        p if !p.is_finite() => "–".to_owned(),
        p if p >= 999.5 && ratio < 9_999.5 => format!("×{ratio:.0}"),
        p if p >= 999.5 => ">×9999".to_owned(),
        p if p.abs() < 0.5 => "≈".to_owned(),
        p => format!("{p:+.0} %"),
    }
}

/// How long ago, in one unit.
pub fn age(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < 1_000 => "now".to_owned(),
        ms if ms < 120_000 => format!("{} s", ms / 1_000),
        ms => seconds((ms / 1000) as f64),
    }
}

/// How old the newest sample is.
pub fn sample_age(sampled_ms: Option<i64>, now_ms: i64) -> String {
    match sampled_ms.map(|at| now_ms - at) {
        None => "no sample".to_owned(),
        Some(..1_000) => "sample 0 s old".to_owned(),
        Some(ms) => format!("sample {} old", age(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_and_their_unit() {
        let table = [
            (Unit::PerSecond, 0.0, "0/s"),
            (Unit::PerSecond, 0.0421, "0.04/s"),
            (Unit::PerSecond, 132.44, "132/s"),
            (Unit::Count, 1_234.0, "1234"),
            (Unit::Count, 12_345.0, "12.3k"),
            (Unit::Count, 2_500_000.0, "2.50M"),
            (Unit::Count, -3.0, "-3"),
            (Unit::Count, 0.0001, "1e-4"),
            (Unit::Share, 0.001_234, "0.12 %"),
            (Unit::Share, 0.000_001, "<0.001 %"),
            (Unit::Share, 1.0, "100 %"),
            (Unit::Seconds, 0.000_85, "850 µs"),
            (Unit::Seconds, 0.0123, "12.3 ms"),
            (Unit::Seconds, 0.45, "450 ms"),
            (Unit::Seconds, 1.5, "1.50 s"),
            (Unit::Seconds, 86_400.0, "24 h"),
            (Unit::Bytes, 123_456_789.0, "123 MB"),
            (Unit::Cores, 0.4242, "0.42"),
            (Unit::Count, f64::INFINITY, "∞"),
        ];
        for (unit, value, text) in table {
            assert_eq!(unit.format(value), text);
            assert!(text.chars().count() <= 9);
        }
        assert_eq!(Unit::Count.show(Reading::NaN), "NaN");
        assert_eq!(Unit::Count.show(Reading::NoSeries), "–");
    }

    #[test]
    fn a_change_is_told_where_there_is_something_to_compare() {
        use Reading::{NaN, NoSeries, Value};
        for (now, before, text) in [
            (Value(110.0), Value(100.0), "+10 %"),
            (Value(3.0), Value(4.0), "-25 %"),
            (Value(4.0), Value(4.0), "="),
            (Value(4.001), Value(4.0), "≈"),
            (Value(4.0), Value(0.0), "new"),
            (Value(60.0), Value(4.0), "×15"),
            (Value(0.0), Value(4.0), "-100 %"),
            (Value(4.0), NoSeries, "–"),
            (NaN, Value(4.0), "–"),
            (Value(f64::INFINITY), Value(1.0), "–"),
        ] {
            assert_eq!(change(now, before), text);
        }
    }
}
