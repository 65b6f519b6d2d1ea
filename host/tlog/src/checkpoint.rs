//! Checkpoints: what a log signs about its tree (C2SP tlog-checkpoint).

use thiserror::Error;

use crate::hash::{EMPTY_ROOT, Hash};
use crate::note::{Limits, Note, NoteError, SignError, Signer, Verifier};
use crate::text::{decimal, encode64, has_control, hash64};

/// The head of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Which log it is.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    /// Further lines. The specification recommends to have none.
    pub extensions: Vec<String>,
}

#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("no checkpoint: {0} is missing or not as specified")]
    Form(&'static str),
    #[error("a checkpoint of {found:?}, not of {expected:?}")]
    Origin { expected: String, found: String },
    #[error("the key {key:?} cannot sign for {origin:?}: a log's key has its name")]
    Name { key: String, origin: String },
    #[error("not signed by the log")]
    NotSigned,
    #[error(transparent)]
    Note(#[from] NoteError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Checkpoint {
    /// Of a note's text, with its last newline.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let form = CheckpointError::Form;
        let lines = text.strip_suffix('\n').ok_or(form("the last newline"))?;
        if has_control(text) {
            return Err(form("a text without control characters"));
        }
        let mut lines = lines.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty());
        let size = lines.next().and_then(decimal);
        let root = lines.next().and_then(hash64);
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        let checkpoint = Self {
            origin: origin.ok_or(form("the origin"))?.to_owned(),
            size: size.ok_or(form("the size"))?,
            root: root.ok_or(form("the root"))?,
            extensions,
        };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// The text that is signed.
    pub fn text(&self) -> Result<String, CheckpointError> {
        self.check()?;
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, encode64(&self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), CheckpointError> {
        let is_line = |line: &str| !line.is_empty() && !line.contains('\n') && !has_control(line);
        if !is_line(&self.origin) {
            return Err(CheckpointError::Form("the origin"));
        }
        if self.size > crate::MAX_SIZE {
            return Err(CheckpointError::Form("the size"));
        }
        if self.size == 0 && self.root != EMPTY_ROOT {
            return Err(CheckpointError::Form("the root of an empty tree"));
        }
        match self.extensions.iter().all(|line| is_line(line)) {
            true => Ok(()),
            false => Err(CheckpointError::Form("an extension line")),
        }
    }
}

/// The signed note of a checkpoint. The key must have the log's name: by that a policy finds it.
pub fn sign_checkpoint(
    checkpoint: &Checkpoint,
    signer: &dyn Signer,
) -> Result<String, CheckpointError> {
    if signer.name() != checkpoint.origin {
        return Err(CheckpointError::Name {
            key: signer.name().to_owned(),
            origin: checkpoint.origin.clone(),
        });
    }
    let mut note = Note::new(checkpoint.text()?)?;
    note.sign(signer)?;
    Ok(note.encode())
}

/// A checkpoint that its log has signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    pub checkpoint: Checkpoint,
    /// Which of the log's keys signed it, by their numbers, each once.
    pub log_keys: Vec<usize>,
    /// Which of the cosigners signed it, by their numbers, each once.
    pub cosigners: Vec<usize>,
    /// As it was read: with all signatures, known or not.
    pub note: Note,
}

/// Reads a log's checkpoint: signed by at least one of the log's keys, and with no wrong signature by
/// those or by the cosigners.
pub fn open_checkpoint(
    bytes: &[u8],
    origin: &str,
    log_keys: &[&dyn Verifier],
    cosigners: &[&dyn Verifier],
) -> Result<Opened, CheckpointError> {
    let note = Note::parse(bytes, Limits::default())?;
    open_note(note, origin, log_keys, cosigners)
}

pub(crate) fn open_note(
    note: Note,
    origin: &str,
    log_keys: &[&dyn Verifier],
    cosigners: &[&dyn Verifier],
) -> Result<Opened, CheckpointError> {
    let all = [log_keys, cosigners].concat();
    let verified = note.open(&all)?;
    let mut signed: Vec<usize> = verified.iter().map(|v| v.verifier).collect();
    signed.sort_unstable();
    signed.dedup();
    let (of_log, others): (Vec<usize>, Vec<usize>) =
        signed.into_iter().partition(|by| *by < log_keys.len());
    if of_log.is_empty() {
        return Err(CheckpointError::NotSigned);
    }
    let checkpoint = Checkpoint::parse(note.text())?;
    if checkpoint.origin != origin {
        return Err(CheckpointError::Origin {
            expected: origin.to_owned(),
            found: checkpoint.origin,
        });
    }
    let cosigners = others.into_iter().map(|by| by - log_keys.len());
    Ok(Opened {
        checkpoint,
        log_keys: of_log,
        cosigners: cosigners.collect(),
        note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{CosignatureSigner, CosignatureVerifier, Ed25519Signer, Ed25519Verifier};
    use crate::testing::{Random, grow};

    const ORIGIN: &str = "example.com/log";

    fn log() -> Ed25519Signer {
        Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap()
    }

    fn witness(n: u8) -> CosignatureSigner {
        CosignatureSigner::from_seed(&format!("w{n}.example"), &[n; 32], 1_700_000_000).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: ORIGIN.into(),
            size: 300,
            root: grow(300).0.root(),
            extensions: Vec::new(),
        }
    }

    /// The example of tlog-cosignature.
    #[test]
    fn the_example_of_the_specification_is_read() {
        let example =
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let signed = format!(
            "{example}\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
        );
        let note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.text().unwrap(), example);
        assert_eq!(note.encode(), signed);
        let time = crate::cosignature_time(note.signatures()[1].bytes());
        assert_eq!(time, Some(1_679_315_147));
    }

    #[test]
    fn what_is_no_checkpoint() {
        let root = encode64(&[7; 32]);
        let good = format!("log\n5\n{root}\n");
        assert_eq!(Checkpoint::parse(&good).unwrap().text().unwrap(), good);
        let extended = format!("{good}one\ntwo words\n");
        assert_eq!(
            Checkpoint::parse(&extended).unwrap().text().unwrap(),
            extended
        );
        for bad in [
            String::new(),
            "\n".into(),
            "log\n5\n".into(),
            good.trim_end().into(),
            format!("\n5\n{root}\n"),
            format!("log\n\n{root}\n"),
            format!("log\n05\n{root}\n"),
            format!("log\n00\n{root}\n"),
            format!("log\n+5\n{root}\n"),
            format!("log\n-5\n{root}\n"),
            format!("log\n5 \n{root}\n"),
            format!("log\n9223372036854775808\n{root}\n"),
            format!("log\n0\n{root}\n"),
            format!("log\n5\n{root}=\n"),
            format!("log\n5\n{}\n", root.trim_end_matches('=')),
            format!("log\n5\n{}\n", encode64(&[7; 31])),
            format!("log\n5\n{}\n", encode64(&[7; 33])),
            // The last character's two lowest bits say nothing.
            format!("log\n5\n{}d=\n", &root[..42]),
            format!("log\n5\n\n{root}\n"),
            format!("{good}\n"),
            format!("{good}one\n\ntwo\n"),
            format!("log\r\n5\n{root}\n"),
            format!("log\n5\n{root}\r\n"),
            format!("log\n5\n{root}\nta\tb\n"),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
        Checkpoint::parse(&format!("log\n0\n{}\n", encode64(&EMPTY_ROOT))).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_not_signed() {
        let good = checkpoint();
        let log = log();
        for change in [
            |c: &mut Checkpoint| c.origin = String::new(),
            |c: &mut Checkpoint| c.origin.push('\n'),
            |c: &mut Checkpoint| c.origin = "other".into(),
            |c: &mut Checkpoint| c.size = u64::MAX,
            |c: &mut Checkpoint| c.size = 0,
            |c: &mut Checkpoint| c.extensions = vec![String::new()],
            |c: &mut Checkpoint| c.extensions = vec!["a\nb".into()],
            |c: &mut Checkpoint| c.extensions = vec!["a\rb".into()],
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(sign_checkpoint(&bad, &log).is_err(), "{bad:?}");
        }
        let other = Ed25519Signer::from_seed("other", &[1; 32]).unwrap();
        let refused = sign_checkpoint(&good, &other);
        assert!(matches!(refused, Err(CheckpointError::Name { .. })));
    }

    fn cosigned() -> (String, Ed25519Verifier, Vec<CosignatureVerifier>) {
        let signed = sign_checkpoint(&checkpoint(), &log()).unwrap();
        let mut note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
        let witnesses: Vec<CosignatureSigner> = (2..5).map(witness).collect();
        for witness in &witnesses {
            note.sign(witness).unwrap();
        }
        let verifiers = witnesses.iter().map(CosignatureSigner::verifier);
        (note.encode(), log().verifier(), verifiers.collect())
    }

    #[test]
    fn a_checkpoint_says_who_signed_it() {
        let (signed, log, witnesses) = cosigned();
        let open = |origin, cosigners: &[&dyn Verifier]| {
            open_checkpoint(signed.as_bytes(), origin, &[&log], cosigners)
        };
        let opened = open(ORIGIN, &[&witnesses[2], &witnesses[0]]).unwrap();
        assert_eq!(opened.checkpoint, checkpoint());
        assert_eq!(opened.log_keys, [0]);
        assert_eq!(opened.cosigners, [0, 1]);
        assert_eq!(opened.note.encode(), signed);
        assert_eq!(open(ORIGIN, &[]).unwrap().cosigners, []);
        let other = open("example.com/other", &[]);
        assert!(matches!(other, Err(CheckpointError::Origin { .. })));
        // Witnesses do not stand in for the log.
        let witness: &dyn Verifier = &witnesses[0];
        let unsigned = open_checkpoint(signed.as_bytes(), ORIGIN, &[], &[witness]);
        assert!(matches!(unsigned, Err(CheckpointError::NotSigned)));
        let stranger = Ed25519Signer::from_seed(ORIGIN, &[8; 32])
            .unwrap()
            .verifier();
        let unsigned = open_checkpoint(signed.as_bytes(), ORIGIN, &[&stranger], &[witness]);
        assert!(matches!(unsigned, Err(CheckpointError::NotSigned)));
    }

    /// A witness that signs twice, at two times, is still one witness.
    #[test]
    fn a_cosigner_counts_once() {
        let signed = sign_checkpoint(&checkpoint(), &log()).unwrap();
        let mut note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
        let mut witness = witness(2);
        note.sign(&witness).unwrap();
        witness.set_time(1_700_000_001);
        note.sign(&witness).unwrap();
        assert_eq!(note.signatures().len(), 3);
        let signed = note.encode();
        let (log, witness) = (log().verifier(), witness.verifier());
        let opened = open_checkpoint(signed.as_bytes(), ORIGIN, &[&log], &[&witness]).unwrap();
        assert_eq!(opened.cosigners, [0]);
    }

    #[test]
    fn no_byte_of_a_signed_checkpoint_can_change() {
        let (signed, log, witnesses) = cosigned();
        let known: [&dyn Verifier; 2] = [&witnesses[0], &witnesses[2]];
        let open = |bytes: &[u8]| open_checkpoint(bytes, ORIGIN, &[&log], &known);
        let good = open(signed.as_bytes()).unwrap();
        // The line of the witness that is not known here.
        let start = signed.find("\u{2014} w3").unwrap();
        let unknown = start..start + signed[start..].find('\n').unwrap();
        let mut harmless = 0;
        for at in 0..signed.len() {
            let was = signed.as_bytes()[at];
            let bits = (0..8).map(|bit| was ^ (1 << bit));
            for other in bits.chain(*b"\0\n +/=A0").filter(|b| *b != was) {
                let mut bytes = signed.clone().into_bytes();
                bytes[at] = other;
                let Ok(opened) = open(&bytes) else { continue };
                // A key that has another name, or another id, is another key, and one that is known by
                // neither is ignored: then that witness did not sign. Nothing else may differ.
                harmless += 1;
                assert_eq!(opened.checkpoint, good.checkpoint);
                assert_eq!(opened.log_keys, good.log_keys);
                match unknown.contains(&at) {
                    true => assert_eq!(opened.cosigners, good.cosigners),
                    false => assert!(
                        opened.cosigners.len() < good.cosigners.len(),
                        "{at} {other}"
                    ),
                }
            }
        }
        assert!(harmless > 100, "{harmless}");
        for cut in 0..signed.len() {
            let cut_at_line = signed[..].as_bytes()[..cut].ends_with(b"\n");
            if let Ok(opened) = open(&signed.as_bytes()[..cut]) {
                assert!(cut_at_line && opened.checkpoint == good.checkpoint, "{cut}");
            }
        }
    }

    #[test]
    fn random_changes_do_no_harm() {
        let (signed, log, witnesses) = cosigned();
        let known: [&dyn Verifier; 1] = [&witnesses[0]];
        let mut random = Random::new(8);
        for _ in 0..3_000 {
            let bytes = random.mutated(signed.as_bytes());
            if let Ok(opened) = open_checkpoint(&bytes, ORIGIN, &[&log], &known) {
                assert_eq!(opened.checkpoint, checkpoint());
                assert_eq!(opened.note.encode().as_bytes(), bytes);
            }
            let text = random.mutated(checkpoint().text().unwrap().as_bytes());
            if let Ok(text) = String::from_utf8(text)
                && let Ok(parsed) = Checkpoint::parse(&text)
            {
                assert_eq!(parsed.text().unwrap(), text);
            }
        }
    }
}
