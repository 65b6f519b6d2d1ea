//! What masking costs for each GiB of text, and of what is none, beside a bare copy of it.
//!
//! `cargo run --release -p proto-ssh --example mask_rate -- [MiB]` prints one `name value` per line, in seconds of
//! one processor per GiB.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A measurement: it may stop at any surprise.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use detect::Detector;
use pipeline::mask::{MaskAction, MaskPlan};
use proto_ssh::mask::{Kind, Masker, Patterns, Spans};
use zeroize::Zeroizing;

/// What sshd sends at once, and what a channel packet carries at most.
const PIECE: usize = 32 << 10;
fn main() {
    let mib: usize = std::env::args().nth(1).map_or(256, |a| a.parse().unwrap());
    let none: Vec<String> = Vec::new();
    let some: Vec<String> = (0..20)
        .map(|i| format!("{i:02}-correct-horse-battery-{i}"))
        .collect();
    let logs = "2026-11-27 17:10:00 INFO  server.rs:42 request id=8f14e45f path=/v1/items status=200 in 12 ms\n";
    let prose =
        "The quick brown fox jumps over the lazy dog, and nothing of it is secret to anybody.\r\n";
    let coloured = "drwxr-xr-x 2 root root 4096 Nov 27 \x1b[01;34mdirectory\x1b[0m and \x1b[01;32mprogram\x1b[0m\r\n";
    let repeated = |line: &str| line.repeat(PIECE * 4 / line.len());
    for (name, text) in [
        ("logs", repeated(logs)),
        ("prose", repeated(prose)),
        ("coloured", repeated(coloured)),
        ("various", various()),
    ] {
        let copy = copied(text.as_bytes(), mib);
        println!("{name}_copy {copy:.3}");
        for (set, secrets) in [("", &none), ("_20_secrets", &some)] {
            let secrets = secrets
                .iter()
                .map(|s| Zeroizing::new(s.clone().into_bytes()));
            let patterns = Arc::new(Patterns::new(secrets).unwrap());
            for (kind, which) in [("pipe", Kind::Pipe), ("terminal", Kind::Terminal)] {
                let with = masked(&patterns, which, text.as_bytes(), mib);
                println!("{name}{set}_{kind} {:.3}", with - copy);
            }
        }
        println!(
            "{name}_detectors {:.3}",
            detected(text.as_bytes(), mib) - copy
        );
    }
    let noise = noise(PIECE * 4);
    let copy = copied(&noise, mib);
    println!("noise_copy {copy:.3}");
    for (set, secrets) in [("", &none), ("_20_secrets", &some)] {
        let secrets = secrets
            .iter()
            .map(|s| Zeroizing::new(s.clone().into_bytes()));
        let patterns = Arc::new(Patterns::new(secrets).unwrap());
        let with = masked(&patterns, Kind::Pipe, &noise, mib);
        println!("noise{set}_pipe {:.3}", with - copy);
    }
    println!("noise_detectors {:.3}", detected(&noise, mib) - copy);
}

/// A log in which no line is like another one, as `cargo xtask bench ssh` has it.
fn various() -> String {
    let mut text = String::new();
    let mut n = 7_u64;
    while text.len() < PIECE * 4 {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (r, level) = (n >> 20, ["INFO ", "DEBUG", "WARN "][(n >> 60) as usize % 3]);
        let what = [
            "GET /v1/orders",
            "cache miss for item",
            "upstream connection reused by worker",
        ];
        let what = what[(n >> 50) as usize % 3];
        writeln!(
            text,
            "{:02}:{:02}:{:02}.{:03} {level} api[{}] req={:06x} {what} {} took {} ms, status {}",
            r % 24,
            r % 60,
            r % 59,
            r % 1_000,
            100 + r % 32,
            r & 0xFF_FFFF,
            r % 10_000,
            r % 400,
            200 + r % 16
        )
        .unwrap();
    }
    text
}

/// What cannot be compressed, and is no text.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

/// What comes behind the masker: lines, looked at by all detectors.
fn detected(text: &[u8], mib: usize) -> f64 {
    let all = Detector::ALL.iter().map(|one| one.name().to_owned());
    let plan = MaskPlan {
        actions: vec![vec![MaskAction::Detect(all.collect())]],
        ..MaskPlan::pass(1)
    };
    let mut spans = Spans::new(Kind::Pipe, &plan, 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    best(text, mib, |piece| {
        out.clear();
        assert_eq!(spans.push(black_box(piece), now, &mut out), piece.len());
        black_box(&out);
    })
}

/// The best time of many short runs, for each GiB: others use the machine, too.
fn best(text: &[u8], mib: usize, mut run: impl FnMut(&[u8])) -> f64 {
    let runs = (mib << 20) / text.len();
    let time = |_| {
        let start = Instant::now();
        text.chunks(PIECE).for_each(&mut run);
        start.elapsed().as_secs_f64()
    };
    let best = (0..runs).map(time).fold(f64::INFINITY, f64::min);
    best / f64::from(u32::try_from(text.len()).unwrap()) * f64::from(1 << 30)
}

fn copied(text: &[u8], mib: usize) -> f64 {
    let mut out = BytesMut::new();
    best(text, mib, |piece| {
        out.clear();
        out.put_slice(black_box(piece));
        black_box(&out);
    })
}

fn masked(patterns: &Arc<Patterns>, kind: Kind, text: &[u8], mib: usize) -> f64 {
    let mut masker = Masker::new(patterns.clone(), kind);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    best(text, mib, |piece| {
        out.clear();
        let _ = black_box(masker.push(black_box(piece), now, &mut out));
        black_box(&out);
    })
}
