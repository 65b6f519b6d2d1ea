//! What a log says to a witness, and what it makes of the answer (C2SP tlog-witness): the bodies of
//! `add-checkpoint`. Whoever sends them brings the HTTP.

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::note::{
    Limits, MAX_NOTE, MAX_SIGNATURES, Note, NoteError, Signature, Verifier, parse_signatures,
    verify,
};
use crate::proof::MAX_PROOF;
use crate::text::{decimal, encode64, has_control, hash64};

/// Below a witness's submission prefix, by POST.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// The longest answer that is read, in bytes: a few signatures.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The longest request that a witness reads, in bytes.
pub const MAX_REQUEST: usize = MAX_NOTE + 4096;

/// The media type of a 409 that says how far the witness is.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

const OLD: &str = "old ";

#[derive(Debug, Error)]
pub enum WitnessError {
    #[error("a proof of {0} hashes; {MAX_PROOF} are allowed")]
    TooManyHashes(usize),
    #[error("no request: {0} is missing or not as specified")]
    Form(&'static str),
    #[error(
        "the tree that the witness has seen, of {old} leaves, is larger than the new one, of {new}"
    )]
    Shrunk { old: u64, new: u64 },
    #[error("a body of {0} bytes is longer than allowed")]
    TooLong(usize),
    #[error("the witness's answer is not as specified")]
    Answer,
    #[error("the witness signed with no key that is known")]
    Unknown,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The body of `add-checkpoint`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// How large the tree was that the witness saw last; 0 where that is not known.
    pub old: u64,
    /// That the new tree goes on from it; empty where `old` is 0.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Request {
    pub fn encode(&self) -> Result<String, WitnessError> {
        self.check()?;
        let mut body = format!("{OLD}{}\n", self.old);
        for hash in &self.proof {
            body.push_str(&encode64(hash));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.checkpoint);
        Ok(body)
    }

    /// As a witness reads it. That it is signed, and that the proof is right, is still to be checked.
    pub fn parse(body: &[u8]) -> Result<Self, WitnessError> {
        let form = WitnessError::Form;
        if body.len() > MAX_REQUEST {
            return Err(WitnessError::TooLong(body.len()));
        }
        let body = std::str::from_utf8(body).map_err(|_| form("UTF-8"))?;
        let (head, checkpoint) = body.split_once("\n\n").ok_or(form("the empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix(OLD));
        let old = old.and_then(decimal).ok_or(form("the old size"))?;
        let mut proof = Vec::new();
        for line in lines.take(MAX_PROOF + 1) {
            proof.push(hash64(line).ok_or(form("a hash"))?);
        }
        let request = Self {
            old,
            proof,
            checkpoint: checkpoint.to_owned(),
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), WitnessError> {
        if self.proof.len() > MAX_PROOF {
            return Err(WitnessError::TooManyHashes(self.proof.len()));
        }
        let note = Note::parse(self.checkpoint.as_bytes(), Limits::default())?;
        let new = Checkpoint::parse(note.text())?.size;
        if self.old > new {
            return Err(WitnessError::Shrunk { old: self.old, new });
        }
        // Everything goes on from nothing and from itself, and nothing else does without a proof.
        match self.proof.is_empty() == (self.old == 0 || self.old == new) {
            true => Ok(()),
            false => Err(WitnessError::Form("the proof")),
        }
    }
}

/// What a witness answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It signed: these are right, and by keys that are known.
    Cosigned(Vec<Signature>),
    /// The last tree that it saw has this size, not the one that was named.
    Size(u64),
    /// It has seen another tree of the same size: one of the two is not the log's.
    Conflict,
    /// 404: it does not know the log.
    UnknownLog,
    /// 403: it knows none of the keys that signed the checkpoint.
    NotSigned,
    /// 422: the proof is wrong.
    WrongProof,
    /// Anything else: try again later, or have a person look.
    Refused(u16),
}

/// Reads the answer to a request. `checkpoint` is what was sent; `witness` are the keys that this
/// witness can have.
pub fn read_answer(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
    checkpoint: &Note,
    witness: &[&dyn Verifier],
) -> Result<Answer, WitnessError> {
    match status {
        200 => cosignatures(body, checkpoint, witness).map(Answer::Cosigned),
        409 if content_type.is_some_and(is_size) => {
            let size = (body.len() <= MAX_ANSWER).then_some(body);
            let size = size.and_then(|body| std::str::from_utf8(body).ok());
            let size = size.and_then(|body| decimal(body.strip_suffix('\n')?));
            size.map(Answer::Size).ok_or(WitnessError::Answer)
        }
        409 => Ok(Answer::Conflict),
        404 => Ok(Answer::UnknownLog),
        403 => Ok(Answer::NotSigned),
        422 => Ok(Answer::WrongProof),
        other => Ok(Answer::Refused(other)),
    }
}

/// Parameters after the type mean nothing here.
fn is_size(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case(SIZE_TYPE)
}

fn cosignatures(
    body: &[u8],
    checkpoint: &Note,
    witness: &[&dyn Verifier],
) -> Result<Vec<Signature>, WitnessError> {
    if body.len() > MAX_ANSWER {
        return Err(WitnessError::TooLong(body.len()));
    }
    let body = std::str::from_utf8(body).map_err(|_| WitnessError::Answer)?;
    if has_control(body) {
        return Err(WitnessError::Answer);
    }
    let signatures = parse_signatures(body, MAX_SIGNATURES)?;
    let verified = verify(checkpoint.text().as_bytes(), &signatures, witness)?;
    let right = |at| verified.iter().any(|v| v.signature == at);
    let signatures = signatures.into_iter().enumerate();
    let known: Vec<Signature> = signatures
        .filter(|(at, _)| right(*at))
        .map(|(_, signature)| signature)
        .collect();
    match known.is_empty() {
        true => Err(WitnessError::Unknown),
        false => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{open_checkpoint, sign_checkpoint};
    use crate::keys::{CosignatureSigner, Ed25519Signer};
    use crate::proof::{check_consistency, consistency_proof};
    use crate::testing::{Random, grow};

    const ORIGIN: &str = "example.com/log";

    fn log() -> Ed25519Signer {
        Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap()
    }

    fn witness(n: u8) -> CosignatureSigner {
        CosignatureSigner::from_seed(&format!("w{n}.example"), &[n; 32], 1_700_000_000).unwrap()
    }

    fn signed(size: u64) -> String {
        let checkpoint = Checkpoint {
            origin: ORIGIN.into(),
            size,
            root: grow(size).0.root(),
            extensions: Vec::new(),
        };
        sign_checkpoint(&checkpoint, &log()).unwrap()
    }

    fn request(old: u64, size: u64) -> Request {
        let (tree, tiles) = grow(size);
        let old_root = grow(old).0.root();
        Request {
            old,
            proof: consistency_proof(old, &old_root, size, &tree.root(), &tiles).unwrap(),
            checkpoint: signed(size),
        }
    }

    fn note(size: u64) -> Note {
        Note::parse(signed(size).as_bytes(), Limits::default()).unwrap()
    }

    /// The lines that a witness answers with.
    fn lines(note: &Note, by: &[&CosignatureSigner]) -> String {
        let mut note = Note::new(note.text()).unwrap();
        for witness in by {
            note.sign(*witness).unwrap();
        }
        let text = format!("{}\n", note.text());
        note.encode().strip_prefix(&text).unwrap().to_owned()
    }

    #[test]
    fn a_request_is_what_a_witness_can_check() {
        let sent = request(100, 300);
        let body = sent.encode().unwrap();
        assert!(body.starts_with(&format!("old 100\n{}\n", encode64(&sent.proof[0]))));
        assert!(body.ends_with(&format!("\n\n{}", sent.checkpoint)));
        let read = Request::parse(body.as_bytes()).unwrap();
        assert_eq!(read, sent);
        let log = log().verifier();
        let opened = open_checkpoint(read.checkpoint.as_bytes(), ORIGIN, &[&log], &[]).unwrap();
        let (old_root, new) = (grow(100).0.root(), opened.checkpoint);
        check_consistency(read.old, &old_root, new.size, &new.root, &read.proof).unwrap();
        for (old, size) in [(0, 0), (0, 300), (300, 300)] {
            let sent = request(old, size);
            let body = sent.encode().unwrap();
            assert!(body.starts_with(&format!("old {old}\n\n{ORIGIN}\n{size}\n")));
            assert_eq!(Request::parse(body.as_bytes()).unwrap(), sent);
        }
    }

    #[test]
    fn what_is_no_request() {
        let good = request(100, 300);
        for change in [
            |r: &mut Request| r.old = 0,
            |r: &mut Request| r.old = 300,
            |r: &mut Request| r.old = 301,
            |r: &mut Request| r.proof = Vec::new(),
            |r: &mut Request| r.proof = vec![[0; 32]; MAX_PROOF + 1],
            |r: &mut Request| r.checkpoint = String::new(),
            |r: &mut Request| r.checkpoint.push('\n'),
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.encode().is_err(), "{bad:?}");
        }
        let body = good.encode().unwrap();
        for (from, to) in [
            ("old 100", "old 0100"),
            ("old 100", "old"),
            ("old 100", "new 100"),
            ("old 100", "old 100 "),
            ("old 100\n", "old 100\n\n"),
            ("old 100\n", "old 100\r\n"),
            ("\n\n", "\n\n\n"),
        ] {
            let bad = body.replacen(from, to, 1);
            assert!(Request::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let hash = format!("{}\n", encode64(&[0; 32])).repeat(MAX_PROOF);
        let many = body.replacen("old 100\n", &format!("old 100\n{hash}"), 1);
        let read = Request::parse(many.as_bytes());
        assert!(matches!(read, Err(WitnessError::TooManyHashes(_))));
        assert!(Request::parse(&vec![b'a'; MAX_REQUEST + 1]).is_err());
        let mut random = Random::new(11);
        for _ in 0..5_000 {
            let bytes = random.mutated(body.as_bytes());
            if let Ok(read) = Request::parse(&bytes) {
                assert_eq!(read.encode().unwrap().as_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_cosignature_is_taken_over() {
        let (one, two) = (witness(2), witness(3));
        let (v1, v2) = (one.verifier(), two.verifier());
        let mut note = note(300);
        let body = lines(&note, &[&two, &one]);
        let read =
            |witness: &[&dyn Verifier]| read_answer(200, None, body.as_bytes(), &note, witness);
        let Ok(Answer::Cosigned(found)) = read(&[&v1]) else {
            panic!("it is signed")
        };
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name(), "w2.example");
        let Ok(Answer::Cosigned(both)) = read(&[&v1, &v2]) else {
            panic!("it is signed")
        };
        assert!(matches!(read(&[]), Err(WitnessError::Unknown)));
        let stranger = witness(9).verifier();
        assert!(matches!(read(&[&stranger]), Err(WitnessError::Unknown)));
        for signature in both.into_iter().chain(found) {
            note.add(signature);
        }
        assert_eq!(note.signatures().len(), 3);
        let log = log().verifier();
        let opened = open_checkpoint(note.encode().as_bytes(), ORIGIN, &[&log], &[&v1, &v2]);
        assert_eq!(opened.unwrap().cosigners, [0, 1]);
    }

    #[test]
    fn a_cosignature_of_something_else_is_refused() {
        let one = witness(2);
        let key = one.verifier();
        let note = note(300);
        let other = Note::parse(signed(299).as_bytes(), Limits::default()).unwrap();
        let read = |body: &[u8]| read_answer(200, None, body, &note, &[&key]);
        let wrong = read(lines(&other, &[&one]).as_bytes());
        assert!(matches!(
            wrong,
            Err(WitnessError::Note(NoteError::BadSignature(_)))
        ));
        let body = lines(&note, &[&one]);
        assert!(read(body.as_bytes()).is_ok());
        for at in 0..body.len() {
            for bit in 0..8 {
                let mut bytes = body.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                assert!(read(&bytes).is_err(), "{at} {bit}");
            }
        }
        for cut in 0..body.len() {
            assert!(read(&body.as_bytes()[..cut]).is_err());
        }
        for bad in [
            String::new(),
            "\n".into(),
            format!("\n{body}"),
            format!("{body}\n"),
            format!("text\n\n{body}"),
            body.repeat(MAX_SIGNATURES + 1),
            format!("{body}{}", " ".repeat(MAX_ANSWER)),
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_other_answers() {
        let note = note(3);
        let read =
            |status, kind, body: &str| read_answer(status, kind, body.as_bytes(), &note, &[]);
        for kind in [
            "text/x.tlog.size",
            "Text/X.Tlog.Size; charset=utf-8",
            "text/x.tlog.size ;a",
        ] {
            assert_eq!(
                read(409, Some(kind), "20852014\n").unwrap(),
                Answer::Size(20_852_014)
            );
        }
        for bad in [
            "",
            "5",
            "05\n",
            "5\n\n",
            "five\n",
            "-5\n",
            "9223372036854775808\n",
            "5\r\n",
            " 5\n",
        ] {
            assert!(read(409, Some(SIZE_TYPE), bad).is_err(), "{bad:?}");
        }
        for (status, kind, answer) in [
            (409, None, Answer::Conflict),
            (409, Some("text/plain"), Answer::Conflict),
            (409, Some("text/x.tlog.sizes"), Answer::Conflict),
            (404, None, Answer::UnknownLog),
            (403, None, Answer::NotSigned),
            (422, None, Answer::WrongProof),
            (400, None, Answer::Refused(400)),
            (201, None, Answer::Refused(201)),
            (302, None, Answer::Refused(302)),
            (500, Some(SIZE_TYPE), Answer::Refused(500)),
        ] {
            assert_eq!(read(status, kind, "5\n").unwrap(), answer);
        }
    }
}
