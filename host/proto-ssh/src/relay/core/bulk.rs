//! Output that is not text: of each stream it is recorded up to a limit. What is behind that is counted and hashed;
//! text between it is recorded all the same, and so is what comes in pieces of which it cannot be told.

use std::fmt::Write;

use super::sum::Sum;
use super::tap::Stream;
use crate::mask::{Guard, Kind, Verdict, has_text};

/// Of each stream so many places where something is missing are told one by one, and the others together.
const MAX_GAPS: usize = 8;

/// What of a channel's output is no text, and how much of it is on record.
#[derive(Default)]
pub(super) struct Bulk {
    limit: u64,
    output: Part,
    errors: Part,
}

/// Of one stream.
#[derive(Default)]
struct Part {
    /// Some of it was no text.
    begun: bool,
    guard: Option<Box<Guard>>,
    passed: u64,
    recorded: u64,
    full: bool,
    gaps: Vec<Gap>,
    /// The last one of them goes on with what is not recorded next.
    open: bool,
    /// Of what is in the last one, until it has its own.
    sum: Sum,
    /// Those beyond the most that are told one by one: how many are in it.
    others: u64,
    /// Nothing is masked from this byte on.
    unmasked: Option<u64>,
}

/// What is missing on record.
struct Gap {
    at: u64,
    bytes: u64,
    /// In hex, once nothing more belongs to it.
    sum: Option<String>,
}

impl Bulk {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    fn part(&mut self, stream: Stream) -> Option<&mut Part> {
        match stream {
            Stream::Output => Some(&mut self.output),
            Stream::Errors => Some(&mut self.errors),
            Stream::Input => None,
        }
    }

    /// Some of this stream is not text.
    pub fn begins(&mut self, stream: Stream) {
        if let Some(part) = self.part(stream) {
            part.begun = true;
        }
    }

    /// It is not masked from this byte on.
    pub fn is_unmasked(&mut self, stream: Stream, at: u64) {
        if let Some(part) = self.part(stream) {
            part.unmasked = Some(at);
        }
    }

    /// Nobody masks it, so that nobody else looks whether it is text. Not for terminals, where all is shown as text.
    pub fn look(&mut self, stream: Stream, data: &[u8]) {
        if let Some(part) = self.part(stream).filter(|part| !part.begun) {
            let guard = part
                .guard
                .get_or_insert_with(|| Box::new(Guard::new(Kind::Pipe)));
            part.begun = guard.look(data) == Verdict::Binary;
        }
    }

    /// Is this data of the stream to be recorded? What is not is counted.
    pub fn records(&mut self, stream: Stream, data: &[u8]) -> bool {
        let limit = self.limit;
        self.part(stream)
            .is_none_or(|part| part.records(data, limit))
    }

    /// For the record: what is missing there, and what was not masked.
    pub fn note(&mut self) -> Option<String> {
        let notes = [
            ("output", self.output.note()),
            ("errors", self.errors.note()),
        ];
        let notes = notes
            .into_iter()
            .filter_map(|(name, note)| Some(format!("{name} that is not text: {}", note?)));
        let notes: Vec<String> = notes.collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Part {
    fn records(&mut self, data: &[u8], limit: u64) -> bool {
        let (at, bytes) = (self.passed, data.len() as u64);
        self.passed = self.passed.saturating_add(bytes);
        if !self.begun {
            return true;
        }
        if has_text(data) {
            self.closes();
            return true;
        }
        let more = self.recorded.saturating_add(bytes);
        self.full |= more > limit;
        if !self.full {
            self.recorded = more;
            return true;
        }
        if !std::mem::replace(&mut self.open, true) {
            self.others += u64::from(self.gaps.len() >= MAX_GAPS);
            if self.gaps.len() <= MAX_GAPS {
                let (bytes, sum) = (0, None);
                self.gaps.push(Gap { at, bytes, sum });
            }
        }
        if let Some(gap) = self.gaps.last_mut() {
            gap.bytes = gap.bytes.saturating_add(bytes);
            self.sum.update(data);
        }
        false
    }

    /// What comes next is recorded: the last gap is whole, but the one of many.
    fn closes(&mut self) {
        let last = self.gaps.len() <= MAX_GAPS;
        if std::mem::take(&mut self.open)
            && last
            && let Some(gap) = self.gaps.last_mut()
        {
            gap.sum = Some(self.sum.take());
        }
    }

    fn note(&mut self) -> Option<String> {
        let gaps = std::mem::take(&mut self.gaps);
        let unmasked = self.unmasked.take();
        let unmasked = unmasked.map(|at| format!("not masked from byte {at} on"));
        if gaps.is_empty() {
            return unmasked;
        }
        let unmasked = unmasked.map_or_else(String::new, |said| format!("{said}, "));
        let mut note = format!(
            "{unmasked}the first {} bytes of it are recorded",
            self.recorded
        );
        for (gap, index) in gaps.into_iter().zip(1_usize..) {
            let sum = gap.sum.unwrap_or_else(|| self.sum.take());
            let (bytes, at) = (gap.bytes, gap.at);
            let written = match index > MAX_GAPS {
                false => write!(note, ", {bytes} from byte {at} on are not, blake3 {sum}"),
                true => write!(
                    note,
                    ", nor are {bytes} at {} places from byte {at} on, blake3 of all {sum}",
                    self.others
                ),
            };
            if written.is_err() {
                break;
            }
        }
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_masked_is_told() {
        let mut bulk = Bulk::new(100);
        bulk.begins(Stream::Output);
        bulk.is_unmasked(Stream::Output, 7);
        assert!(bulk.records(Stream::Output, &[1; 90]));
        assert_eq!(
            bulk.note().as_deref(),
            Some("output that is not text: not masked from byte 7 on")
        );
        bulk.is_unmasked(Stream::Output, 7);
        assert!(!bulk.records(Stream::Output, &[1; 90]));
        let note = bulk.note().unwrap();
        let said =
            "output that is not text: not masked from byte 7 on, the first 90 bytes of it are";
        assert!(note.starts_with(said), "{note}");
    }

    fn hash(data: &[u8]) -> String {
        blake3::hash(data).to_hex().to_string()
    }

    #[test]
    fn text_is_recorded_whole_and_the_rest_up_to_a_limit() {
        let mut bulk = Bulk::new(500);
        assert!(bulk.records(Stream::Output, &[b'x'; 1000]));
        bulk.begins(Stream::Output);
        assert!(bulk.records(Stream::Output, &[1; 400]));
        assert!(!bulk.records(Stream::Output, &[2; 101]));
        assert!(!bulk.records(Stream::Output, b"\0"), "full is full");
        assert!(bulk.records(Stream::Errors, &[b'x'; 1000]));
        let note = bulk.note().unwrap();
        let missing = [&[2_u8; 101][..], b"\0"].concat();
        assert!(
            note.contains("first 400 bytes")
                && note.contains(", 102 from byte 1400 on")
                && note.ends_with(&hash(&missing)),
            "{note}"
        );
        assert_eq!(bulk.note(), None);
    }

    #[test]
    fn without_a_tap_it_finds_out_by_itself() {
        let mut bulk = Bulk::new(5);
        let mut passes = |stream, data: &[u8]| {
            bulk.look(stream, data);
            bulk.records(stream, data)
        };
        assert!(passes(Stream::Output, "größe\n".as_bytes()));
        assert!(passes(Stream::Errors, &[b'x'; 10_000]));
        assert!(!passes(Stream::Output, &[0; 100]));
        assert!(passes(Stream::Errors, &[b'x'; 10_000]), "the other one is");
        assert!(!passes(Stream::Output, &[1, 0, 0xFF].repeat(50)));
        assert!(bulk.note().unwrap().contains("250 from byte 8"));
    }

    /// One NUL, or a whole archive, is no way to keep what is said behind it off the record.
    #[test]
    fn text_behind_what_is_none_is_recorded() {
        let noise: Vec<u8> = (0..32_768_u32)
            .map(|n| (n * 167).to_le_bytes()[0])
            .collect();
        let mut bulk = Bulk::new(100);
        bulk.begins(Stream::Output);
        for size in [1, 100, 10_000, 32_768] {
            assert!(!bulk.records(Stream::Output, &noise));
            assert!(bulk.records(Stream::Output, &vec![b'x'; size]), "{size}");
        }
        // A window of it in a piece is enough, and a NUL here and there no way around.
        let mut mixed = noise.clone();
        mixed[16_384..24_576].fill(b'x');
        assert!(bulk.records(Stream::Output, &mixed));
        let mut text = vec![b'x'; 8192];
        text.iter_mut().step_by(100).for_each(|c| *c = 0);
        assert!(bulk.records(Stream::Output, &text));
        // Cut in the middle of a character.
        for part in "größe ".repeat(30).as_bytes().chunks(71) {
            assert!(bulk.records(Stream::Output, part));
        }
        // The other stream has its own limit, whole.
        bulk.begins(Stream::Errors);
        assert!(bulk.records(Stream::Errors, &[0; 100]));
        assert!(!bulk.records(Stream::Errors, &[0; 7]));
        let note = bulk.note().unwrap();
        assert_eq!(note.matches(&hash(&noise)).count(), 4, "{note}");
        assert!(
            note.contains("errors that is not text: the first 100 bytes"),
            "{note}"
        );
        assert!(note.contains(", 7 from byte 100 on"), "{note}");
    }

    /// Behind all that was not text: whatever can be read is on record, in whatever pieces and encoding.
    #[test]
    fn text_in_any_form_and_piece_is_recorded() {
        let line = "root:x:0:0:root:/root:/bin/bash größe Привет\n".repeat(40);
        let utf16 = |big: bool| -> Vec<u8> {
            let units = line.encode_utf16();
            let bytes = |u: u16| {
                if big {
                    u.to_be_bytes()
                } else {
                    u.to_le_bytes()
                }
            };
            units.flat_map(bytes).collect()
        };
        let koi8: Vec<u8> = (0xC0..=0xFF)
            .chain([b' ', b'\n'])
            .cycle()
            .take(4000)
            .collect();
        let strewn = |c: u8| line.bytes().flat_map(|b| [b, c]).collect::<Vec<_>>();
        let with_nuls = line.replace(':', "\0").into_bytes();
        let noise = crate::mask::tests::noise(5, 32 << 10);
        let passwd = "root:x:0:0:root:/root:/bin/bash\n".repeat(5);
        let among = [
            &noise[..20_000],
            &passwd.as_bytes()[..130],
            &noise[..12_000],
        ]
        .concat();
        for (name, text) in [
            ("nul", with_nuls),
            ("little", utf16(false)),
            ("big", utf16(true)),
            ("koi8", koi8),
            ("strewn", strewn(1)),
            ("strewn nul", strewn(0)),
        ] {
            for piece in [1, 2, 3, 7, 31, 63, 64, 65, 100, 1000, usize::MAX] {
                let mut bulk = Bulk::new(0);
                bulk.begins(Stream::Output);
                assert!(!bulk.records(Stream::Output, &noise));
                for part in text.chunks(piece.min(text.len())) {
                    let seen = part.iter().any(|c| *c > b' ');
                    assert!(
                        bulk.records(Stream::Output, part) || !seen,
                        "{name} by {piece}: {part:?}"
                    );
                }
            }
        }
        let mut bulk = Bulk::new(0);
        bulk.begins(Stream::Output);
        assert!(bulk.records(Stream::Output, &among));
    }

    /// Packed and encrypted data stays what it is: hardly a piece of it is taken for text, however much passes.
    #[test]
    fn noise_does_not_fill_the_record() {
        for size in [8 << 10, 32 << 10] {
            let mut bulk = Bulk::new(0);
            bulk.begins(Stream::Output);
            for seed in 0..50 {
                let noise = crate::mask::tests::noise(seed, size);
                assert!(!bulk.records(Stream::Output, &noise), "{seed} of {size}");
            }
        }
    }

    #[test]
    fn its_note_is_bounded() {
        let mut bulk = Bulk::new(0);
        bulk.begins(Stream::Output);
        for _ in 0..1000 {
            assert!(!bulk.records(Stream::Output, &[0; 100]));
            assert!(bulk.records(Stream::Output, b"text\n"));
        }
        let note = bulk.note().unwrap();
        assert_eq!(note.matches("blake3").count(), MAX_GAPS + 1);
        assert!(
            note.len() < 1500 && note.contains("nor are 99200 at 992 places"),
            "{note}"
        );
        assert!(note.ends_with(&hash(&vec![0; 99_200])), "{note}");
    }
}
