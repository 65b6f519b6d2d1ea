//! Proofs that stand for themselves: an entry's place in a tree and the signed checkpoint of that tree,
//! in one file (C2SP tlog-proof).

use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::hash::{Hash, leaf_hash};
use crate::note::{Limits, MAX_NOTE, Note};
use crate::policy::{Accepted, Policy, PolicyError};
use crate::proof::{MAX_PROOF, ProofError, check_inclusion};
use crate::text::{decimal, decode64, encode64, hash64};

/// The longest file that is read, in bytes.
pub const MAX_PROOF_FILE: usize = 2 * MAX_NOTE;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

#[derive(Debug, Error)]
pub enum ProofFileError {
    #[error("a file of {0} bytes; {MAX_PROOF_FILE} are allowed")]
    TooLong(usize),
    #[error("no proof: {0} is missing or not as specified")]
    Form(&'static str),
    #[error("more than {MAX_PROOF} hashes")]
    TooManyHashes,
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// A `.tlog-proof` file. It proves nothing until it was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProofFile {
    /// Whatever the application has to say; nobody has signed it.
    pub extra: Option<Vec<u8>>,
    pub index: u64,
    pub proof: Vec<Hash>,
    /// The signed note, as the log wrote it.
    pub checkpoint: String,
}

impl ProofFile {
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let form = ProofFileError::Form;
        if bytes.len() > MAX_PROOF_FILE {
            return Err(ProofFileError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| form("UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(form("the empty line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(form("the first line"));
        }
        let extra = match lines.next_if(|line| line.starts_with(EXTRA)) {
            Some(line) => {
                let extra = line.strip_prefix(EXTRA).and_then(decode64);
                let extra = extra.filter(|extra| !extra.is_empty());
                Some(extra.ok_or(form("the extra data"))?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX));
        let index = index.and_then(decimal).ok_or(form("the index"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF {
                return Err(ProofFileError::TooManyHashes);
            }
            proof.push(hash64(line).ok_or(form("a hash"))?);
        }
        let file = Self {
            extra,
            index,
            proof,
            checkpoint: checkpoint.to_owned(),
        };
        file.check_form()?;
        Ok(file)
    }

    pub fn encode(&self) -> Result<String, ProofFileError> {
        self.check_form()?;
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("{EXTRA}{}\n", encode64(extra)));
        }
        text.push_str(&format!("{INDEX}{}\n", self.index));
        for hash in &self.proof {
            text.push_str(&encode64(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        match text.len() <= MAX_PROOF_FILE {
            true => Ok(text),
            false => Err(ProofFileError::TooLong(text.len())),
        }
    }

    /// Is this entry in a log that the policy believes, under a checkpoint that it accepts?
    pub fn check(&self, entry: &[u8], policy: &Policy) -> Result<Accepted, ProofFileError> {
        self.check_leaf(&leaf_hash(entry), policy)
    }

    /// The same for an entry of which only the leaf's hash is there.
    pub fn check_leaf(&self, leaf: &Hash, policy: &Policy) -> Result<Accepted, ProofFileError> {
        let accepted = policy.open(self.checkpoint.as_bytes())?;
        let Checkpoint { size, root, .. } = &accepted.checkpoint;
        check_inclusion(self.index, *size, leaf, &self.proof, root)?;
        Ok(accepted)
    }

    fn check_form(&self) -> Result<(), ProofFileError> {
        let form = ProofFileError::Form;
        if self.extra.as_ref().is_some_and(Vec::is_empty) {
            return Err(form("the extra data"));
        }
        if self.index > crate::MAX_SIZE {
            return Err(form("the index"));
        }
        if self.proof.len() > MAX_PROOF {
            return Err(ProofFileError::TooManyHashes);
        }
        let note = Note::parse(self.checkpoint.as_bytes(), Limits::default());
        let checkpoint = note
            .ok()
            .and_then(|note| Checkpoint::parse(note.text()).ok());
        match checkpoint {
            Some(_) => Ok(()),
            None => Err(form("the checkpoint")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::sign_checkpoint;
    use crate::keys::{CosignatureSigner, Ed25519Signer};
    use crate::proof::inclusion_proof;
    use crate::testing::{Random, entry, grow, leaf};

    const ORIGIN: &str = "example.com/log";

    fn sample(extra: Option<&[u8]>) -> (ProofFile, Policy) {
        let log = Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap();
        let witness = CosignatureSigner::from_seed("w.example", &[2; 32], 1_700_000_000).unwrap();
        let (tree, tiles) = grow(300);
        let checkpoint = Checkpoint {
            origin: ORIGIN.into(),
            size: 300,
            root: tree.root(),
            extensions: Vec::new(),
        };
        let signed = sign_checkpoint(&checkpoint, &log).unwrap();
        let mut note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
        note.sign(&witness).unwrap();
        let file = ProofFile {
            extra: extra.map(<[u8]>::to_vec),
            index: 270,
            proof: inclusion_proof(300, 270, &leaf(270), &tree.root(), &tiles).unwrap(),
            checkpoint: note.encode(),
        };
        let policy = format!(
            "log {}\nwitness w {}\nquorum w\n",
            log.vkey(),
            witness.vkey()
        );
        (file, Policy::parse(policy.as_bytes()).unwrap())
    }

    #[test]
    fn a_proof_is_checked_with_nothing_but_a_policy() {
        for extra in [None, Some(&b"more"[..])] {
            let (file, policy) = sample(extra);
            let text = file.encode().unwrap();
            let read = ProofFile::parse(text.as_bytes()).unwrap();
            assert_eq!(read, file);
            let accepted = read.check(&entry(270), &policy).unwrap();
            assert_eq!(accepted.checkpoint.size, 300);
            assert_eq!(accepted.witnesses, [0]);
            assert!(read.check(&entry(271), &policy).is_err());
            for index in (0..310).filter(|index| *index != 270) {
                let other = ProofFile {
                    index,
                    ..file.clone()
                };
                assert!(other.check(&entry(270), &policy).is_err());
            }
        }
        let (file, policy) = sample(None);
        // A quorum that was not reached.
        let last = file.checkpoint.trim_end().rfind('\n').unwrap();
        let checkpoint = file.checkpoint[..=last].to_owned();
        let unwitnessed = ProofFile { checkpoint, ..file };
        let refused = unwitnessed.check(&entry(270), &policy);
        assert!(matches!(
            refused,
            Err(ProofFileError::Policy(PolicyError::Quorum))
        ));
    }

    #[test]
    fn the_form_is_that_of_the_specification() {
        let (file, _) = sample(Some(b"more"));
        let text = file.encode().unwrap();
        let start = format!(
            "c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 270\n{}\n",
            encode64(&file.proof[0])
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(text.ends_with(&format!("\n\n{}", file.checkpoint)));
    }

    #[test]
    fn what_is_no_proof() {
        let (file, _) = sample(Some(b"more"));
        let text = file.encode().unwrap();
        for (from, to) in [
            ("@v1", "@v2"),
            ("c2sp", " c2sp"),
            ("extra bW9yZQ==", "extra "),
            ("extra bW9yZQ==", "extra bW9yZQ"),
            ("extra bW9yZQ==", "extra  bW9yZQ=="),
            ("extra bW9yZQ==\n", "extra bW9yZQ==\nextra bW9yZQ==\n"),
            ("extra bW9yZQ==\n", "extra\n"),
            ("extra bW9yZQ==\n", "\n"),
            ("index 270", "index 0270"),
            ("index 270", "index +270"),
            ("index 270", "index 9223372036854775808"),
            ("index 270", "index  270"),
            ("index 270", "Index 270"),
            ("index 270\n", ""),
            ("index 270\n", "index 270\r\n"),
            ("index 270\n", "index 270\n\n"),
            ("index 270\n", "index 270\nAAAA\n"),
            ("\n\n", "\n"),
            ("\n\nexample", "\n\n\nexample"),
            ("\n300\n", "\n0300\n"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            assert!(ProofFile::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for cut in 0..text.len() {
            // The last line is the witness's: without it, it is a proof that nobody witnessed.
            let whole =
                text.as_bytes()[..cut].ends_with(b"\n") && cut > text.find(ORIGIN).unwrap() + 100;
            let read = ProofFile::parse(&text.as_bytes()[..cut]);
            assert_eq!(read.is_ok(), whole, "{cut}");
        }
        let mut more = file.clone();
        more.proof = vec![[0; 32]; MAX_PROOF + 1];
        assert!(matches!(more.encode(), Err(ProofFileError::TooManyHashes)));
        let hash = format!("{}\n", encode64(&[0; 32])).repeat(MAX_PROOF);
        let many = text.replacen("index 270\n", &format!("index 270\n{hash}"), 1);
        let read = ProofFile::parse(many.as_bytes());
        assert!(matches!(read, Err(ProofFileError::TooManyHashes)));
        let mut long = file.clone();
        long.extra = Some(vec![0; MAX_PROOF_FILE]);
        assert!(matches!(long.encode(), Err(ProofFileError::TooLong(_))));
        assert!(ProofFile::parse(&vec![b'a'; MAX_PROOF_FILE + 1]).is_err());
        for change in [
            |f: &mut ProofFile| f.extra = Some(Vec::new()),
            |f: &mut ProofFile| f.index = u64::MAX,
            |f: &mut ProofFile| f.checkpoint = String::new(),
            |f: &mut ProofFile| f.checkpoint.push('\n'),
        ] {
            let mut bad = file.clone();
            change(&mut bad);
            assert!(bad.encode().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_byte_of_what_is_signed_can_change() {
        let (file, policy) = sample(Some(b"more"));
        let text = file.encode().unwrap();
        let extra = text.find("bW9y").unwrap();
        let extra = extra..extra + 8;
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let read = ProofFile::parse(&bytes);
                let checked = read.and_then(|file| file.check(&entry(270), &policy));
                assert!(checked.is_err() || extra.contains(&at), "{at} {bit}");
            }
        }
        let mut random = Random::new(10);
        for _ in 0..5_000 {
            let bytes = random.mutated(text.as_bytes());
            if let Ok(read) = ProofFile::parse(&bytes) {
                assert_eq!(read.encode().unwrap().as_bytes(), bytes);
            }
        }
    }
}
