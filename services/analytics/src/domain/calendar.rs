//! Days and months of Asia/Seoul, fast enough to be asked for every event.
//!
//! Invariant: since 1988-10-09 the zone has had one offset, nine hours; what is earlier is asked of the zone's own table.

use kernel::Timestamp;

/// The zone of all days and months.
pub const ZONE: &str = "Asia/Seoul";

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 86_400_000;

const OFFSET_MS: i64 = 9 * HOUR_MS;
/// 1988-10-10T00:00:00Z: after the last change of the zone's clocks.
const STEADY_SINCE_MS: i64 = 592_444_800_000;
/// The end of the table's calendar is farther away than any time that is taken.
const STEADY_UNTIL_MS: i64 = 250_000_000_000_000;

fn is_steady(at: i64) -> bool {
    (STEADY_SINCE_MS..STEADY_UNTIL_MS).contains(&at)
}

/// When the day that holds `at` begins.
pub fn day_start(at: i64) -> i64 {
    if is_steady(at) {
        return at - (at + OFFSET_MS).rem_euclid(DAY_MS);
    }
    let local = Timestamp::from_millis(at).in_zone(ZONE);
    let start = local.and_then(|local| local.start_of_day().ok());
    start.map_or(at - (at + OFFSET_MS).rem_euclid(DAY_MS), |start| start.timestamp().as_millisecond())
}

/// When the month that holds `at` begins.
pub fn month_start(at: i64) -> i64 {
    if is_steady(at) && is_steady(at - 32 * DAY_MS) {
        let (_, _, day) = civil((at + OFFSET_MS).div_euclid(DAY_MS));
        return day_start(at) - (day - 1) * DAY_MS;
    }
    let local = Timestamp::from_millis(at).in_zone(ZONE);
    let start = local.and_then(|local| local.first_of_month().ok()?.start_of_day().ok());
    start.map_or(at, |start| start.timestamp().as_millisecond())
}

/// `201012` for December 2010.
pub fn month_of(at: Timestamp) -> i64 {
    if is_steady(at.as_millis()) {
        let (year, month, _) = civil((at.as_millis() + OFFSET_MS).div_euclid(DAY_MS));
        return year * 100 + month;
    }
    at.in_zone(ZONE).map_or(0, |local| i64::from(local.year()) * 100 + i64::from(local.month()))
}

/// A whole year, from its beginning to its end.
pub fn year_in_zone(year: i16) -> Option<std::ops::Range<i64>> {
    let start = |year| {
        let local = jiff::civil::Date::new(year, 1, 1).ok()?.in_tz(ZONE).ok()?;
        Some(local.timestamp().as_millisecond())
    };
    Some(start(year)?..start(year + 1)?)
}

/// Year, month and day of a count of days since 1970-01-01, by Hinnant's algorithm (howardhinnant.github.io/date_algorithms.html,
/// `civil_from_days`): years begin in March, so that the leap day is the last.
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millis()
    }

    #[test]
    fn days_and_months_are_those_of_the_zone_at_every_hour_of_two_centuries() {
        let mut at = ms("1970-01-01T00:30:00Z");
        while at < ms("2199-12-31T00:00:00Z") {
            let local = Timestamp::from_millis(at).in_zone(ZONE).unwrap();
            assert_eq!(day_start(at), local.start_of_day().unwrap().timestamp().as_millisecond(), "{local}");
            let first = local.first_of_month().unwrap().start_of_day().unwrap();
            assert_eq!(month_start(at), first.timestamp().as_millisecond(), "{local}");
            let month = i64::from(local.year()) * 100 + i64::from(local.month());
            assert_eq!(month_of(Timestamp::from_millis(at)), month, "{local}");
            // Every hour while the zone changed its clocks, and then a step that meets every hour of the day.
            at += if at < ms("1990-01-01T00:00:00Z") { 5 * HOUR_MS } else { 47 * HOUR_MS };
        }
    }

    #[test]
    fn a_day_begins_at_midnight_in_seoul() {
        let midnight = ms("2026-02-28T15:00:00Z");
        assert_eq!(day_start(midnight), midnight);
        assert_eq!(day_start(midnight - 1), midnight - DAY_MS);
        assert_eq!(month_start(midnight), midnight);
        assert_eq!(month_start(midnight - 1), ms("2026-01-31T15:00:00Z"));
    }
}
