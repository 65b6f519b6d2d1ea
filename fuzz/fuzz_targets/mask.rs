//! Any bytes as the output of a command, cut anywhere, with timers firing or not: the length stays, nothing but shown
//! bytes changes, a secret does not stand in what goes out, and what is kept has its bound.

#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use proto_ssh::mask::{Kind, MAX_REMEMBERED, Masker, Patterns, Verdict};
use zeroize::Zeroizing;

/// Short and of few letters, so that the fuzzer finds them.
const SECRETS: [&[u8]; 3] = [b"aaaaaaaa", b"abababab-c", b"secret-1"];

fn patterns() -> Arc<Patterns> {
    static ONCE: OnceLock<Arc<Patterns>> = OnceLock::new();
    let new = || {
        let secrets = SECRETS.iter().map(|s| Zeroizing::new(s.to_vec()));
        Arc::new(Patterns::new(secrets).expect("secrets that can be masked"))
    };
    ONCE.get_or_init(new).clone()
}

/// In pieces of so many bytes, `pause` apart. Was it text?
fn mask(kind: Kind, input: &[u8], piece: usize, pause: Duration) -> (Vec<u8>, bool) {
    let mut masker = Masker::new(patterns(), kind);
    if kind == Kind::Terminal {
        masker.resize(80);
    }
    let (mut now, mut out) = (Instant::now(), BytesMut::new());
    let mut text = true;
    for part in input.chunks(piece) {
        text &= masker.push(part, now, &mut out) == Verdict::Text;
        assert!(masker.remembered() <= MAX_REMEMBERED);
        now += pause;
        masker.tick(now, &mut out);
    }
    masker.flush(&mut out);
    (out.to_vec(), text)
}

fuzz_target!(|data: &[u8]| {
    let Some((how, input)) = data.split_first() else {
        return;
    };
    let kind = if how & 1 == 0 {
        Kind::Terminal
    } else {
        Kind::Pipe
    };
    let pause = Duration::from_millis([0, 20, 60, 3_000][usize::from(how >> 1 & 3)]);
    let piece = 1 + usize::from(how >> 3) * 16;
    let (whole, text) = mask(kind, input, usize::MAX, Duration::ZERO);
    let (cut, _) = mask(kind, input, piece, pause);
    for out in [&whole, &cut] {
        assert_eq!(out.len(), input.len());
        let mut changed = input.iter().zip(out).filter(|(a, b)| a != b);
        assert!(changed.all(|(a, b)| *b == b'*' && *a >= b' '));
        for secret in SECRETS {
            assert!(!out.windows(secret.len()).any(|w| w == secret));
        }
    }
    // What is taken back may bring to life what was let go of, and of what is no text, less is read in larger
    // pieces; otherwise cutting changes nothing.
    let goes_back = input.contains(&8) || input.contains(&b'D');
    assert!(goes_back || !text || !pause.is_zero() || whole == cut);
});
