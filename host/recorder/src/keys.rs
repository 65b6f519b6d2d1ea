//! The names of stored objects: `rec/<yyyy>/<mm>/<dd>/<session>/<seg6>-<sha256>.rec`, and the same
//! below `ctl/` for control streams.

use std::fmt;

use uuid::Uuid;

use crate::chain::Hash;

/// The key of one segment, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentKey {
    pub control: bool,
    pub day: Day,
    pub stream: Uuid,
    pub segment: u32,
    pub sha256: Hash,
}

#[cfg(test)]
impl SegmentKey {
    /// Of one and the same stream.
    pub(crate) fn sample(segment: u32) -> Self {
        let stream = Uuid::from_u128(7);
        Self {
            control: false,
            day: Day::of_stream(stream, 0),
            stream,
            segment,
            sha256: [0; 32],
        }
    }
}

/// A day in UTC. Streams are filed under the day of their start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

const NS_PER_DAY: u64 = 86_400_000_000_000;

impl Day {
    pub fn of_ns(ns: u64) -> Self {
        let (year, month, day) = civil(ns / NS_PER_DAY);
        Self { year, month, day }
    }

    /// `yyyy-mm-dd`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = |len: usize| parts.next().filter(|p| p.len() == len)?.parse::<u16>().ok();
        let (year, month, day) = (next(4)?, next(2)?, next(2)?);
        let fits = parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day);
        fits.then_some(Self {
            year,
            month: month as u8,
            day: day as u8,
        })
    }

    /// The day after; an impossible day such as 31 February leads to the next month.
    pub fn next(self) -> Self {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let last = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        match (self.day < last, self.month < 12) {
            (true, _) => Self {
                day: self.day + 1,
                ..self
            },
            (false, true) => Self {
                month: self.month + 1,
                day: 1,
                ..self
            },
            (false, false) => Self {
                year: self.year.saturating_add(1),
                month: 1,
                day: 1,
            },
        }
    }

    /// The day that a stream is filed under: the time in its UUIDv7, or its start.
    pub fn of_stream(stream: Uuid, started_ns: u64) -> Self {
        Self::of_v7(stream).unwrap_or_else(|| Self::of_ns(started_ns))
    }

    pub fn of_v7(stream: Uuid) -> Option<Self> {
        (stream.get_version_num() == 7)
            .then(|| Self::of_ns(((stream.as_u128() >> 80) as u64).saturating_mul(1_000_000)))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}/{:02}/{:02}", self.year, self.month, self.day)
    }
}

/// The directory of control streams or of sessions.
pub fn root(control: bool) -> &'static str {
    if control { "ctl" } else { "rec" }
}

impl SegmentKey {
    pub fn stream_prefix(control: bool, day: Day, stream: Uuid) -> String {
        format!("{}/{day}/{}", root(control), stream.as_hyphenated())
    }

    pub fn parse(key: &str) -> Option<Self> {
        let parts: Vec<&str> = key.split('/').collect();
        let [root, year, month, day, stream, file] = parts.as_slice() else {
            return None;
        };
        let control = match *root {
            "rec" => false,
            "ctl" => true,
            _ => return None,
        };
        let (segment, sha) = file.strip_suffix(".rec")?.split_once('-')?;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(sha, &mut sha256).ok()?;
        let parsed = Self {
            control,
            day: Day::parse(&format!("{year}-{month}-{day}"))?,
            stream: stream.parse().ok()?,
            segment: segment.parse().ok()?,
            sha256,
        };
        // One spelling per key: nothing else may stand for the same segment.
        (parsed.to_string() == key).then_some(parsed)
    }

    /// The name of its file in the spool.
    pub fn file_name(&self) -> String {
        self.to_string().replace('/', "_")
    }

    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::parse(&name.replace('_', "/"))
    }
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{:06}-{}.rec",
            Self::stream_prefix(self.control, self.day, self.stream),
            self.segment,
            hex::encode(self.sha256)
        )
    }
}

/// Days since 1970-01-01 as year, month, day (proleptic Gregorian).
fn civil(days: u64) -> (u16, u8, u8) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    (
        u16::try_from(year).unwrap_or(u16::MAX),
        month as u8,
        day as u8,
    )
}

/// The reverse of [`civil`]: days since 1970-01-01; none for days before that, and for impossible ones.
fn days(day: Day) -> Option<u64> {
    let (year, month) = (u64::from(day.year), u64::from(day.month));
    let year = year - u64::from(month <= 2);
    let era = year / 400;
    let yoe = year % 400;
    let mp = (month + 9) % 12;
    let doy = (153 * mp + 2) / 5 + u64::from(day.day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = (era * 146_097 + doe).checked_sub(719_468)?;
    let back = civil(days) == (day.year, day.month, day.day);
    back.then_some(days)
}

/// Reads a time of RFC 3339 in UTC, such as [`timestamp`] writes it, with up to nine digits of a second.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if fraction.len() > 9
        || !digits(fraction)
        || !date.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    {
        return None;
    }
    let mut parts = time.split(':');
    let mut next = |below: u64| {
        let part = parts.next().filter(|p| p.len() == 2 && digits(p))?;
        part.parse::<u64>().ok().filter(|n| *n < below)
    };
    let (hours, minutes, seconds) = (next(24)?, next(60)?, next(60)?);
    if parts.next().is_some() {
        return None;
    }
    let seconds = days(Day::parse(date)?)? * 86_400 + hours * 3600 + minutes * 60 + seconds;
    let nanoseconds = format!("{fraction:0<9}").parse::<u64>().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// `2026-11-20T12:34:56.789012Z`.
pub fn timestamp(ns: u64) -> String {
    let day = Day::of_ns(ns);
    let of_day = ns % NS_PER_DAY;
    let seconds = of_day / 1_000_000_000;
    // Of a length that is known: it is written for every record.
    let mut out = String::with_capacity(27);
    let parts = [
        (u64::from(day.year), 1000, '-'),
        (u64::from(day.month), 10, '-'),
        (u64::from(day.day), 10, 'T'),
        (seconds / 3600, 10, ':'),
        (seconds / 60 % 60, 10, ':'),
        (seconds % 60, 10, '.'),
        (of_day % 1_000_000_000 / 1000, 100_000, 'Z'),
    ];
    for (number, mut place, after) in parts {
        while place > 0 {
            let digit = (number / place % 10) as u8;
            out.push(char::from(b'0' + digit));
            place /= 10;
        }
        out.push(after);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (ns, expect) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199_999_999_999, "2024-02-29T23:59:59.999999Z"),
            (4_107_542_399_000_001_000, "2100-02-28T23:59:59.000001Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(ns), expect);
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for ns in [
            0,
            951_782_400_000_000_000,
            1_709_251_199_999_999_000,
            4_107_542_399_000_001_000,
            4_107_542_400_000_000_000,
        ] {
            assert_eq!(parse_timestamp(&timestamp(ns)), Some(ns));
        }
        assert_eq!(parse_timestamp("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.5Z"), Some(500_000_000));
        for wrong in [
            "",
            "Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:60Z",
            "1970-02-30T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T0:00:00Z",
            "1970-01-01T+1:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00:00Z",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_have_one_spelling() {
        let key = SegmentKey {
            control: false,
            day: Day {
                year: 2026,
                month: 11,
                day: 20,
            },
            stream: Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001),
            segment: 3,
            sha256: [0xab; 32],
        };
        let text = key.to_string();
        assert_eq!(SegmentKey::parse(&text), Some(key));
        assert_eq!(SegmentKey::from_file_name(&key.file_name()), Some(key));
        for wrong in [
            text.replace("000003", "3"),
            text.replace("000003", "+00003"),
            text.to_uppercase(),
            text.replace("rec/", "x/"),
            text.replace("/11/", "/13/"),
            text.replace("ab.rec", ".rec"),
            format!("{text}/x"),
            format!("x/{text}"),
        ] {
            assert_eq!(SegmentKey::parse(&wrong), None, "{wrong}");
        }
    }
}
