//! Output that is not text: of each stream it is recorded up to a limit. What is behind that is counted and hashed;
//! text between it is recorded all the same.

use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};

use super::tap::Stream;
use crate::mask::{Guard, Kind, Verdict};

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
    /// Those beyond the most that are told one by one: how many are in it.
    others: u64,
}

/// What is missing on record.
struct Gap {
    at: u64,
    bytes: u64,
    digest: Context,
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

    /// Nobody masks it, so that nobody else looks whether it is text. Not for terminals, where all is shown as text.
    pub fn look(&mut self, stream: Stream, data: &[u8]) {
        if let Some(part) = self.part(stream).filter(|part| !part.begun) {
            part.begun = part.guard().look(data) == Verdict::Binary;
        }
    }

    /// Is this data of the stream to be recorded? What is not is counted.
    pub fn records(&mut self, stream: Stream, data: &[u8]) -> bool {
        let limit = self.limit;
        self.part(stream)
            .is_none_or(|part| part.records(data, limit))
    }

    /// For the record: what is missing there.
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
    fn guard(&mut self) -> &mut Guard {
        self.guard
            .get_or_insert_with(|| Box::new(Guard::new(Kind::Pipe)))
    }

    fn records(&mut self, data: &[u8], limit: u64) -> bool {
        let (at, bytes) = (self.passed, data.len() as u64);
        self.passed = self.passed.saturating_add(bytes);
        if !self.begun {
            return true;
        }
        if self.guard().has_text(data) {
            self.open = false;
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
                let digest = Context::new(&SHA256);
                let bytes = 0;
                self.gaps.push(Gap { at, bytes, digest });
            }
        }
        if let Some(gap) = self.gaps.last_mut() {
            gap.digest.update(data);
            gap.bytes = gap.bytes.saturating_add(bytes);
        }
        false
    }

    fn note(&mut self) -> Option<String> {
        let gaps = std::mem::take(&mut self.gaps);
        if gaps.is_empty() {
            return None;
        }
        let mut note = format!("the first {} bytes of it are recorded", self.recorded);
        for (gap, index) in gaps.into_iter().zip(1_usize..) {
            let hash = hex::encode(gap.digest.finish());
            let (bytes, at) = (gap.bytes, gap.at);
            let written = match index > MAX_GAPS {
                false => write!(note, ", {bytes} from byte {at} on are not, sha256 {hash}"),
                true => write!(
                    note,
                    ", nor are {bytes} at {} places from byte {at} on, sha256 of all {hash}",
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

    fn hash(data: &[u8]) -> String {
        hex::encode(aws_lc_rs::digest::digest(&SHA256, data))
    }

    #[test]
    fn text_is_recorded_whole_and_the_rest_up_to_a_limit() {
        let mut bulk = Bulk::new(5);
        assert!(bulk.records(Stream::Output, &[b'x'; 100]));
        bulk.begins(Stream::Output);
        assert!(bulk.records(Stream::Output, b"\0abc"));
        assert!(!bulk.records(Stream::Output, b"d\0"));
        assert!(!bulk.records(Stream::Output, b"\0"), "full is full");
        assert!(bulk.records(Stream::Errors, &[b'x'; 100]));
        let note = bulk.note().unwrap();
        let expect = format!("2, not 3: {}", hash(b"d\0\0"));
        assert!(
            note.contains("first 4 bytes")
                && note.contains(", 3 from byte 104 on")
                && expect.ends_with(note.rsplit(' ').next().unwrap()),
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
        assert!(!passes(Stream::Output, b"\0is no text"));
        assert!(passes(Stream::Errors, &[b'x'; 10_000]), "the other one is");
        assert!(!passes(Stream::Output, b"nor\0is this"));
        assert!(bulk.note().unwrap().contains("22 from byte 8"));
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

    #[test]
    fn its_note_is_bounded() {
        let mut bulk = Bulk::new(0);
        bulk.begins(Stream::Output);
        for _ in 0..1000 {
            assert!(!bulk.records(Stream::Output, &[0; 100]));
            assert!(bulk.records(Stream::Output, b"text\n"));
        }
        let note = bulk.note().unwrap();
        assert_eq!(note.matches("sha256").count(), MAX_GAPS + 1);
        assert!(
            note.len() < 1500 && note.contains("nor are 99200 at 992 places"),
            "{note}"
        );
        assert!(note.ends_with(&hash(&vec![0; 99_200])), "{note}");
    }
}
