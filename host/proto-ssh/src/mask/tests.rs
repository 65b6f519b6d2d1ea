//! Secrets in every disguise, and a reference that is too simple to be wrong.
//!
//! A secret is seen whole when it stands in what a terminal would show of the output, its lines joined, or in the
//! output without its escape sequences and control characters, or in the output as it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use zeroize::Zeroizing;

use super::*;

mod disguise;
mod forms;
mod leads;
mod noise;
mod private_keys;
mod reference;
mod replicas;
mod spans;
mod streams;
mod words;

const LITERAL: &str = "correct/horse+battery9";
const GITHUB: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
const AWS: &str = "AKIAIOSFODNN7EXAMPLE";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

fn patterns(secrets: &[&str]) -> Arc<Patterns> {
    let secrets = secrets
        .iter()
        .map(|s| Zeroizing::new(s.as_bytes().to_vec()));
    Arc::new(Patterns::new(secrets).unwrap())
}

/// Bytes that are no text, the same in every run.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// All of it in pieces of so many bytes, with no time passing, and flushed.
fn mask(patterns: &Arc<Patterns>, kind: Kind, input: &[u8], piece: usize) -> Vec<u8> {
    let mut masker = Masker::new(patterns.clone(), kind);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    for part in input.chunks(piece.max(1)) {
        let _ = masker.push(part, now, &mut out);
    }
    masker.flush(&mut out);
    assert_eq!(out.len(), input.len());
    out.to_vec()
}

fn text(secrets: &[&str], input: &str) -> String {
    let out = mask(
        &patterns(secrets),
        Kind::Terminal,
        input.as_bytes(),
        usize::MAX,
    );
    String::from_utf8(out).unwrap()
}

/// Byte after byte, and every timer fires between them.
fn trickle(patterns: &Arc<Patterns>, kind: Kind, input: &[u8], pause: Duration) -> Vec<u8> {
    let mut masker = Masker::new(patterns.clone(), kind);
    let (mut now, mut out) = (Instant::now(), BytesMut::new());
    for part in input.chunks(1) {
        let _ = masker.push(part, now, &mut out);
        let later = now + pause;
        while let Some(at) = masker.deadline().filter(|at| *at <= later) {
            masker.tick(at, &mut out);
        }
        now = later;
    }
    masker.flush(&mut out);
    assert_eq!(out.len(), input.len());
    out.to_vec()
}

/// What a terminal shows, without the ends of its lines.
fn shown(output: &[u8]) -> Vec<u8> {
    let (mut all, mut line, mut cursor) = (Vec::new(), Vec::<u8>::new(), 0_usize);
    for (c, visible) in read(output) {
        match c {
            b'\n' => {
                all.append(&mut line);
                cursor = 0;
            }
            b'\r' => {}
            0x08 => cursor = cursor.saturating_sub(1),
            _ if visible => {
                line.truncate(cursor);
                line.push(c);
                cursor += 1;
            }
            _ => {}
        }
    }
    all.append(&mut line);
    all
}

/// Without sequences and control characters.
fn stripped(output: &[u8]) -> Vec<u8> {
    let all = read(output).into_iter();
    all.filter(|(_, visible)| *visible)
        .map(|(c, _)| c)
        .collect()
}

/// A reader of escape sequences that knows those of the tests.
fn read(output: &[u8]) -> Vec<(u8, bool)> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&c) = output.get(at) {
        let rest = &output[at..];
        let skip = match rest {
            [0x1B, 0x08, _, ..] => {
                out.push((0x08, false));
                3
            }
            [0x1B, b'[', more @ ..] => {
                let end = more.iter().position(|c| (0x40..=0x7E).contains(c)).unwrap();
                // Control characters inside of it are carried out.
                let controls = more[..end].iter().filter(|c| **c < 0x20);
                out.extend(controls.map(|c| (*c, false)));
                if more[end] == b'D' {
                    out.push((0x08, false));
                }
                3 + end
            }
            [0xC2, 0x9B, more @ ..] => {
                3 + more.iter().position(|c| (0x40..=0x7E).contains(c)).unwrap()
            }
            [0x1B, b']' | b'P' | b'_', more @ ..] => {
                let bell = more.iter().position(|c| *c == 7).map(|i| i + 1);
                let st = more.windows(2).position(|w| w == b"\x1b\\").map(|i| i + 2);
                2 + bell.unwrap_or(usize::MAX).min(st.unwrap_or(usize::MAX))
            }
            [0x1B, b'(', _, ..] => 3,
            [0x1B, ..] => 2,
            _ => {
                out.push((c, c >= 0x20 && c != 0x7F));
                1
            }
        };
        at += skip;
    }
    out
}

fn has(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|w| w == what.as_bytes())
}

fn seen_whole(output: &[u8], secret: &str) -> bool {
    has(&shown(output), secret) || has(&stripped(output), secret) || has(output, secret)
}
