//! What a value in binary format says, for people and for the record.
//!
//! Invariant: only what leaves no doubt is shown as text. Everything else is its bytes, and the name of
//! its type.

use std::sync::Arc;

use pipeline::{BinaryValue, Parameter};

use crate::catalog::Snapshot;

/// Domains over domains.
const MAX_DEPTH: usize = 32;
/// Groups of four digits in a number that is written out.
const MAX_GROUPS: u16 = 64;
/// Digits behind its point.
const MAX_SCALE: u16 = 256;
/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const EPOCH: i64 = 10_957;
const DAY: i64 = 86_400_000_000;

/// A value of a type, if that is known, as it was sent in binary format.
pub(crate) fn binary(bytes: &[u8], oid: Option<u32>, snapshot: &Snapshot) -> Parameter {
    let Some(oid) = oid else {
        return Parameter::Binary(BinaryValue {
            bytes: bytes.to_vec(),
            of: None,
            text: None,
        });
    };
    let base = base(oid, snapshot);
    if is_text(base, snapshot) && std::str::from_utf8(bytes).is_ok() {
        // The same in both formats.
        return Parameter::Text(bytes.to_vec());
    }
    let name = snapshot.type_info(oid).map(|info| info.name.clone());
    Parameter::Binary(BinaryValue {
        bytes: bytes.to_vec(),
        of: Some(name.unwrap_or_else(|| Arc::from(format!("type {oid}")))),
        text: text(bytes, base),
    })
}

/// What a domain is over.
fn base(oid: u32, snapshot: &Snapshot) -> u32 {
    let mut oid = oid;
    for _ in 0..MAX_DEPTH {
        match snapshot.type_info(oid) {
            Some(info) if info.kind == b'd' => oid = info.base,
            _ => return oid,
        }
    }
    // Nobody can tell.
    0
}

/// name, text, json, xml, unknown, bpchar, varchar; labels of enumerations.
fn is_text(oid: u32, snapshot: &Snapshot) -> bool {
    let labels = || snapshot.type_info(oid).is_some_and(|t| t.kind == b'e');
    matches!(oid, 19 | 25 | 114 | 142 | 705 | 1_042 | 1_043) || labels()
}

/// Object ids are those of `pg_type.dat`, formats those of the types' send functions.
fn text(bytes: &[u8], oid: u32) -> Option<String> {
    Some(match oid {
        16 => match bytes {
            [0] => "false".to_owned(),
            [1] => "true".to_owned(),
            _ => return None,
        },
        21 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        23 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        20 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        26 => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        700 => f32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        701 => f64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        1_082 => date(i32::from_be_bytes(bytes.try_into().ok()?)),
        1_114 => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), ""),
        1_184 => timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "Z"),
        1_700 => return numeric(bytes),
        2_950 => uuid(bytes.try_into().ok()?),
        3_802 => {
            let json = bytes.strip_prefix(&[1])?;
            std::str::from_utf8(json).ok()?.to_owned()
        }
        _ => return None,
    })
}

fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => {
            let (text, before) = day(i64::from(days));
            text + before
        }
    }
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (date, before) = day(micros.div_euclid(DAY));
    let rest = micros.rem_euclid(DAY);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match micros {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{zone}{before}")
}

/// The day so many days after 2000-01-01, and what says that it is before the first year.
fn day(days: i64) -> (String, &'static str) {
    // Years of 400 begin in March, so that the day that some have and others have not is their last.
    let days = days + EPOCH + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        ..=0 => (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC"),
        year => (format!("{year:04}-{month:02}-{day:02}"), ""),
    }
}

fn uuid(bytes: [u8; 16]) -> String {
    let parts = [(0, 4), (4, 6), (6, 8), (8, 10), (10, 16)]
        .map(|(from, to)| hex::encode(bytes.get(from..to).unwrap_or_default()));
    parts.join("-")
}

/// `numeric_send`: digits to the base of 10,000.
fn numeric(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let [c0, c1, w0, w1, s0, s1, d0, d1] = *head;
    let count = u16::from_be_bytes([c0, c1]);
    let weight = i16::from_be_bytes([w0, w1]);
    let sign = u16::from_be_bytes([s0, s1]);
    let scale = u16::from_be_bytes([d0, d1]);
    let (groups, rest) = rest.as_chunks::<2>();
    let most = i16::try_from(MAX_GROUPS).unwrap_or(i16::MAX);
    let bounded = count <= MAX_GROUPS && scale <= MAX_SCALE && (-most..=most).contains(&weight);
    if groups.len() != usize::from(count) || !rest.is_empty() || !bounded {
        return None;
    }
    let groups: Vec<u16> = groups.iter().map(|g| u16::from_be_bytes(*g)).collect();
    if groups.iter().any(|g| *g > 9_999) {
        return None;
    }
    let mut text = match sign {
        0 => String::new(),
        0x4000 => "-".to_owned(),
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    // The group that stands for this power of 10,000.
    let group = |power: i32| {
        let at = usize::try_from(i32::from(weight) - power).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    let first = i32::from(weight).max(0);
    text.push_str(&group(first).to_string());
    for power in (0..first).rev() {
        text.push_str(&format!("{:04}", group(power)));
    }
    if scale > 0 {
        let mut behind = String::new();
        let mut power = -1;
        while behind.len() < usize::from(scale) {
            behind.push_str(&format!("{:04}", group(power)));
            power -= 1;
        }
        behind.truncate(usize::from(scale));
        text.push('.');
        text.push_str(&behind);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric_of(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let mut out = (groups.len() as u16).to_be_bytes().to_vec();
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
        out.extend(groups.iter().flat_map(|g| g.to_be_bytes()));
        out
    }

    fn said(oid: u32, bytes: &[u8]) -> Option<String> {
        text(bytes, oid)
    }

    #[test]
    fn what_leaves_no_doubt() {
        for (oid, bytes, expect) in [
            (16, vec![1], "true"),
            (16, vec![0], "false"),
            (21, (-7i16).to_be_bytes().to_vec(), "-7"),
            (23, b"\0\0\0A".to_vec(), "65"),
            (20, b"abcdefgh".to_vec(), "7017280452245743464"),
            (26, u32::MAX.to_be_bytes().to_vec(), "4294967295"),
            (700, 1.5f32.to_be_bytes().to_vec(), "1.5"),
            (701, f64::NAN.to_be_bytes().to_vec(), "NaN"),
            (1_082, 0i32.to_be_bytes().to_vec(), "2000-01-01"),
            (1_082, 9_826i32.to_be_bytes().to_vec(), "2026-11-26"),
            (1_082, (-1i32).to_be_bytes().to_vec(), "1999-12-31"),
            (1_082, (-730_119i32).to_be_bytes().to_vec(), "0001-01-01"),
            (1_082, (-730_120i32).to_be_bytes().to_vec(), "0001-12-31 BC"),
            (1_082, i32::MAX.to_be_bytes().to_vec(), "infinity"),
            (
                1_114,
                (-1i64).to_be_bytes().to_vec(),
                "1999-12-31 23:59:59.999999",
            ),
            (
                1_184,
                59_000_000i64.to_be_bytes().to_vec(),
                "2000-01-01 00:00:59Z",
            ),
            (1_184, i64::MIN.to_be_bytes().to_vec(), "-infinity"),
            (
                2_950,
                (0..16).collect(),
                "00010203-0405-0607-0809-0a0b0c0d0e0f",
            ),
            (3_802, b"\x01{\"a\": 1}".to_vec(), "{\"a\": 1}"),
            (1_700, numeric_of(&[12, 3400], 0, 0, 2), "12.34"),
            (1_700, numeric_of(&[42], -1, 0x4000, 4), "-0.0042"),
            (1_700, numeric_of(&[42], -2, 0, 8), "0.00000042"),
            (1_700, numeric_of(&[5], 2, 0, 0), "500000000"),
            (1_700, numeric_of(&[4111, 1111], 1, 0, 0), "41111111"),
            (1_700, numeric_of(&[], 0, 0, 3), "0.000"),
            (1_700, numeric_of(&[], 0, 0xc000, 0), "NaN"),
        ] {
            assert_eq!(
                said(oid, &bytes).as_deref(),
                Some(expect),
                "{oid} {bytes:?}"
            );
        }
    }

    #[test]
    fn what_has_another_shape_stays_bytes() {
        for (oid, bytes) in [
            (16, vec![2]),
            (23, vec![0; 3]),
            (23, vec![0; 5]),
            (20, b"7".to_vec()),
            (2_950, vec![0; 15]),
            (3_802, b"\x02{}".to_vec()),
            (3_802, vec![1, 0xff]),
            (600, vec![0; 16]),
            (1_700, vec![0; 7]),
            (1_700, numeric_of(&[10_000], 0, 0, 0)),
            (1_700, numeric_of(&[1], 0, 7, 0)),
            (1_700, numeric_of(&[1], i16::MAX, 0, 0)),
            (1_700, numeric_of(&[1], i16::MIN, 0, 0)),
            (1_700, numeric_of(&[1], 0, 0, u16::MAX)),
            (1_700, [numeric_of(&[1], 0, 0, 0), vec![0]].concat()),
        ] {
            assert_eq!(said(oid, &bytes), None, "{oid} {bytes:?}");
        }
        for n in [i32::MIN + 1, i32::MAX - 1] {
            assert!(said(1_082, &n.to_be_bytes()).is_some());
        }
        for n in [i64::MIN + 1, i64::MAX - 1] {
            assert!(said(1_114, &n.to_be_bytes()).is_some());
        }
    }

    /// A text that is none, a type that nobody knows, a type that nobody has named.
    #[test]
    fn what_is_not_known_says_so() {
        let snapshot = Snapshot::default();
        let of = |bytes: &[u8], oid| match binary(bytes, oid, &snapshot) {
            Parameter::Binary(value) => value.of.map(|name| name.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(b"\0\0\0A", None), None);
        assert_eq!(of(b"\xff", Some(25)).as_deref(), Some("type 25"));
        assert_eq!(of(b"x", Some(99_999)).as_deref(), Some("type 99999"));
        assert_eq!(
            binary(b"x", Some(25), &snapshot),
            Parameter::Text(b"x".to_vec())
        );
    }
}
