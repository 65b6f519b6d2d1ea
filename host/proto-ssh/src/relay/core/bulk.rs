//! Output that is not text: it is recorded up to a limit, and behind that it is counted and hashed.

use aws_lc_rs::digest::{Context, SHA256};

use super::tap::Stream;
use crate::mask::{Guard, Kind, Verdict};

/// What of a channel's output is no text, and how much of it is on record.
#[derive(Default)]
pub(super) struct Bulk {
    limit: u64,
    output: bool,
    errors: bool,
    recorded: u64,
    /// Of output and errors, where no tap tells whether they are text.
    guards: Option<Box<[Guard; 2]>>,
    /// From where on nothing is recorded.
    rest: Option<(Context, u64)>,
}

impl Bulk {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// From here on this stream is not text.
    pub fn begins(&mut self, stream: Stream) {
        match stream {
            Stream::Output => self.output = true,
            Stream::Errors => self.errors = true,
            Stream::Input => {}
        }
    }

    /// Nobody masks it, so that nobody else looks whether it is text. Not for terminals, where all is shown as text.
    pub fn look(&mut self, stream: Stream, data: &[u8]) {
        let new = || Box::new([Guard::new(Kind::Pipe), Guard::new(Kind::Pipe)]);
        let [output, errors] = &mut **self.guards.get_or_insert_with(new);
        let guard = match stream {
            Stream::Output => output,
            Stream::Errors => errors,
            Stream::Input => return,
        };
        if guard.look(data) == Verdict::Binary {
            self.begins(stream);
        }
    }

    /// Is this data of the stream to be recorded? What is not is counted.
    pub fn records(&mut self, stream: Stream, data: &[u8]) -> bool {
        let bulk = match stream {
            Stream::Output => self.output,
            Stream::Errors => self.errors,
            Stream::Input => false,
        };
        if !bulk {
            return true;
        }
        let more = self.recorded.saturating_add(data.len() as u64);
        if self.rest.is_none() && more <= self.limit {
            self.recorded = more;
            return true;
        }
        let (digest, bytes) = self.rest.get_or_insert_with(|| (Context::new(&SHA256), 0));
        digest.update(data);
        *bytes += data.len() as u64;
        false
    }

    /// For the record: what is missing there.
    pub fn note(&mut self) -> Option<String> {
        let (digest, bytes) = self.rest.take()?;
        let hash = hex::encode(digest.finish());
        Some(format!(
            "output that is not text: the first {} bytes of it are recorded, {bytes} behind them are not, sha256 {hash}",
            self.recorded
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_recorded_whole_and_the_rest_up_to_a_limit() {
        let mut bulk = Bulk::new(5);
        assert!(bulk.records(Stream::Output, &[b'x'; 100]));
        bulk.begins(Stream::Output);
        assert!(bulk.records(Stream::Output, b"\0abc"));
        assert!(!bulk.records(Stream::Output, b"de"));
        assert!(!bulk.records(Stream::Output, b"f"), "no gaps");
        assert!(bulk.records(Stream::Errors, &[b'x'; 100]));
        let hash = hex::encode(aws_lc_rs::digest::digest(&SHA256, b"def"));
        let note = bulk.note().unwrap();
        assert!(
            note.contains("first 4 bytes") && note.contains("3 behind") && note.ends_with(&hash)
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
        assert!(!passes(Stream::Output, b"nor is this"));
        assert!(bulk.note().unwrap().contains("22 behind"));
    }
}
