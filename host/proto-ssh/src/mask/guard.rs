//! Is it text at all?

use super::Kind;

/// What is judged together.
const WINDOW: usize = 8 << 10;
/// So much text among what is none is found.
const PART: usize = 2 << 10;
/// Of so many bytes at most one is none of a text.
const ONE_IN: usize = 20;
const BLOCK: usize = 64;
/// So many blocks, and one more, are counted in bytes.
const ROWS: usize = 128;
/// So many blocks of noise in a row are enough, mostly, to know that it is none of a text.
const AT_ONCE: usize = 10;
/// Of less it cannot be told by counting. So many shown bytes in a row are text, whatever stands around them.
const SHORT: usize = BLOCK;
/// The longest beginning of a character.
const PARTIAL: usize = 3;

/// What is passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "whether binary data passes without being masked is for the caller to say"]
pub enum Verdict {
    Text,
    /// It is not text: replacing bytes of it would break it, and what it is packed in hides what it says. What has
    /// been replaced stays so; the caller goes on without the masker, or not at all.
    Binary,
}

/// Looks at everything. Once something was no text, [`Guard::look`] says so of all that follows: that stays to be
/// told once. [`has_text`] judges each piece by itself.
#[derive(Debug)]
pub(crate) struct Guard {
    binary: bool,
    off: bool,
    seen: usize,
    odd: usize,
    /// The beginning of a character whose rest has not come.
    partial: Vec<u8>,
}

impl Guard {
    /// What is on a terminal is shown as text, whatever it is.
    pub fn new(kind: Kind) -> Self {
        Self {
            binary: false,
            off: kind == Kind::Terminal,
            seen: 0,
            odd: 0,
            partial: Vec::new(),
        }
    }

    pub fn look(&mut self, mut input: &[u8]) -> Verdict {
        if self.off {
            return Verdict::Text;
        }
        while !self.binary && !input.is_empty() {
            let part = input.len().min(WINDOW - self.seen);
            let (now, later) = input.split_at_checked(part).unwrap_or((input, &[]));
            self.part(now);
            input = later;
        }
        match self.binary {
            true => Verdict::Binary,
            false => Verdict::Text,
        }
    }

    fn part(&mut self, part: &[u8]) {
        let odd = odd(part);
        self.binary = odd > 0 && memchr::memchr(0, part).is_some();
        self.odd += odd;
        if !part.is_ascii() || !self.partial.is_empty() {
            self.characters(part);
        }
        self.seen += part.len();
        if self.seen >= WINDOW {
            self.binary |= self.odd * ONE_IN > self.seen;
            (self.seen, self.odd) = (0, 0);
        }
    }

    /// Counts what is no character of UTF-8.
    fn characters(&mut self, part: &[u8]) {
        let joined;
        let mut rest = part;
        if !self.partial.is_empty() {
            joined = [std::mem::take(&mut self.partial).as_slice(), part].concat();
            rest = &joined;
        }
        while let Err(error) = std::str::from_utf8(rest) {
            let behind = rest.get(error.valid_up_to()..).unwrap_or_default();
            match error.error_len() {
                Some(odd) => {
                    self.odd += odd;
                    rest = behind.get(odd..).unwrap_or_default();
                }
                None => {
                    let partial = behind.len().min(PARTIAL);
                    self.partial = behind.get(..partial).unwrap_or_default().to_vec();
                    break;
                }
            }
        }
    }
}

/// Is a part of this text, whatever came before it, and in whatever it is encoded? That is for the record, which has
/// too much rather than too little: text with NULs between its words or its letters (UTF-16, UTF-32), with one or two
/// other bytes behind each letter, in 8 bits for each character, cut into the shortest pieces, or a few lines among noise.
/// Not found is UTF-16 in which high bytes are control characters and more than a third of the low ones are beyond ASCII
/// (Amharic, mostly).
pub(crate) fn has_text(mut piece: &[u8]) -> bool {
    if piece.len() < SHORT {
        return piece.iter().any(|c| *c >= b' ' && *c != 0x7F);
    }
    while !piece.is_empty() {
        let (window, later) = cut(piece, WINDOW);
        if !is_noise(window) && is_text(window) {
            return true;
        }
        piece = later;
    }
    false
}

/// What is left over is judged with what stands before it.
fn cut(piece: &[u8], size: usize) -> (&[u8], &[u8]) {
    let more = piece.len() >= 2 * size;
    piece
        .split_at_checked(if more { size } else { piece.len() })
        .unwrap_or((piece, &[]))
}

fn is_text(mut window: &[u8]) -> bool {
    let mut counts = Counts::default();
    while !window.is_empty() {
        let (part, later) = cut(window, PART);
        let (lanes, run) = (Lane::both(part), counts.add(part));
        counts.bytes += lanes.iter().map(|lane| lane.bytes).sum::<usize>();
        if run || lanes.iter().any(Lane::is_text) {
            return true;
        }
        window = later;
    }
    counts.is_text()
}

/// Whether [`is_text`] would say no, where half of its counting is enough to know that: of what is packed or encrypted.
fn is_noise(mut window: &[u8]) -> bool {
    let (all, mut high) = (window.len(), 0);
    while !window.is_empty() {
        let (part, later) = cut(window, PART);
        let blocks = part.as_chunks::<BLOCK>().0;
        if blocks.iter().any(is_shown_whole) || !Lane::are_odd(blocks, part.len()) {
            return false;
        }
        high += blocks.iter().map(count_high).sum::<usize>();
        window = later;
    }
    // What is not NUL is at most all, and shown is at most the rest of that: too little for fields and for letters.
    3 * high > all
}

fn is_shown_whole(block: &[u8; BLOCK]) -> bool {
    let first = block.first_chunk().map_or(0, |c| u64::from_ne_bytes(*c));
    // A word at once, as of noise it is enough.
    first & 0x8080_8080_8080_8080 == 0 && block.iter().all(|c| is_shown(*c))
}

fn is_shown(c: u8) -> bool {
    (c.wrapping_sub(b' ') < 0x5F) | matches!(c, b'\t' | b'\n' | b'\r')
}

fn count_high(block: &[u8; BLOCK]) -> usize {
    // In a byte they fit.
    usize::from(block.iter().map(|c| c >> 7).sum::<u8>())
}

/// What a window has.
#[derive(Debug, Default)]
struct Counts {
    /// But for NULs.
    bytes: usize,
    /// ASCII that is shown, or is a space of some kind.
    shown: usize,
    /// Beyond ASCII.
    high: usize,
}

impl Counts {
    /// Counts another part. Has it a block of nothing but what is shown? Twice as much in a row has one, wherever it
    /// begins.
    fn add(&mut self, part: &[u8]) -> bool {
        // Of a block they fit into a byte.
        let shown = |block: &[u8]| block.iter().map(|c| u8::from(is_shown(*c))).sum::<u8>();
        let high = |block: &[u8]| block.iter().map(|c| c >> 7).sum::<u8>();
        let (blocks, rest) = part.as_chunks::<BLOCK>();
        let mut run = false;
        self.shown += usize::from(shown(rest));
        self.high += usize::from(high(rest));
        for block in blocks {
            let shown = usize::from(shown(block));
            self.shown += shown;
            self.high += usize::from(high(block));
            run |= shown == BLOCK;
        }
        run
    }

    fn is_text(&self) -> bool {
        // Between short fields may stand many that are not shown.
        let fields = 3 * self.shown >= 2 * self.bytes;
        // Packed data, pictures and code have bytes beyond ASCII; letters in 16 bits may have control characters instead.
        let letters = 6 * self.high < self.bytes && 8 * self.shown >= self.bytes;
        self.bytes > 0 && (fields || letters)
    }
}

/// Every second byte.
#[derive(Debug, Default)]
struct Lane {
    /// But for NULs.
    bytes: usize,
    odd: usize,
}

impl Lane {
    fn both(part: &[u8]) -> [Self; 2] {
        let mut lanes = [Self::default(), Self::default()];
        for rows in part.chunks(BLOCK * ROWS) {
            // Counted column by column, without branches, and in bytes: the processor takes a row at a time.
            let (mut bytes, mut odds) = ([0_u8; BLOCK], [0_u8; BLOCK]);
            let mut add = |row: &[u8; BLOCK]| {
                for ((bytes, odds), c) in bytes.iter_mut().zip(&mut odds).zip(row) {
                    *bytes += u8::from(*c != 0);
                    *odds += u8::from(is_odd(*c) & (*c != 0));
                }
            };
            let (whole, rest) = rows.as_chunks();
            whole.iter().for_each(&mut add);
            let mut last = [0; BLOCK];
            last.iter_mut().zip(rest).for_each(|(to, c)| *to = *c);
            add(&last);
            let columns = bytes.as_chunks::<2>().0.iter().zip(odds.as_chunks::<2>().0);
            for (bytes, odds) in columns {
                for (lane, (bytes, odd)) in lanes.iter_mut().zip(bytes.iter().zip(odds)) {
                    lane.bytes += usize::from(*bytes);
                    lane.odd += usize::from(*odd);
                }
            }
        }
        lanes
    }

    fn is_text(&self) -> bool {
        self.bytes > 0 && self.odd * ONE_IN <= self.bytes
    }

    /// Is neither of them text, however few of `len` bytes are NULs? Counted until that is known.
    fn are_odd(blocks: &[[u8; BLOCK]], len: usize) -> bool {
        let (most, mut odds) = (len.div_ceil(2), [0; 2]);
        blocks.chunks(AT_ONCE).any(|rows| {
            let mut columns = [0_u8; BLOCK];
            for row in rows {
                for (odds, c) in columns.iter_mut().zip(row) {
                    *odds += u8::from(is_odd(*c) & (*c != 0));
                }
            }
            let columns = columns.as_chunks::<2>().0;
            let sums = columns.iter().fold([0_u16; 2], |[a, b], [x, y]| {
                [a + u16::from(*x), b + u16::from(*y)]
            });
            for (odds, sum) in odds.iter_mut().zip(sums) {
                *odds += usize::from(sum);
            }
            odds.iter().all(|odd| odd * ONE_IN > most)
        })
    }
}

fn odd(part: &[u8]) -> usize {
    let (blocks, rest) = part.as_chunks::<BLOCK>();
    // Counted in bytes, the processor does many at a time.
    let count = |block: &[u8]| block.iter().map(|c| u8::from(is_odd(*c))).sum::<u8>();
    let blocks = blocks.iter().map(|block| usize::from(count(block)));
    blocks.sum::<usize>() + usize::from(count(rest))
}

/// A control character that text has no use for.
pub(super) fn is_odd(c: u8) -> bool {
    // Without a branch: 0x07 to 0x0D have a use.
    ((c < 0x20) & (c.wrapping_sub(0x07) > 6) & (c != 0x1B)) | (c == 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_characters_that_are_not_shown_is_text() {
        let fix = "8=FIX.4.4\x0135=D\x0149=ME\x0156=YOU\x0111=1\x0155=EUR\x01".repeat(40);
        assert!(has_text(fix.as_bytes()));
        assert!(has_text(&fix.as_bytes()[..100]));
        let table = "a\x0112\x01\\N\x01xy\n".repeat(500);
        assert!(has_text(table.as_bytes()));
        let mut c = 1_u64;
        let mut noise = || {
            c = c.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            c.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
        for piece in [8192, 32_768] {
            let text = noise.chunks_exact(piece).filter(|p| has_text(p)).count();
            assert_eq!(text, 0, "{piece}");
        }
    }

    /// Where the letters are control characters in one byte or the other, and what stands between is none of the text.
    #[test]
    fn text_of_any_script_in_16_and_32_bits_is_text() {
        let names = "Иванов Пётр Сергеевич\r\nПетрова Анна Ильинична\r\nКИРИЛЛОВ ИГОРЬ\r\n";
        let table = "Фамилия;Имя;Отчество;Паспорт\r\nКУЗНЕЦОВ;ИВАН;ПЕТРОВИЧ;4509 123456\r\n";
        for text in [
            names,
            table,
            "ПАРОЛЬ АДМИНИСТРАТОРА ИЗМЕНЁН\r\n",
            "สวัสดีครับ รหัสผ่านของผู้ดูแลระบบถูกเปลี่ยนแล้ว\r\n",
            "ສະບາຍດີ ລະຫັດຜ່ານ\r\n",
            "ሰላም የይለፍ ቃል ተቀይሯል\r\n",
            "မင်္ဂလာပါ စကားဝှက်\r\n",
        ] {
            let all = text.repeat(200);
            let units = || all.encode_utf16();
            let strewn = "root:x:0:0:root:/root:/bin/bash\n".repeat(100);
            let encoded: [Vec<u8>; 4] = [
                units().flat_map(u16::to_le_bytes).collect(),
                units().flat_map(u16::to_be_bytes).collect(),
                all.chars()
                    .flat_map(|c| u32::from(c).to_le_bytes())
                    .collect(),
                strewn.bytes().flat_map(|c| [c, 1, 1]).collect(),
            ];
            for (encoded, n) in encoded.iter().zip(1..) {
                for piece in [64, 100, 256, 4096, 32_768] {
                    for part in encoded.chunks_exact(piece) {
                        assert!(has_text(part), "{text} in form {n} by {piece}: {part:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn text_of_three_kibibytes_among_noise_is_found() {
        let text = "Съешь же ещё этих мягких французских булок, да выпей чаю\n".repeat(60);
        for seed in 0..40_u16 {
            let mut noise = super::super::tests::noise(seed.into(), 32 << 10);
            assert!(!has_text(&noise), "{seed}");
            let at = 9000 + 101 * usize::from(seed);
            noise[at..at + 3000].copy_from_slice(&text.as_bytes()[..3000]);
            assert!(has_text(&noise), "{seed}");
        }
    }

    /// What is known sooner is what is known by counting all of it.
    #[test]
    fn noise_is_what_is_no_text_however_it_is_counted() {
        let (mut text, mut noise, mut neither) = (0, 0, 0);
        for seed in 0..6_000_u64 {
            let random = super::super::tests::noise(seed, 20_000);
            let (kind, share) = (seed % 6, (seed / 6 % 100) as u8);
            let mut at = random.chunks(2);
            let mut next = || at.next().map_or((0, 0), |c| (c[0], c[1] % 100));
            let len = 64 + usize::from(next().0) * usize::from(next().1).min(37);
            let mixed = (0..len).map(|_| match (kind, next()) {
                (0, (c, at)) if at >= share => c & 0x7F,
                (1, (_, at)) if at >= share => b'x',
                (2, (_, at)) if at >= share => 0,
                (3, (c, at)) if at >= share => c % 32,
                (4, (c, at)) if at >= share => c | 0x80,
                (_, (c, _)) => c,
            });
            let mut window: Vec<u8> = mixed.collect();
            if seed % 5 == 0 {
                let run = usize::from(next().0).min(len / 2);
                window[len - run..].fill(b'a');
            }
            let by_counting = is_text(&window);
            assert!(!(by_counting && is_noise(&window)), "{seed}: {window:?}");
            text += usize::from(by_counting);
            noise += usize::from(is_noise(&window));
            neither += usize::from(!by_counting && !is_noise(&window));
        }
        assert!(
            text > 500 && noise > 500 && neither > 100,
            "{text} {noise} {neither}"
        );
    }
}
