//! Clock time as policies see it, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;
/// The last second of the year 9999; Cedar's `datetime` has four digits for the year.
const LAST_SECOND: i64 = 253_402_300_799;

/// Seconds since 1970, held to what `datetime` can say. Before 1970 counts as 1970.
fn unix(at: SystemTime) -> (i64, u32) {
    let since: Duration = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(LAST_SECOND);
    (seconds.min(LAST_SECOND), since.subsec_millis())
}

/// Monday is 1, Sunday 7; the minute of the day is 0 to 1439.
pub(crate) fn weekday_and_minute(at: SystemTime) -> (i64, i64) {
    let (seconds, _) = unix(at);
    // 1 January 1970 was a Thursday.
    let day = (seconds / DAY_SECONDS + 3) % 7 + 1;
    (day, seconds % DAY_SECONDS / 60)
}

/// The form that Cedar's `datetime` reads: `2026-11-20T09:00:00.123Z`.
pub(crate) fn rfc3339_millis(at: SystemTime) -> String {
    let (seconds, millis) = unix(at);
    let (year, month, day) = date(seconds / DAY_SECONDS);
    let second = seconds % DAY_SECONDS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// The proleptic Gregorian date of a day number since 1970. Years begin in March, so that the leap
/// day is the last of its year, and repeat every 400 years.
fn date(days: i64) -> (i64, i64, i64) {
    let from_march_0 = days + 719_468;
    let era = from_march_0.div_euclid(146_097);
    let of_era = from_march_0.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_weekdays() {
        for (seconds, text, weekday, minute) in [
            (0, "1970-01-01T00:00:00.000Z", 4, 0),
            (951_782_399, "2000-02-28T23:59:59.000Z", 1, 1439),
            (951_782_400, "2000-02-29T00:00:00.000Z", 2, 0),
            (951_868_800, "2000-03-01T00:00:00.000Z", 3, 0),
            (1_763_640_000, "2025-11-20T12:00:00.000Z", 4, 720),
            (4_107_542_399, "2100-02-28T23:59:59.000Z", 7, 1439),
            (4_107_542_400, "2100-03-01T00:00:00.000Z", 1, 0),
            (253_402_300_799, "9999-12-31T23:59:59.000Z", 5, 1439),
            (253_402_300_800, "9999-12-31T23:59:59.000Z", 5, 1439),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339_millis(at), text);
            assert_eq!(weekday_and_minute(at), (weekday, minute), "{text}");
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339_millis(before), "1970-01-01T00:00:00.000Z");
    }
}
