//! Numbers as people read them.

use std::time::Duration;

use kernel::Timestamp;

/// `0 B`, `812 B`, `4.2 MB`: powers of 1000, three digits at most.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// `850 ms`, `12 s`, `3 min 20 s`, `5 h 2 min`, `4 d 3 h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago an instant was; a dash where there is none.
pub fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    match at {
        Some(at) => format!("{} ago", duration(now.since(at))),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_two_or_three_digits() {
        let texts: Vec<String> = [0, 812, 1_000, 4_240_000, 999_600, 250_000_000_000].map(bytes).into();
        assert_eq!(texts, ["0 B", "812 B", "1.0 kB", "4.2 MB", "1.0 MB", "250 GB"]);
    }

    #[test]
    fn times_keep_their_two_greatest_units() {
        let texts: Vec<String> = [850, 12_000, 200_000, 18_120_000, 356_400_000]
            .map(|ms| duration(Duration::from_millis(ms)))
            .into();
        assert_eq!(texts, ["850 ms", "12 s", "3 min 20 s", "5 h 2 min", "4 d 3 h"]);
    }
}
