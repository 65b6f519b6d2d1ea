//! What a verdict has to say beside yes: of everything that was asked, by a key that only Weir and the asking shell have.

use aws_lc_rs::rand;

/// Of SipHash-2-4 (Aumasson, Bernstein, 2012), which bash can do with its own numbers.
#[derive(Debug, Clone)]
pub(crate) struct Key(u64, u64);

impl Key {
    /// None: there is no randomness.
    pub fn new() -> Option<Self> {
        let (mut one, mut two) = ([0; 8], [0; 8]);
        rand::fill(&mut one).ok()?;
        rand::fill(&mut two).ok()?;
        Some(Self(u64::from_le_bytes(one), u64::from_le_bytes(two)))
    }

    /// As numbers of bash.
    pub fn written(&self) -> String {
        format!("{} {}", self.0.cast_signed(), self.1.cast_signed())
    }

    /// As a number of bash.
    pub fn seal(&self, asked: &[u8]) -> i64 {
        let mut state = State([
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]);
        let mut words = asked.chunks_exact(8);
        for word in words.by_ref() {
            state.takes(little(word));
        }
        // Behind the end, the length.
        let length = (asked.len() as u64) << 56;
        state.takes(little(words.remainder()) | length);
        state.ends().cast_signed()
    }

    #[cfg(any(test, fuzzing))]
    pub const fn fixed(one: u64, two: u64) -> Self {
        Self(one, two)
    }
}

fn little(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

struct State([u64; 4]);

impl State {
    fn takes(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn ends(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.0.into_iter().fold(0, |all, word| all ^ word)
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// Those that came with the algorithm.
    #[test]
    fn it_is_what_it_is_called() {
        let key = Key::fixed(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let text: Vec<u8> = (0..15).collect();
        for (length, expect) in [
            (0, 0x726f_db47_dd0e_0e31),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5_u64),
        ] {
            assert_eq!(
                key.seal(&text[..length]).cast_unsigned(),
                expect,
                "{length}"
            );
        }
    }

    /// bash, in its own way, has the same of the same.
    #[test]
    fn bash_has_the_same() {
        if !std::path::Path::new("/bin/bash").exists() {
            return;
        }
        let begin = super::super::STARTUP.find("__weir_seal() {").unwrap();
        let (_, rest) = super::super::STARTUP.split_at(begin);
        let (seal, _) = rest.split_once("\n}\n").unwrap();
        let long = "é\\n€x".repeat(700);
        for asked in [
            "",
            "ls",
            "rm -rf /srv",
            "1234567",
            "12345678",
            "\u{1}\u{7f}ü😀'\"$x`\\t",
            &long,
        ] {
            let key = Key::new().unwrap();
            let (one, two) = (key.0.cast_signed(), key.1.cast_signed());
            let script = format!(
                "__weir_key() {{ (( __weir_A = __weir_C = {one}, __weir_B = __weir_D = {two}, 1 )); }}\n{seal}\n}}\n\
                 LC_ALL=C __weir_to=main __weir_id=x __weir_j=7 __weir_k=1; IFS= read -r -d '' __weir_c; __weir_seal; echo $__weir_y"
            );
            let mut bash = Command::new("/bin/bash")
                .args(["-c", &script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            bash.stdin
                .take()
                .unwrap()
                .write_all(asked.as_bytes())
                .unwrap();
            let out = bash.wait_with_output().unwrap();
            let said = String::from_utf8(out.stdout).unwrap();
            let expect = key.seal(format!("main x 7 1 {asked}").as_bytes());
            assert_eq!(said.trim(), expect.to_string(), "{asked:.40}");
        }
    }
}
