//! Signatures over texts, as `ssh-keygen -Y sign` makes them (OpenSSH's PROTOCOL.sshsig): the key that signed is
//! in them, and what they are for, so that what was signed for one purpose proves nothing for another.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::public::{KeyError, PublicKey};
use crate::wire::{FormatError, Put, Reader};

/// More than a signature with a key of RSA of 8192 bits has.
pub const MAX_SIGNATURE_TEXT: usize = 16 * 1024;
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// Why a text is not proved to be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextSignatureError {
    #[error("this is no signature of `ssh-keygen -Y sign`")]
    Armour,
    #[error("the signature cannot be read: {0}")]
    Format(#[from] FormatError),
    #[error("the signature has version {0}; there is only version 1")]
    Version(u32),
    #[error("the signature is for another purpose; sign with: ssh-keygen -Y sign -n {0}")]
    Namespace(String),
    #[error("the signature hashes with something else than sha256 or sha512")]
    Hash,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The key that has signed `message` for this purpose. A security key has to have been touched.
pub fn signer_of_text(
    armoured: &str,
    namespace: &str,
    message: &[u8],
) -> Result<PublicKey, TextSignatureError> {
    let bytes = dearmour(armoured)?;
    let mut reader = Reader::new(&bytes);
    if reader.array::<6>()? != *MAGIC {
        return Err(TextSignatureError::Armour);
    }
    let version = reader.uint32()?;
    if version != VERSION {
        return Err(TextSignatureError::Version(version));
    }
    let key = PublicKey::from_blob(reader.string()?)?;
    if reader.string()? != namespace.as_bytes() {
        return Err(TextSignatureError::Namespace(namespace.to_owned()));
    }
    // Reserved: what is in it is signed all the same.
    let reserved = reader.string()?;
    let hash_name = reader.string()?;
    let hash = match hash_name {
        b"sha256" => digest(&SHA256, message),
        b"sha512" => digest(&SHA512, message),
        _ => return Err(TextSignatureError::Hash),
    };
    let signature = reader.string()?;
    reader.end()?;
    let mut signed = MAGIC.to_vec();
    signed
        .string(namespace.as_bytes())
        .string(reserved)
        .string(hash_name)
        .string(hash.as_ref());
    // Of RSA, which of the two hashes it is made with stands in the signature alone.
    let algorithm = Reader::new(signature).string()?;
    let known = key.algorithms().iter().copied();
    let algorithm = known.into_iter().find(|a| a.as_bytes() == algorithm);
    let algorithm = algorithm.ok_or(KeyError::Signature)?;
    key.verify(algorithm, &signed, signature)?;
    Ok(key)
}

fn dearmour(text: &str) -> Result<Vec<u8>, TextSignatureError> {
    crate::public::bounded(text.len(), MAX_SIGNATURE_TEXT)?;
    let body = text.trim().strip_prefix(BEGIN);
    let body = body.and_then(|body| body.strip_suffix(END));
    let body = body.ok_or(TextSignatureError::Armour)?;
    let encoded: String = body.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = STANDARD.decode(encoded);
    bytes.map_err(|_| FormatError::Base64.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{KINDS, generate, read, ssh_keygen};

    const FOR: &str = "test@weir.dev";

    /// What `ssh-keygen` signs of a text with a new key of this kind.
    fn signed(options: &[&str], more: &[&str], text: &str) -> (PublicKey, String) {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), "key", options);
        fs::write(dir.path().join("text"), text).unwrap();
        let mut args = vec!["-Y", "sign", "-n", FOR, "-f", "key"];
        args.extend_from_slice(more);
        args.push("text");
        ssh_keygen(dir.path(), &args).unwrap();
        let key = PublicKey::from_openssh(&read(dir.path(), "key.pub")).unwrap();
        (key, read(dir.path(), "text.sig"))
    }

    #[test]
    fn what_ssh_keygen_signs_is_of_its_key_for_its_purpose_and_text() {
        for (options, kind) in KINDS {
            let (key, signature) = signed(options, &[], "mine\n");
            let of = |namespace, text: &[u8]| signer_of_text(&signature, namespace, text);
            assert_eq!(of(FOR, b"mine\n").unwrap(), key, "{kind}");
            // Anything else was not signed.
            for text in [&b"mine"[..], b"mine\n\n", b"yours\n", b""] {
                let wrong = of(FOR, text).unwrap_err();
                assert_eq!(
                    wrong,
                    TextSignatureError::Key(KeyError::Signature),
                    "{kind}"
                );
            }
            for other in ["file", "", "test@weir.de", "test@weir.dev\0"] {
                let wrong = of(other, b"mine\n").unwrap_err();
                assert_eq!(wrong, TextSignatureError::Namespace(other.into()));
            }
        }
        let sha256 = ["-O", "hashalg=sha256"];
        let (key, signature) = signed(&["-t", "ed25519"], &sha256, "x");
        assert_eq!(signer_of_text(&signature, FOR, b"x").unwrap(), key);
    }

    #[test]
    fn no_signature_can_be_changed_cut_off_or_continued() {
        let (key, signature) = signed(&["-t", "ed25519"], &[], "mine");
        let bytes = dearmour(&signature).unwrap();
        let check = |bytes: &[u8]| {
            let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(bytes));
            signer_of_text(&text, FOR, b"mine")
        };
        assert_eq!(check(&bytes).unwrap(), key);
        for at in 0..bytes.len() {
            assert!(check(&bytes[..at]).is_err(), "{at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x01;
            assert!(check(&changed).is_err(), "{at}");
        }
        assert!(check(&[bytes.as_slice(), &[0]].concat()).is_err());
        let long = "A".repeat(MAX_SIGNATURE_TEXT + 1);
        for text in [
            "",
            "AAAA",
            BEGIN,
            "-----BEGIN SSH SIGNATURE----------END SSH SIGNATURE-----",
            &long,
        ] {
            assert!(signer_of_text(text, FOR, b"mine").is_err());
        }
    }

    /// Somebody else's key in a signature that one has made oneself.
    #[test]
    fn a_key_that_is_put_into_a_signature_has_not_made_it() {
        let (_, mine) = signed(&["-t", "ed25519"], &[], "mine");
        let (theirs, _) = signed(&["-t", "ed25519"], &[], "mine");
        let bytes = dearmour(&mine).unwrap();
        let blob = theirs.blob();
        let mut forged = bytes[..14].to_vec();
        forged.extend_from_slice(blob);
        forged.extend_from_slice(&bytes[14 + blob.len()..]);
        let text = format!("{BEGIN}\n{}\n{END}", STANDARD.encode(&forged));
        assert_eq!(
            signer_of_text(&text, FOR, b"mine").unwrap_err(),
            TextSignatureError::Key(KeyError::Signature)
        );
    }
}
