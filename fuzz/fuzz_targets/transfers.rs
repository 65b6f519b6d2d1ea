//! The readers of file transfers (sftp, both ways of scp) between two peers who keep to nothing. However the bytes
//! are cut, the same must come out; every byte is accounted for; and what reaches the server was permitted, or needs
//! no permission.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use proto_ssh::scp::{Command, Scp};
use proto_ssh::sftp::Sftp;
use proto_ssh::transfer::{Effect, FileDone, Request, Verdict, Way};

enum Reader {
    Sftp(Sftp),
    Scp(Scp),
}

impl Reader {
    fn new(kind: u8) -> Self {
        let scp = |words: &[&str]| match Command::parse(words, true) {
            Some(command) => Self::Scp(Scp::new(command)),
            None => unreachable!("these are how scp is started"),
        };
        match kind % 4 {
            0 | 1 => Self::Sftp(Sftp::new()),
            2 => scp(&["scp", "-r", "-t", "/d"]),
            _ => scp(&["scp", "-r", "-f", "/d"]),
        }
    }

    fn push(&mut self, client: bool, bytes: Bytes, out: &mut Vec<Effect>) -> Result<(), String> {
        match (self, client) {
            (Self::Sftp(sftp), true) => sftp.client(bytes, out).map_err(|e| e.to_string()),
            (Self::Sftp(sftp), false) => sftp.server(bytes, out).map_err(|e| e.to_string()),
            (Self::Scp(scp), true) => scp.client(bytes, out).map_err(|e| e.to_string()),
            (Self::Scp(scp), false) => scp.server(bytes, out).map_err(|e| e.to_string()),
        }
    }

    fn answer(&mut self, ticket: u64, verdict: Verdict<'_>, out: &mut Vec<Effect>) {
        let known = match self {
            Self::Sftp(sftp) => sftp.answer(ticket, verdict, out).is_ok(),
            Self::Scp(scp) => scp.answer(ticket, verdict, out).is_ok(),
        };
        assert!(known, "a ticket that was asked about is not known");
    }

    fn end(&mut self, out: &mut Vec<Effect>) {
        match self {
            Self::Sftp(sftp) => sftp.end(out),
            Self::Scp(scp) => scp.end(out),
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    server: Vec<u8>,
    client: Vec<u8>,
    asked: Vec<Request>,
    permitted: Vec<Bytes>,
    done: Vec<FileDone>,
    answered: usize,
    from_client: usize,
    from_server: usize,
    error: Option<String>,
}

/// One request in three is refused, by its bytes.
fn permits(request: &Request) -> bool {
    request.raw.iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)) % 3 != 0
}

fn take(reader: &mut Reader, effects: Vec<Effect>, seen: &mut Seen) {
    for effect in effects {
        match effect {
            Effect::ToServer(bytes) => {
                seen.from_client += bytes.len();
                seen.server.extend_from_slice(&bytes);
            }
            Effect::ToClient(bytes) => {
                seen.from_server += bytes.len();
                seen.client.extend_from_slice(&bytes);
            }
            Effect::InjectServer(bytes) => seen.server.extend_from_slice(&bytes),
            Effect::InjectClient(bytes) => seen.client.extend_from_slice(&bytes),
            Effect::DropClient(n) => seen.from_client += n,
            Effect::DropServer(n) => seen.from_server += n,
            Effect::Answered { .. } => seen.answered += 1,
            Effect::Done(done) => seen.done.push(done),
            Effect::Ask(request) => {
                let verdict = if permits(&request) {
                    let to = match request.way {
                        Way::ToServer => (&mut seen.server, &mut seen.from_client),
                        Way::ToClient => (&mut seen.client, &mut seen.from_server),
                    };
                    to.0.extend_from_slice(&request.raw);
                    *to.1 += request.raw.len();
                    seen.permitted.push(request.raw.clone());
                    Verdict::Permit
                } else {
                    Verdict::Refuse("no")
                };
                let mut more = Vec::new();
                reader.answer(request.ticket, verdict, &mut more);
                seen.asked.push(request);
                take(reader, more, seen);
            }
        }
    }
}

/// `late`: what is asked is answered after each step, whatever came with it; else at once.
fn run(kind: u8, steps: &[(bool, Vec<u8>)], size: usize, late: bool) -> Seen {
    let mut reader = Reader::new(kind);
    let mut seen = Seen::default();
    for (client, bytes) in steps {
        let mut out = Vec::new();
        for chunk in bytes.chunks(size) {
            let result = reader.push(*client, Bytes::copy_from_slice(chunk), &mut out);
            if !late || result.is_err() {
                take(&mut reader, std::mem::take(&mut out), &mut seen);
            }
            if let Err(error) = result {
                seen.error = Some(error);
                return seen;
            }
        }
        take(&mut reader, out, &mut seen);
    }
    let mut out = Vec::new();
    reader.end(&mut out);
    take(&mut reader, out, &mut seen);
    seen
}

/// Steps of a session: packets with lengths that are right (of types, numbers and handles that meet each other), or
/// the bytes as they are.
fn steps(kind: u8, mut data: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut steps = Vec::new();
    if kind % 4 == 0 {
        steps.push((true, vec![0, 0, 0, 5, 1, 0, 0, 0, 3]));
        steps.push((false, vec![0, 0, 0, 5, 2, 0, 0, 0, 3]));
    }
    while let [head, len, rest @ ..] = data {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let step = match (kind % 4, head & 2, bytes) {
            (0, 0, [packet, id, fields @ ..]) => {
                let mut body = vec![*packet, 0, 0, 0, id % 4];
                body.extend_from_slice(fields);
                let mut whole = (body.len() as u32).to_be_bytes().to_vec();
                whole.extend_from_slice(&body);
                whole
            }
            _ => bytes.to_vec(),
        };
        steps.push((head & 1 == 0, step));
    }
    steps
}

/// Every packet that the server gets and that names a path was permitted, in these bytes.
fn only_what_was_permitted(seen: &Seen) {
    let mut permitted = seen.permitted.iter();
    let mut rest = &seen.server[..];
    while let Some((len, _)) = rest.split_first_chunk::<4>() {
        let len = 4 + u32::from_be_bytes(*len) as usize;
        let Some((packet, next)) = rest.split_at_checked(len) else {
            break;
        };
        // OPEN, LSTAT, SETSTAT, OPENDIR, REMOVE, MKDIR, RMDIR, STAT, RENAME, READLINK, SYMLINK.
        if matches!(packet[4], 3 | 7 | 9 | 11 | 13 | 14 | 15 | 17 | 18 | 19 | 20) {
            assert!(permitted.any(|raw| raw == packet), "{packet:?}");
        }
        rest = next;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let steps = steps(*kind, data);
    let whole = run(*kind, &steps, usize::MAX, true);
    let bytewise = run(*kind, &steps, 1, true);
    let prompt = run(*kind, &steps, 1, false);
    assert_eq!(whole.error, bytewise.error);
    if kind % 4 < 2 {
        for seen in [&whole, &bytewise, &prompt] {
            only_what_was_permitted(seen);
        }
    }
    if whole.error.is_some() {
        return;
    }
    assert_eq!(whole, bytewise);
    assert!(whole.answered <= whole.permitted.len());
    let sent = |client: bool| -> usize {
        let of = steps.iter().filter(|(side, _)| *side == client);
        of.map(|(_, bytes)| bytes.len()).sum()
    };
    // Nothing but the beginning of one packet or line is kept.
    assert!(whole.from_client <= sent(true) && whole.from_server <= sent(false));
});
