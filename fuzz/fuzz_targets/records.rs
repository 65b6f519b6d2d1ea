//! Any bytes as the recording of an SSH session, however it is cut: what is read of it must not depend on the cuts,
//! every byte is read or counted, and nothing in the lines that are made of it steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshframes::{Lines, Message, Messages, is_whole};

// As they are in the recorder, of which nothing else is needed: with it, a store and a client of HTTP would have to be
// built for this.
#[path = "../../host/recorder/src/sshframes.rs"]
mod sshframes;
#[path = "../../host/recorder/src/text.rs"]
mod text;

/// `text::clean` makes ten characters of one at most, and the lossy conversion three bytes of one.
const MAX_GROWTH: usize = 30;

/// What is read of it, and how many bytes are left over.
fn read(data: &[u8], size: usize) -> (Vec<Option<Message>>, u64) {
    let mut messages = Messages::default();
    let mut all = Vec::new();
    for piece in data.chunks(size) {
        messages.feed(piece, &mut |message| all.push(message));
    }
    (all, messages.left())
}

/// Both directions of two actions, a piece of each in turn.
fn lines(data: &[u8], size: usize) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    for (n, piece) in data.chunks(size).enumerate() {
        let (action, from_server) = ((n as u64 / 2) % 2, n % 2 == 0);
        lines.feed(action, from_server, piece, &mut |line| all.push(line));
    }
    lines.finish(&mut |line| all.push(line));
    all
}

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let size = 1 + usize::from(*size);
    let whole = read(data, usize::MAX);
    assert_eq!(whole, read(data, size));
    let (messages, left) = &whole;
    // Each has a length before it and a number in it.
    assert!(messages.len() * 5 <= data.len() + 5 && *left <= data.len() as u64);
    if is_whole(data) {
        assert!(*left == 0 && !messages.is_empty() && messages.iter().all(Option::is_some));
    }
    for line in lines(data, size) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() <= 64 + (data.len() + 1) * MAX_GROWTH);
    }
});
