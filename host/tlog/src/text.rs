//! Numbers and base64 as the specifications spell them, and no other way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;

/// A number without sign and leading zeros, of at most `MAX_SIZE`.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.starts_with('0') && text != "0") {
        return None;
    }
    text.parse().ok().filter(|n| *n <= crate::MAX_SIZE)
}

/// Base64 with its padding, and zero in the bits that say nothing.
pub(crate) fn decode64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn encode64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn hash64(text: &str) -> Option<Hash> {
    decode64(text)?.try_into().ok()
}

/// Does it hold a control character of ASCII other than a newline?
pub(crate) fn has_control(text: &str) -> bool {
    text.bytes().any(|b| b < 0x20 && b != b'\n')
}

/// Could a signature line carry this name of a key?
pub(crate) fn is_key_name(name: &str) -> bool {
    let forbidden = |c: char| c == '+' || c.is_whitespace() || c < ' ';
    !name.is_empty() && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for good in ["0", "1", "10", "9223372036854775807"] {
            assert_eq!(decimal(good).map(|n| n.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "1.0",
            "١",
            "9223372036854775808",
            "18446744073709551615",
            "99999999999999999999999",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(decode64("AA=="), Some(vec![0]));
        for bad in [
            "AA",
            "AA=",
            "AB==",
            "A A==",
            "AA==\n",
            "AA===",
            "-_==",
            "=",
            "\u{e9}AA=",
        ] {
            assert_eq!(decode64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn names_of_keys() {
        for good in ["a", "example.com/log", "é", "日本", "a\u{7f}"] {
            assert!(is_key_name(good), "{good:?}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a+b",
            "a\u{a0}b",
            "a\u{2003}",
            "a\n",
            "a\t",
            "a\u{85}",
            "\u{1}",
        ] {
            assert!(!is_key_name(bad), "{bad:?}");
        }
    }
}
