//! Finds secrets in bytes, whole or in part, as they are or in another guise.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// Characters of a text that are found, however they are cut out of it.
const PART: usize = 6;
/// The same characters in hex.
const HEX_PART: usize = 12;
/// What is left of them in base64 wherever they start.
const BASE64_PART: usize = 7;
/// Their codes in decimal: three of the letters that words are made of.
const CODES_PART: usize = 9;
/// Days are less random than words: nearly all of one must be there.
const DAY_PART: usize = 9;

/// Secrets in all their guises.
#[derive(Debug, Default)]
pub struct Secrets {
    /// By length, in lower case.
    parts: HashMap<usize, HashMap<Vec<u8>, &'static str>>,
    /// Whole values in binary form.
    binary: Vec<(Vec<u8>, &'static str)>,
    pub count: usize,
}

impl Secrets {
    /// `word …`, `hex …`, `number …`, `day <day> <days since 2000>` or
    /// `moment <day> <time> <microseconds since 2000>`.
    pub fn add(&mut self, line: &str) -> Result<()> {
        let (kind, value) = line.split_once(' ').context("a secret without kind")?;
        self.count += 1;
        match kind {
            "word" => self.word(value),
            "hex" => self.cut(value.as_bytes(), HEX_PART, "as a digest"),
            "number" => self.number(value)?,
            "day" => {
                let (day, days) = value.split_once(' ').context("a day without number")?;
                self.cut(day.as_bytes(), DAY_PART, "as a day");
                self.cut(days.as_bytes(), PART, "as a number of days");
                self.whole(&days.parse::<i32>()?.to_be_bytes(), "as a binary day");
            }
            "moment" => {
                let (moment, micros) = value.rsplit_once(' ').context("a moment without number")?;
                let day = moment.get(..10).context("a moment without day")?;
                self.cut(day.as_bytes(), DAY_PART, "as a day");
                let micros: i64 = micros.parse()?;
                self.whole(&micros.to_be_bytes(), "as a binary moment");
            }
            other => bail!("no such kind of secret: {other}"),
        }
        Ok(())
    }

    fn word(&mut self, word: &str) {
        let bytes = word.as_bytes();
        self.cut(bytes, PART, "as it is");
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        self.cut(&reversed, PART, "reversed");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        self.cut(hex.as_bytes(), HEX_PART, "in hex");
        let capitals = word.to_ascii_uppercase();
        let hex: String = capitals.bytes().map(|b| format!("{b:02x}")).collect();
        self.cut(hex.as_bytes(), HEX_PART, "in hex");
        for text in [word, &capitals] {
            for skip in 0..3 {
                let base64 = base64_after(text.as_bytes(), skip);
                self.cut(base64.as_bytes(), BASE64_PART, "in base64");
            }
            let codes: String = text.bytes().map(|b| b.to_string()).collect();
            self.cut(codes.as_bytes(), CODES_PART, "as codes");
        }
    }

    fn number(&mut self, number: &str) -> Result<()> {
        let digits = number.replace('.', "");
        self.cut(digits.as_bytes(), PART, "as it is");
        let reversed: Vec<u8> = digits.bytes().rev().collect();
        self.cut(&reversed, PART, "reversed");
        let float: f64 = number.parse()?;
        self.whole(&float.to_be_bytes(), "as a binary float");
        self.whole(&numeric_digits(number)?, "as a binary numeric");
        if let Ok(integer) = number.parse::<i32>() {
            self.whole(&integer.to_be_bytes(), "as a binary integer");
            self.whole(&integer.to_le_bytes(), "as a binary integer, turned");
            self.cut(format!("{integer:08x}").as_bytes(), 8, "in hex");
        }
        Ok(())
    }

    fn cut(&mut self, text: &[u8], part: usize, how: &'static str) {
        let text = text.to_ascii_lowercase();
        let parts = self.parts.entry(part).or_default();
        for window in text.windows(part) {
            parts.insert(window.to_vec(), how);
        }
    }

    fn whole(&mut self, bytes: &[u8], how: &'static str) {
        self.binary.push((bytes.to_vec(), how));
    }

    /// The first secret that is in there, and how.
    pub fn find(&self, received: &[u8]) -> Option<String> {
        let lower = received.to_ascii_lowercase();
        let plain: Vec<u8> = lower
            .iter()
            .copied()
            .filter(u8::is_ascii_alphanumeric)
            .collect();
        for text in [&lower, &plain] {
            for (length, parts) in &self.parts {
                let found = text.windows(*length).find_map(|w| Some((w, parts.get(w)?)));
                if let Some((window, how)) = found {
                    return Some(format!("{:?} {how}", String::from_utf8_lossy(window)));
                }
            }
        }
        let found = self.binary.iter().find(|(bytes, _)| {
            let mut windows = received.windows(bytes.len());
            windows.any(|w| w == bytes)
        });
        found.map(|(bytes, how)| format!("{bytes:02x?} {how}"))
    }
}

/// The characters of base64 that depend on nothing but `bytes`, when `skip` bytes stand before it.
fn base64_after(bytes: &[u8], skip: usize) -> String {
    let whole = bytes.get((3 - skip) % 3..).unwrap_or_default();
    let whole = whole.get(..whole.len() / 3 * 3).unwrap_or_default();
    crate::http::base64(whole)
}

/// The digits of PostgreSQL's binary numeric: base 10,000, from the most significant.
fn numeric_digits(number: &str) -> Result<Vec<u8>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let pad = (4 - whole.len() % 4) % 4;
    let mut digits = format!("{}{whole}{fraction}", "0".repeat(pad));
    while digits.len() % 4 != 0 {
        digits.push('0');
    }
    let groups = digits.as_bytes().chunks(4);
    let mut out = Vec::new();
    for group in groups {
        let group: u16 = std::str::from_utf8(group)?.parse()?;
        out.extend(group.to_be_bytes());
    }
    // Those at the end that are zero are not kept.
    while out.ends_with(&[0, 0]) {
        out.truncate(out.len() - 2);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        for line in [
            "word qzjxkvwyhgpfbmuc",
            "hex 0123456789abcdef0123456789abcdef",
            "number 314159265",
            "number 271828182.8459",
            "day 1183-07-19 -298311",
            "moment 1604-02-29 11:12:13 -12488906867000000",
        ] {
            secrets.add(line).unwrap();
        }
        secrets
    }

    #[test]
    fn finds_what_is_hidden() {
        let secrets = secrets();
        for (received, expect) in [
            ("id | qzjxkvwyhgpfbmuc", true),
            ("...KVWYHG...", true),
            ("kvwyh", false),
            ("q.z.j.x.k.v", true),
            ("cumbfp", true),
            ("\\x717a6a786b76", true),
            ("{113,122,106,120}", true),
            ("6789abcdef01", true),
            ("6789abcdef0", false),
            ("cXpqeGt2d3loZ3BmYm11Yw==", true),
            ("eHF6anhrdnd5aGdwZmJtdWM=", true),
            ("3 141592", true),
            ("31415", false),
            ("12b9b0a1", true),
            ("281.828", true),
            ("281829", false),
            ("271828182", true),
            ("19.07.1183", false),
            ("1183-07-19", true),
            ("183-07-19", true),
            ("2024-07-19 1", false),
            ("-298311", true),
            ("", false),
        ] {
            let found = secrets.find(received.as_bytes());
            assert_eq!(found.is_some(), expect, "{received}: {found:?}");
        }
    }

    #[test]
    fn finds_binary_forms() {
        let secrets = secrets();
        for (received, expect) in [
            (314_159_265_i32.to_be_bytes().to_vec(), true),
            (314_159_265_i64.to_be_bytes().to_vec(), true),
            (314_159_266_i32.to_be_bytes().to_vec(), false),
            (314_159_265_f64.to_be_bytes().to_vec(), true),
            (
                vec![
                    0, 4, 0, 2, 0, 0, 0, 4, 0, 2, 0x1c, 0x0e, 0x1f, 0xf6, 0x21, 0x0b,
                ],
                true,
            ),
            ((-298_311_i32).to_be_bytes().to_vec(), true),
            ((-12_488_906_867_000_000_i64).to_be_bytes().to_vec(), true),
        ] {
            let found = secrets.find(&received);
            assert_eq!(found.is_some(), expect, "{received:02x?}: {found:?}");
        }
    }
}
