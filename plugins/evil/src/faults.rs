//! What goes wrong, and what a decent plugin would do.

use std::hint::black_box;

use weir_plugin::host::{self, Level, kv};
use weir_plugin::{Batch, Edits};

/// Never returns for the modes it knows; returns for the others.
#[allow(clippy::panic)] // The point of this crate.
pub fn commit(mode: &str) {
    match mode {
        "trap" => panic!("on purpose"),
        "loop" => loop {
            black_box(());
        },
        "log-loop" => loop {
            host::log(Level::Error, &"spam ".repeat(10_000), &[("k", "v")]);
        },
        "alloc" => alloc(),
        "recurse" => {
            black_box(recurse(black_box(1)));
        }
        "recurse-arrays" => {
            black_box(recurse_arrays(black_box(1)));
        }
        _ => {}
    }
}

fn alloc() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(vec![1; 1 << 20]);
        black_box(&kept);
    }
}

/// Uses up the native stack: nothing here needs the shadow stack.
fn recurse(n: u64) -> u64 {
    let n = black_box(n);
    if n == 0 {
        return 1;
    }
    let deeper = recurse(n.wrapping_add(1).max(1));
    black_box(deeper).wrapping_mul(n) ^ 1
}

/// Uses up the shadow stack in linear memory.
fn recurse_arrays(n: u64) -> u64 {
    let mut array = [n; 512];
    if black_box(n) == 0 {
        return 1;
    }
    black_box(&mut array);
    let deeper = recurse_arrays(black_box(n + 1));
    deeper ^ black_box(array).iter().sum::<u64>()
}

/// How often this was called for `subject`, as far as the store knows.
pub fn count(subject: &str) -> u8 {
    let n = kv::increment(subject, 1, Some(60)).unwrap_or(-1);
    u8::try_from(n).unwrap_or(100).min(100)
}

/// Writes until the store says no. 1 when it did, with the error for the quota.
pub fn kv_flood() -> u8 {
    if kv::set("large", &vec![0; 1 << 20], None) != Err(kv::Error::TooLarge) {
        return 90;
    }
    for i in 0..100_000_u32 {
        match kv::set(&i.to_string(), &[0; 1024], None) {
            Ok(()) => {}
            Err(kv::Error::Quota) => return 1,
            Err(_) => return 91,
        }
    }
    92
}

const PATTERN: u64 = 0x5ec2_e75e_c2e7_0b5e;
#[cfg(target_arch = "wasm32")]
const PAGES: usize = 128;

/// Leaves a pattern all over fresh memory of this instance; how many words of it can be read back.
#[cfg(target_arch = "wasm32")]
pub fn fill() -> usize {
    let words = grow();
    for i in 0..PAGES * 8192 {
        // SAFETY: `grow` gave `PAGES` pages that nothing else uses.
        #[allow(unsafe_code)]
        unsafe {
            words.add(i).write_volatile(PATTERN);
        }
    }
    count_pattern(words)
}

/// How many words of the pattern are in memory that this instance has never written.
#[cfg(target_arch = "wasm32")]
pub fn scan() -> usize {
    count_pattern(grow())
}

#[cfg(target_arch = "wasm32")]
fn grow() -> *mut u64 {
    let old = core::arch::wasm32::memory_grow(0, PAGES);
    assert!(old != usize::MAX, "memory.grow failed");
    (old * 65_536) as *mut u64
}

#[cfg(target_arch = "wasm32")]
fn count_pattern(words: *const u64) -> usize {
    (0..PAGES * 8192)
        .filter(|i| {
            // SAFETY: `words` points to `PAGES` pages; every bit pattern is a u64. The allocator
            // would clear the memory, which is what must not happen here.
            #[allow(unsafe_code)]
            let word = unsafe { words.add(*i).read_volatile() };
            word == PATTERN
        })
        .count()
}

#[cfg(not(target_arch = "wasm32"))]
pub fn fill() -> usize {
    black_box(PATTERN) as usize
}

#[cfg(not(target_arch = "wasm32"))]
pub fn scan() -> usize {
    0
}

/// Every value becomes all values of the batch.
pub fn steal(batch: &Batch) -> Edits {
    let count = u32::try_from(batch.ends.len()).unwrap_or(u32::MAX);
    let all = u32::try_from(batch.data.len()).unwrap_or(u32::MAX);
    Edits {
        indexes: (0..count).collect(),
        ends: (1..=count).map(|i| i.saturating_mul(all)).collect(),
        data: batch.data.repeat(batch.ends.len()),
        nulls: Vec::new(),
    }
}

/// Every value becomes `<column>:<length>`.
pub fn describe_values(batch: &Batch) -> Edits {
    let mut edits = Edits {
        indexes: Vec::new(),
        ends: Vec::new(),
        data: Vec::new(),
        nulls: Vec::new(),
    };
    let mut start = 0;
    for (i, (end, col)) in batch.ends.iter().zip(&batch.cols).enumerate() {
        let text = format!("{col}:{}", end - start);
        start = *end;
        edits.data.extend_from_slice(text.as_bytes());
        edits.indexes.push(u32::try_from(i).unwrap_or(u32::MAX));
        edits
            .ends
            .push(u32::try_from(edits.data.len()).unwrap_or(u32::MAX));
    }
    edits
}
