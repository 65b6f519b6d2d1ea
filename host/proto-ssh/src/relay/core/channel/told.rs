//! What is told of a channel's data at its end: what went over where nobody reads it, and what was changed of what is no
//! text.

use aws_lc_rs::digest::{Context, SHA256};

use super::super::Side;
use super::super::tap::Stream;

/// What each side has said, of a channel whose data nobody reads.
pub(super) struct Weighed {
    client: Weight,
    upstream: Weight,
}

struct Weight {
    bytes: u64,
    digest: Context,
}

impl Weighed {
    pub fn new() -> Self {
        let nothing = || Weight {
            bytes: 0,
            digest: Context::new(&SHA256),
        };
        Self {
            client: nothing(),
            upstream: nothing(),
        }
    }

    pub fn add(&mut self, from: Side, data: &[u8]) {
        let weight = match from {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        weight.bytes = weight.bytes.saturating_add(data.len() as u64);
        weight.digest.update(data);
    }

    /// For the record.
    pub fn note(self) -> String {
        let (client, upstream) = (self.client.note(), self.upstream.note());
        format!("from the client {client}; from the host {upstream}")
    }
}

impl Weight {
    fn note(self) -> String {
        let hash = hex::encode(self.digest.finish());
        format!("{} bytes, sha256 {hash}", self.bytes)
    }
}

/// Bytes of what is no text that were replaced.
#[derive(Default)]
pub(super) struct Masked {
    output: u64,
    errors: u64,
    told: bool,
}

impl Masked {
    pub fn add(&mut self, stream: Stream, bytes: u64) {
        let count = match stream {
            Stream::Input => return,
            Stream::Output => &mut self.output,
            Stream::Errors => &mut self.errors,
        };
        *count = count.saturating_add(bytes);
    }

    /// For whoever gets them, once.
    pub fn tell(&mut self) -> Option<String> {
        let bytes = self.output.saturating_add(self.errors);
        if bytes == 0 || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let bytes = count(bytes);
        Some(format!(
            "weir: {bytes} of what the command wrote, which is no text, looked like secrets and came as *; \
             fetch files with scp, sftp or rsync\n"
        ))
    }

    /// For the record.
    pub fn note(&self) -> Option<String> {
        let notes = [("output", self.output), ("errors", self.errors)];
        let notes = notes.into_iter().filter(|(_, bytes)| *bytes > 0);
        let notes: Vec<String> = notes
            .map(|(name, bytes)| format!("{name} that is not text: {} masked", count(bytes)))
            .collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

fn count(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_own_sum() {
        let mut weighed = Weighed::new();
        for (from, data) in [
            (Side::Client, &b"ab"[..]),
            (Side::Upstream, b"x"),
            (Side::Client, b"c"),
        ] {
            weighed.add(from, data);
        }
        assert_eq!(
            weighed.note(),
            "from the client 3 bytes, sha256 \
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad; from the host 1 bytes, sha256 \
             2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        );
    }

    #[test]
    fn what_was_masked_is_told_once() {
        let mut masked = Masked::default();
        assert_eq!((masked.tell(), masked.note()), (None, None));
        masked.add(Stream::Output, 1);
        masked.add(Stream::Errors, 40);
        masked.add(Stream::Input, 5);
        let told = masked.tell().unwrap();
        assert!(told.starts_with("weir: 41 bytes of what"), "{told}");
        assert_eq!(masked.tell(), None);
        assert_eq!(
            masked.note().as_deref(),
            Some(
                "output that is not text: 1 byte masked; errors that is not text: 40 bytes masked"
            )
        );
    }
}
