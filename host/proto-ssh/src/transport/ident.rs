//! The first line of each side: RFC 4253 section 4.2.

use bytes::{Buf, BytesMut};

/// A line with its end (RFC 4253 section 4.2).
pub const MAX_LINE: usize = 255;
/// Lines that a server may send before the one that counts.
pub const MAX_LINES_BEFORE: usize = 64;
/// Bytes of one such line. They are not limited by the RFC, and read by nobody.
pub const MAX_LINE_BEFORE: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    #[error("the peer's first line is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error(
        "the server says more than {MAX_LINES_BEFORE} lines, or one of more than {MAX_LINE_BEFORE} bytes, before the one that names it"
    )]
    TooMuchBefore,
    #[error("the peer does not speak SSH: its first line does not begin with SSH-")]
    NotSsh,
    #[error("the peer speaks another version of SSH than 2.0: {0:?}")]
    Version(String),
    #[error("the peer's first line holds a byte that is not printable ASCII")]
    Bytes,
    #[error(
        "our own name may hold only printable ASCII without blanks and minus signs, up to 64 bytes"
    )]
    Ours,
}

/// Reads up to the peer's line.
#[derive(Debug)]
pub(super) struct Reader {
    /// Only what we have connected to may say something first.
    from_server: bool,
    lines: usize,
    /// Bytes that were looked at and hold no end of a line.
    seen: usize,
}

impl Reader {
    pub(super) fn new(from_server: bool) -> Self {
        Self {
            from_server,
            lines: 0,
            seen: 0,
        }
    }

    /// The line without its end, once it is there.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Option<String>, IdentError> {
        loop {
            let fresh = input.get(self.seen..).unwrap_or_default();
            let Some(at) = fresh.iter().position(|b| *b == b'\n') else {
                self.seen = input.len();
                self.unfinished(input)?;
                return Ok(None);
            };
            let line = input.split_to(self.seen.saturating_add(at));
            input.advance(1);
            self.seen = 0;
            if line.starts_with(b"SSH-") {
                if line.len() >= MAX_LINE {
                    return Err(IdentError::TooLong);
                }
                return self
                    .ident(line.strip_suffix(b"\r").unwrap_or(&line))
                    .map(Some);
            }
            self.before(line.len())?;
        }
    }

    fn unfinished(&self, input: &[u8]) -> Result<(), IdentError> {
        let prefix = b"SSH-";
        let n = prefix.len().min(input.len());
        if input.get(..n) == prefix.get(..n) {
            if input.len() >= MAX_LINE {
                return Err(IdentError::TooLong);
            }
            return Ok(());
        }
        // A client that says something else is not waited for.
        if !self.from_server {
            return Err(IdentError::NotSsh);
        }
        if input.len() > MAX_LINE_BEFORE {
            return Err(IdentError::TooMuchBefore);
        }
        Ok(())
    }

    fn before(&mut self, len: usize) -> Result<(), IdentError> {
        if !self.from_server {
            return Err(IdentError::NotSsh);
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > MAX_LINES_BEFORE || len > MAX_LINE_BEFORE {
            return Err(IdentError::TooMuchBefore);
        }
        Ok(())
    }

    fn ident(&self, line: &[u8]) -> Result<String, IdentError> {
        if !line.iter().all(|b| (0x20..0x7f).contains(b)) {
            return Err(IdentError::Bytes);
        }
        let line = String::from_utf8_lossy(line).into_owned();
        // Section 5.1: a server that also knows version 1 calls itself 1.99.
        let fits =
            line.starts_with("SSH-2.0-") || (self.from_server && line.starts_with("SSH-1.99-"));
        if fits {
            Ok(line)
        } else {
            Err(IdentError::Version(line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from_server: bool, bytes: &[u8]) -> Result<Option<String>, IdentError> {
        let mut whole = BytesMut::from(bytes);
        let at_once = Reader::new(from_server).read(&mut whole);
        // In single bytes it comes to the same.
        let (mut reader, mut input) = (Reader::new(from_server), BytesMut::new());
        let mut slow = Ok(None);
        for b in bytes {
            input.extend_from_slice(&[*b]);
            slow = reader.read(&mut input);
            if slow != Ok(None) {
                break;
            }
        }
        assert_eq!(at_once.is_ok(), slow.is_ok(), "{at_once:?} {slow:?}");
        if at_once.is_ok() {
            assert_eq!(at_once, slow);
        }
        at_once
    }

    #[test]
    fn lines_that_name_a_peer() {
        let plain = Ok(Some("SSH-2.0-OpenSSH_9.2p1 Debian".to_owned()));
        assert_eq!(read(false, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), plain);
        assert_eq!(read(true, b"SSH-2.0-OpenSSH_9.2p1 Debian\n"), plain);
        assert_eq!(
            read(true, b"hello\r\n\r\nSSH-2.0-OpenSSH_9.2p1 Debian\n"),
            plain
        );
        assert_eq!(
            read(true, b"SSH-1.99-x\r\n"),
            Ok(Some("SSH-1.99-x".to_owned()))
        );
        assert_eq!(read(false, b"SSH-2.0-Open"), Ok(None));
        assert_eq!(read(true, b"SSX"), Ok(None));
        // What follows the line stays.
        let mut input = BytesMut::from(&b"SSH-2.0-x\r\n\0\0\0\x0c"[..]);
        Reader::new(false).read(&mut input).unwrap();
        assert_eq!(&input[..], b"\0\0\0\x0c");
    }

    #[test]
    fn what_does_not_name_a_peer_is_refused() {
        assert_eq!(read(false, b"GET / HTTP/1.1\r\n"), Err(IdentError::NotSsh));
        assert_eq!(read(false, b"\x16\x03\x01"), Err(IdentError::NotSsh));
        assert_eq!(
            read(false, b"hello\r\nSSH-2.0-x\r\n"),
            Err(IdentError::NotSsh)
        );
        assert!(matches!(
            read(false, b"SSH-1.99-x\r\n"),
            Err(IdentError::Version(_))
        ));
        assert!(matches!(
            read(true, b"SSH-1.5-x\r\n"),
            Err(IdentError::Version(_))
        ));
        assert_eq!(read(true, b"SSH-2.0-x\0y\r\n"), Err(IdentError::Bytes));
        assert_eq!(read(true, b"SSH-2.0-x\ry\n"), Err(IdentError::Bytes));
        assert_eq!(read(true, "SSH-2.0-é\n".as_bytes()), Err(IdentError::Bytes));
        let long = [b"SSH-2.0-".as_slice(), &[b'x'; 250]].concat();
        assert_eq!(read(true, &long), Err(IdentError::TooLong));
        assert_eq!(
            read(true, &b"\n".repeat(MAX_LINES_BEFORE + 1)),
            Err(IdentError::TooMuchBefore)
        );
        assert_eq!(
            read(true, &[b'x'; MAX_LINE_BEFORE + 1]),
            Err(IdentError::TooMuchBefore)
        );
    }

    #[test]
    fn a_line_may_have_255_bytes_with_its_end() {
        let fits = [b"SSH-2.0-".as_slice(), &[b'x'; MAX_LINE - 10], b"\r\n"].concat();
        assert_eq!(fits.len(), MAX_LINE);
        assert!(read(true, &fits).unwrap().is_some());
        let beyond = [b"SSH-2.0-".as_slice(), &[b'x'; MAX_LINE - 9], b"\r\n"].concat();
        assert_eq!(read(true, &beyond), Err(IdentError::TooLong));
    }
}
