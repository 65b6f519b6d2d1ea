//! Against a file that is written as a server writes it: no hash is ever one of something else.

use std::collections::VecDeque;

use aws_lc_rs::digest;

use super::{AHEAD_MAX, Budget, Content, PIECES_MAX, Track, Why};

/// The file on the server.
struct File(Vec<u8>);

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset..end].copy_from_slice(bytes);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}

#[test]
fn a_hash_is_of_what_is_in_the_file() {
    let mut random = Random(3);
    let (mut whole_ones, mut parts, mut none) = (0, 0, 0);
    for _ in 0..30_000 {
        let empty = random.below(2) == 0;
        let old = if empty { 0 } else { random.below(60) };
        let mut file = File(vec![0xee; old]);
        let mut budget = Budget::default();
        let mut track = Track::new(empty);
        // The server's answers about sizes come later than what was sent behind them.
        let mut answers: VecDeque<u64> = VecDeque::new();
        let mut next = 0;
        for _ in 0..random.below(8) {
            match random.below(10) {
                0 => {
                    let size = random.below(60);
                    file.0.resize(size, 0);
                    answers.push_back(size as u64);
                }
                1 => {
                    let offset = random.below(50);
                    let bytes = vec![random.below(256) as u8; random.below(10)];
                    file.write(offset, &bytes);
                    track.data(offset as u64, &bytes, &mut budget);
                }
                // Two neighbours, the second one first.
                2 if next > 0 => {
                    let bytes: Vec<u8> = (0..10).map(|_| random.below(256) as u8).collect();
                    file.write(next + 5, &bytes[5..]);
                    track.data(next as u64 + 5, &bytes[5..], &mut budget);
                    file.write(next, &bytes[..5]);
                    track.data(next as u64, &bytes[..5], &mut budget);
                    next += 10;
                }
                _ => {
                    let bytes: Vec<u8> = (0..random.below(10))
                        .map(|_| random.below(256) as u8)
                        .collect();
                    file.write(next, &bytes);
                    track.data(next as u64, &bytes, &mut budget);
                    next += bytes.len();
                }
            }
            if random.below(2) == 0
                && let Some(size) = answers.pop_front()
            {
                track.cut(size, &mut budget);
            }
        }
        for size in answers {
            track.cut(size, &mut budget);
        }
        let (bytes, content) = track.finish(&mut budget);
        assert_eq!(budget.used, 0);
        match content {
            Content::Hashed {
                sha256,
                whole: true,
            } => {
                whole_ones += 1;
                assert_eq!(sha256, sha(&file.0));
                assert_eq!(bytes, file.0.len() as u64);
            }
            Content::Hashed {
                sha256,
                whole: false,
            } => {
                parts += 1;
                assert_eq!(sha256, sha(&file.0[..bytes as usize]));
            }
            Content::Unhashed(_) => none += 1,
        }
    }
    assert!(
        whole_ones > 1000 && parts > 1000 && none > 1000,
        "{whole_ones} {parts} {none}"
    );
}

#[test]
fn what_waits_is_bounded_over_all_files_of_a_channel() {
    let mut budget = Budget::default();
    let block = vec![1; AHEAD_MAX / 4];
    let mut tracks: Vec<Track> = (0..5).map(|_| Track::new(true)).collect();
    for track in &mut tracks {
        track.data(0, b"x", &mut budget);
        track.data(100, &block, &mut budget);
    }
    assert_eq!(budget.used, AHEAD_MAX);
    let contents: Vec<_> = tracks
        .into_iter()
        .map(|track| track.finish(&mut budget).1)
        .collect();
    assert_eq!(contents[3], Content::Unhashed(Why::Gaps));
    assert_eq!(contents[4], Content::Unhashed(Why::OutOfOrder));
    assert_eq!(budget.used, 0);
    // Many pieces of one byte.
    let mut track = Track::new(true);
    track.data(0, b"x", &mut budget);
    for n in 1..=PIECES_MAX as u64 + 1 {
        track.data(2 * n, b"x", &mut budget);
    }
    assert_eq!(budget.used, 0);
    assert_eq!(
        track.finish(&mut budget).1,
        Content::Unhashed(Why::OutOfOrder)
    );
}
