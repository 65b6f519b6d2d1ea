//! What a host says in words beside the data of a channel: which signal ended a program, and why a connection was not
//! opened. Masks are for data; of this, only what is known to hold nothing of anybody's passes.

use std::borrow::Cow;

use pipeline::OutcomeKind;

use crate::action::printable;
use crate::wire::numbers::open_failure;
use crate::wire::{Put, Reader, Request, WireError};

/// The longest name of a signal.
const SIGNAL: usize = 32;

/// What servers say of their own, and what systems call errors.
const KNOWN: &[&str] = &[
    "",
    "Cannot assign requested address",
    "Connect failed",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Host is down",
    "Name or service not known",
    "Network is unreachable",
    "No address associated with hostname",
    "No route to host",
    "No such file or directory",
    "Permission denied",
    "Temporary failure in name resolution",
    "administratively prohibited",
    "open failed",
    "unknown channel type",
    "unknown error",
];

/// How a program ended, and what the client is told of it.
pub(super) struct Exit<'a> {
    pub kind: OutcomeKind,
    pub detail: String,
    /// The data of the request.
    pub told: Cow<'a, [u8]>,
}

pub(super) fn exit<'a>(request: &Request<'a>) -> Result<Exit<'a>, WireError> {
    let mut r = Reader::new(request.data);
    if request.name == b"exit-status" {
        let status = r.u32()?;
        let kind = match status {
            0 => OutcomeKind::Done,
            _ => OutcomeKind::Failed,
        };
        return Ok(Exit {
            kind,
            detail: format!("exit {status}"),
            told: told(request, status.to_be_bytes().to_vec()),
        });
    }
    // What comes behind is left out, and so may a server have done.
    let (name, core) = (r.string()?, r.bool().unwrap_or_default());
    let detail = String::from_utf8_lossy(name);
    let detail: String = detail.chars().take(64).collect();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"@._+-".contains(b);
    let is_name = (1..=SIGNAL).contains(&name.len()) && name.iter().all(plain);
    let name: &[u8] = if is_name { name } else { b"unknown" };
    let mut only = Vec::new();
    only.string(name).flag(core).string(b"").string(b"");
    Ok(Exit {
        kind: OutcomeKind::Failed,
        detail: format!("signal {}", printable(&detail)),
        told: told(request, only),
    })
}

/// The message goes on as it came where it holds nothing else.
fn told<'a>(request: &Request<'a>, only: Vec<u8>) -> Cow<'a, [u8]> {
    match only == request.data {
        true => request.data.into(),
        false => only.into(),
    }
}

/// Why a host has opened no channel, in words for the client.
pub(super) fn why(reason: u32, description: &[u8]) -> &[u8] {
    if KNOWN.iter().any(|known| known.as_bytes() == description) {
        return description;
    }
    match reason {
        open_failure::ADMINISTRATIVELY_PROHIBITED => b"the host does not permit it",
        open_failure::CONNECT_FAILED => b"the host could not connect",
        open_failure::UNKNOWN_CHANNEL_TYPE => b"the host does not know channels of this type",
        open_failure::RESOURCE_SHORTAGE => b"the host has no room for it",
        _ => b"the host refused it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(name: &[u8], message: &[u8], language: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        data.string(name)
            .flag(true)
            .string(message)
            .string(language);
        data
    }

    #[test]
    fn of_a_signal_nothing_passes_but_its_name() {
        let long = [b'A'; SIGNAL + 1];
        for (name, message, language, told) in [
            (&b"SEGV"[..], &b""[..], &b""[..], &b"SEGV"[..]),
            (b"SIG@openssh.com", b"", b"", b"SIG@openssh.com"),
            (b"TERM", b"AKIAIOSFODNN7EXAMPLE", b"", b"TERM"),
            (b"TERM", b"", b"AKIAIOSFODNN7EXAMPLE", b"TERM"),
            (b"a secret", b"", b"", b"unknown"),
            (b"\x1b[2J", b"x", b"", b"unknown"),
            (b"", b"", b"", b"unknown"),
            (&long, b"", b"", b"unknown"),
        ] {
            let data = signal(name, message, language);
            let request = Request {
                name: b"exit-signal",
                want_reply: false,
                data: &data,
            };
            let exit = exit(&request).unwrap();
            assert_eq!(exit.kind, OutcomeKind::Failed);
            assert_eq!(exit.told, signal(told, b"", b""), "{name:?}");
        }
    }

    #[test]
    fn an_exit_holds_nothing_else() {
        let told = |name, data: &[u8]| {
            let request = Request {
                name,
                want_reply: false,
                data,
            };
            exit(&request).map(|exit| exit.told.into_owned())
        };
        let status = [0, 0, 0, 1];
        assert_eq!(told(b"exit-status", &status).unwrap(), status);
        assert_eq!(told(b"exit-status", b"\0\0\0\x01secret").unwrap(), status);
        let signal = signal(b"TERM", b"", b"");
        let more = [&signal[..], b"secret"].concat();
        assert_eq!(told(b"exit-signal", &more).unwrap(), signal);
        assert!(told(b"exit-signal", b"").is_err());
    }

    #[test]
    fn reasons_are_those_that_are_known() {
        assert_eq!(why(2, b"Connection refused"), b"Connection refused");
        assert_eq!(why(2, b""), b"");
        for text in ["Connection refused ", "password=hunter2", "\u{1b}[2J"] {
            assert_eq!(why(2, text.as_bytes()), b"the host could not connect");
            assert_eq!(why(77, text.as_bytes()), b"the host refused it");
        }
    }
}
