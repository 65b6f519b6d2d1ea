//! The texts inside of values in binary format: of arrays, rows, ranges and what else has lengths and
//! numbers between its texts. A detector that saw the bytes as they travel could take a length for a
//! letter or a digit, and find nothing.
//!
//! Invariant: what has not the shape that its type has, or a type that is not known, counts as found.

use std::sync::Arc;

use crate::catalog::{FIRST_USER_OID, Snapshot};

/// Arrays of rows of arrays.
const MAX_DEPTH: usize = 16;
/// Dimensions of an array (`MAXDIM`).
const MAX_DIMENSIONS: i32 = 6;
/// Zeros that are written for a number's exponent.
const MAX_ZEROS: usize = 256;

/// A column of values in binary format that are neither plain text nor JSON.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    /// None: only PostgreSQL's own types that need no catalogue are known.
    types: Option<Arc<Snapshot>>,
    type_oid: u32,
}

/// A text was found, or nobody can tell.
struct Stop;

type Walk = Result<(), Stop>;

impl Inside {
    pub fn of(type_oid: u32) -> Self {
        Self {
            types: None,
            type_oid,
        }
    }

    pub fn knowing(&mut self, types: &Arc<Snapshot>) {
        self.types = Some(types.clone());
    }

    /// Is there a text in the value that `found` says so of?
    pub fn any(&self, value: &[u8], mut found: impl FnMut(&[u8]) -> bool) -> bool {
        let mut walker = Walker {
            types: self.types.as_deref(),
            found: &mut found,
        };
        walker.value(self.type_oid, value, 0).is_err()
    }

    /// All of them, a line each, for whoever looks at a value as a whole; none when nobody can tell.
    pub fn all(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut lines = Vec::with_capacity(value.len());
        let malformed = self.any(value, |text| {
            lines.extend_from_slice(text);
            lines.push(b'\n');
            false
        });
        (!malformed).then_some(lines)
    }
}

struct Walker<'t, 'f> {
    types: Option<&'t Snapshot>,
    found: &'f mut dyn FnMut(&[u8]) -> bool,
}

impl Walker<'_, '_> {
    fn text(&mut self, text: &[u8]) -> Walk {
        match (self.found)(text) {
            true => Err(Stop),
            false => Ok(()),
        }
    }

    fn value(&mut self, oid: u32, value: &[u8], depth: usize) -> Walk {
        if depth > MAX_DEPTH {
            return Err(Stop);
        }
        match oid {
            // int8, int2, int4, oid.
            20 | 21 | 23 | 26 => self.text(integer(value)?.as_bytes()),
            1_700 => self.text(numeric(value)?.as_bytes()),
            // jsonb.
            3_802 => self.versioned(value),
            // int2vector, oidvector.
            22 | 30 => self.array(value, depth),
            // record.
            2_249 => self.row(value, depth),
            // tsvector.
            3_614 => self.words(value),
            _ => self.by_kind(oid, value, depth),
        }
    }

    fn by_kind(&mut self, oid: u32, value: &[u8], depth: usize) -> Walk {
        let info = self.types.and_then(|t| t.type_info(oid)).ok_or(Stop)?;
        match info.kind {
            b'd' => self.value(info.base, value, depth + 1),
            b'c' => self.row(value, depth),
            b'r' => self.range(info.base, value, depth),
            b'm' => self.ranges(info.base, value, depth),
            _ if info.element != 0 && info.name.starts_with('_') => self.array(value, depth),
            // Of extensions, whatever their schema is.
            b'b' if oid >= FIRST_USER_OID => match &*info.name {
                "hstore" => self.pairs(value),
                "ltree" | "lquery" | "ltxtquery" => self.versioned(value),
                _ => self.text(value),
            },
            // Text of whatever type, bytes, enumerations, and numbers that hold no text.
            _ => self.text(value),
        }
    }

    /// A version, then text.
    fn versioned(&mut self, value: &[u8]) -> Walk {
        self.text(value.strip_prefix(&[1]).ok_or(Stop)?)
    }

    /// `array_send`.
    fn array(&mut self, value: &[u8], depth: usize) -> Walk {
        let mut r = Reader(value);
        let dimensions = r.int()?;
        let flags = r.int()?;
        let element = r.oid()?;
        if !(0..=MAX_DIMENSIONS).contains(&dimensions) || !(0..=1).contains(&flags) {
            return Err(Stop);
        }
        let mut elements = usize::from(dimensions > 0);
        for _ in 0..dimensions {
            let size = usize::try_from(r.int()?).map_err(|_| Stop)?;
            r.int()?;
            elements = elements.checked_mul(size).ok_or(Stop)?;
        }
        // Each has its length at least.
        if elements > r.0.len() / 4 {
            return Err(Stop);
        }
        for _ in 0..elements {
            if let Some(part) = r.part()? {
                self.value(element, part, depth + 1)?;
            }
        }
        r.end()
    }

    /// `record_send`.
    fn row(&mut self, value: &[u8], depth: usize) -> Walk {
        let mut r = Reader(value);
        for _ in 0..r.int()? {
            let oid = r.oid()?;
            if let Some(part) = r.part()? {
                self.value(oid, part, depth + 1)?;
            }
        }
        r.end()
    }

    /// `range_send`.
    fn range(&mut self, of: u32, value: &[u8], depth: usize) -> Walk {
        // rangetypes.h.
        const EMPTY: u8 = 0x01;
        const NO_LOWER: u8 = EMPTY | 0x08 | 0x20;
        const NO_UPPER: u8 = EMPTY | 0x10 | 0x40;
        let (&flags, rest) = value.split_first().ok_or(Stop)?;
        let mut r = Reader(rest);
        for none in [NO_LOWER, NO_UPPER] {
            if flags & none == 0 {
                let bound = r.part()?.ok_or(Stop)?;
                self.value(of, bound, depth + 1)?;
            }
        }
        r.end()
    }

    /// `multirange_send`; `of` is the range.
    fn ranges(&mut self, of: u32, value: &[u8], depth: usize) -> Walk {
        let mut r = Reader(value);
        for _ in 0..r.int()? {
            let range = r.part()?.ok_or(Stop)?;
            self.value(of, range, depth + 1)?;
        }
        r.end()
    }

    /// `hstore_send`.
    fn pairs(&mut self, value: &[u8]) -> Walk {
        let mut r = Reader(value);
        for _ in 0..r.int()? {
            let key = r.part()?.ok_or(Stop)?;
            self.text(key)?;
            if let Some(text) = r.part()? {
                self.text(text)?;
            }
        }
        r.end()
    }

    /// `tsvectorsend`.
    fn words(&mut self, value: &[u8]) -> Walk {
        let mut r = Reader(value);
        for _ in 0..r.int()? {
            let end = r.0.iter().position(|b| *b == 0).ok_or(Stop)?;
            let word = r.take(end)?;
            r.take(1)?;
            self.text(word)?;
            let places = usize::from(r.short()?);
            r.take(places * 2)?;
        }
        r.end()
    }
}

struct Reader<'v>(&'v [u8]);

impl<'v> Reader<'v> {
    fn take(&mut self, n: usize) -> Result<&'v [u8], Stop> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Stop)?;
        self.0 = rest;
        Ok(taken)
    }

    fn four(&mut self) -> Result<[u8; 4], Stop> {
        self.take(4)?.try_into().map_err(|_| Stop)
    }

    fn int(&mut self) -> Result<i32, Stop> {
        self.four().map(i32::from_be_bytes)
    }

    fn oid(&mut self) -> Result<u32, Stop> {
        self.four().map(u32::from_be_bytes)
    }

    fn short(&mut self) -> Result<u16, Stop> {
        let two: [u8; 2] = self.take(2)?.try_into().map_err(|_| Stop)?;
        Ok(u16::from_be_bytes(two))
    }

    /// Its length, then the part; none for NULL.
    fn part(&mut self) -> Result<Option<&'v [u8]>, Stop> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Stop)?;
                self.take(length).map(Some)
            }
        }
    }

    fn end(&self) -> Walk {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Stop),
        }
    }
}

fn integer(value: &[u8]) -> Result<String, Stop> {
    Ok(match *value {
        [a, b] => i16::from_be_bytes([a, b]).to_string(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).to_string(),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]).to_string(),
        _ => return Err(Stop),
    })
}

/// `numeric_send`: digits to the base of 10,000.
fn numeric(value: &[u8]) -> Result<String, Stop> {
    const NEGATIVE: u16 = 0x4000;
    let mut r = Reader(value);
    let count = r.short()?;
    let weight = r.short()? as i16;
    let sign = r.short()?;
    r.short()?;
    let mut text = String::new();
    if sign & !NEGATIVE != 0 {
        // NaN and infinity.
        return r.end().map(|()| text);
    }
    if sign == NEGATIVE {
        text.push('-');
    }
    for i in 0..i32::from(count) {
        let group = r.short()?;
        if group > 9_999 {
            return Err(Stop);
        }
        // The first group behind the point stands for the power -1.
        if i32::from(weight) - i == -1 {
            text.push('.');
        }
        let first = i == 0 && weight >= 0;
        match first {
            true => text.push_str(&group.to_string()),
            false => text.push_str(&format!("{group:04}")),
        }
    }
    let missing = i32::from(weight) + 1 - i32::from(count);
    let zeros = usize::try_from(missing).unwrap_or(0) * 4;
    text.extend(std::iter::repeat_n('0', zeros.min(MAX_ZEROS)));
    r.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(oid: u32, value: &[u8]) -> Option<String> {
        let inside = Inside::of(oid);
        inside.all(value).map(|t| String::from_utf8(t).unwrap())
    }

    fn part(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
    }

    fn words(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    #[test]
    fn numbers() {
        for (groups, weight, sign, expect) in [
            (&[4111, 1111, 1111, 1111][..], 3, 0, "4111111111111111"),
            (&[12, 3400], 0, 0, "12.3400"),
            (&[5], 2, 0x4000, "-500000000"),
            (&[42], -1, 0, ".0042"),
            (&[], 0, 0, "0000"),
            (&[], 0, 0xc000, ""),
        ] {
            let mut value = (groups.len() as u16).to_be_bytes().to_vec();
            value.extend((weight as i16).to_be_bytes());
            value.extend((sign as u16).to_be_bytes());
            value.extend([0, 0]);
            value.extend(groups.iter().flat_map(|g: &u16| g.to_be_bytes()));
            assert_eq!(texts(1_700, &value), Some(format!("{expect}\n")));
            value.push(0);
            assert_eq!(texts(1_700, &value), None);
        }
        assert_eq!(texts(20, &7i64.to_be_bytes()), Some("7\n".into()));
        assert_eq!(texts(20, &[1, 2, 3]), None);
    }

    /// Cut anywhere, or with something behind it, nobody can tell what it is.
    #[test]
    fn what_has_another_shape_counts_as_found() {
        // Of int4, which needs no catalogue.
        let mut array = words(&[1, 0, 23, 2, 1]);
        array.extend(part(&7u32.to_be_bytes()));
        array.extend(words(&[u32::MAX]));
        let mut row = words(&[2, 23]);
        row.extend(part(&8u32.to_be_bytes()));
        row.extend(words(&[23, u32::MAX]));
        let mut lexemes = words(&[2]);
        lexemes.extend(b"abc\0\0\x02\x31\x32\x33\x34def\0\0\0");
        for (oid, value, expect) in [
            (22, &array, "7\n"),
            (2_249, &row, "8\n"),
            (3_614, &lexemes, "abc\ndef\n"),
        ] {
            assert_eq!(texts(oid, value).as_deref(), Some(expect));
            for end in 0..value.len() {
                assert_eq!(texts(oid, &value[..end]), None, "{oid} cut at {end}");
            }
            let more = [&value[..], &[0]].concat();
            assert_eq!(texts(oid, &more), None);
        }
        for wrong in [
            words(&[7, 0, 23, 0, 0, 0, 0]),
            words(&[1, 2, 23, 0, 1]),
            words(&[2, 0, 23, u32::MAX, 1, u32::MAX, 1]),
            words(&[2, 0, 23, i32::MAX as u32, 1, i32::MAX as u32, 1]),
            // Of a type that nobody knows.
            [words(&[1, 0, 99_999, 1, 1]), part(b"x")].concat(),
        ] {
            assert_eq!(texts(22, &wrong), None, "{wrong:?}");
        }
        assert_eq!(texts(22, &words(&[0, 0, 23])), Some(String::new()));
        assert_eq!(texts(99_999, b"x"), None);
    }

    #[test]
    fn nothing_nests_without_end() {
        let mut row = words(&[1, 23]);
        row.extend(part(&8u32.to_be_bytes()));
        for _ in 0..100 {
            row = [words(&[1, 2_249]), part(&row)].concat();
        }
        assert_eq!(texts(2_249, &row), None);
    }
}
