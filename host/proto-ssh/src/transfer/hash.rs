//! The hash of a file that passes in pieces, some of them out of order.
//!
//! A hash is of every byte from the file's first on, each once and in the order of offsets; where that cannot be
//! had, there is a reason and no hash.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

#[cfg(test)]
mod tests;

/// Bytes of one channel that came before those in front of them, over all its files. A client that has 64 reads
/// of 256 KiB on the way and gets a short one first needs more; its file is then not hashed.
const AHEAD_MAX: usize = 4 << 20;
/// Pieces of one file that wait for what is in front of them.
const PIECES_MAX: usize = 1024;

/// What is known about the contents that were transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Hashed {
        /// SHA-256 of what was transferred.
        sha256: [u8; 32],
        /// That is all of the file: a read went on to its end, a write began with an empty one or cut it there.
        whole: bool,
    },
    Unhashed(Why),
}

/// Why there is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was transferred.
    Nothing,
    /// It did not begin at the file's first byte: a transfer that is resumed, or a look into the file.
    NotFromStart,
    /// Bytes in between were left out.
    Gaps,
    /// Bytes were transferred more than once.
    Again,
    /// The server puts them at the end, wherever that is.
    Appended,
    /// The server copied other bytes into it, or cut it.
    Changed,
    /// A write failed.
    Failed,
    /// It ended before everything was answered.
    Unfinished,
    /// Too many bytes came before those in front of them.
    OutOfOrder,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing was transferred",
            Self::NotFromStart => "it did not begin at the start",
            Self::Gaps => "bytes in between were left out",
            Self::Again => "bytes were transferred more than once",
            Self::Appended => "they were appended",
            Self::Changed => "the server copied into the file or cut it",
            Self::Failed => "it failed",
            Self::Unfinished => "it was not finished",
            Self::OutOfOrder => "they came too far out of order",
        }
    }
}

/// How many bytes of a channel wait for those in front of them.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: usize,
}

/// One direction of one file.
pub(crate) struct Track {
    digest: digest::Context,
    /// Everything before it is in the digest.
    next: u64,
    /// Nothing was transferred from here on.
    end_seen: u64,
    ahead: BTreeMap<u64, Vec<u8>>,
    bytes: u64,
    begun: bool,
    why: Option<Why>,
    /// It was empty when it was opened.
    empty: bool,
    /// Where reading found the end.
    end: Option<u64>,
    /// The size that it was given.
    cut: Option<u64>,
}

impl Track {
    pub(crate) fn new(empty: bool) -> Self {
        Self {
            digest: digest::Context::new(&digest::SHA256),
            next: 0,
            end_seen: 0,
            ahead: BTreeMap::new(),
            bytes: 0,
            begun: false,
            why: None,
            empty,
            end: None,
            cut: None,
        }
    }

    /// There will be no hash. The first reason stays.
    pub(crate) fn spoil(&mut self, why: Why, budget: &mut Budget) {
        if self.why.is_none() {
            self.why = Some(why);
        }
        for piece in std::mem::take(&mut self.ahead).values() {
            budget.used = budget.used.saturating_sub(piece.len());
        }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Bytes from `offset` on are asked for, or come.
    pub(crate) fn begin(&mut self, offset: u64, budget: &mut Budget) {
        if !self.begun {
            self.begun = true;
            if offset != 0 {
                self.spoil(Why::NotFromStart, budget);
            }
        }
    }

    pub(crate) fn data(&mut self, offset: u64, bytes: &[u8], budget: &mut Budget) {
        self.begin(offset, budget);
        let len = bytes.len() as u64;
        self.bytes = self.bytes.saturating_add(len);
        self.end_seen = self.end_seen.max(offset.saturating_add(len));
        if self.why.is_some() || bytes.is_empty() {
            return;
        }
        if offset == self.next {
            self.take(bytes);
            self.catch_up(budget);
        } else if offset < self.next {
            self.spoil(Why::Again, budget);
        } else {
            self.keep(offset, bytes, budget);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.next = self.next.saturating_add(bytes.len() as u64);
    }

    fn catch_up(&mut self, budget: &mut Budget) {
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > self.next {
                return;
            }
            let (offset, piece) = entry.remove_entry();
            budget.used = budget.used.saturating_sub(piece.len());
            if offset < self.next {
                return self.spoil(Why::Again, budget);
            }
            self.take(&piece);
        }
    }

    fn keep(&mut self, offset: u64, bytes: &[u8], budget: &mut Budget) {
        if bytes.len() > AHEAD_MAX.saturating_sub(budget.used) || self.ahead.len() >= PIECES_MAX {
            return self.spoil(Why::OutOfOrder, budget);
        }
        let before = self.ahead.range_mut(..=offset).next_back();
        match before {
            Some((start, piece)) => match start.saturating_add(piece.len() as u64).cmp(&offset) {
                // What lies in two pieces is found when they are taken, unless it is of the same piece.
                std::cmp::Ordering::Greater => return self.spoil(Why::Again, budget),
                std::cmp::Ordering::Equal => piece.extend_from_slice(bytes),
                std::cmp::Ordering::Less => {
                    self.ahead.insert(offset, bytes.to_vec());
                }
            },
            None => {
                self.ahead.insert(offset, bytes.to_vec());
            }
        }
        budget.used += bytes.len();
    }

    /// A read from `offset` on found the end.
    pub(crate) fn end(&mut self, offset: u64) {
        self.end = Some(self.end.map_or(offset, |known| known.min(offset)));
    }

    /// The file was made `size` bytes long.
    pub(crate) fn cut(&mut self, size: u64, budget: &mut Budget) {
        if size < self.end_seen {
            self.spoil(Why::Changed, budget);
        }
        self.cut = Some(size);
    }

    /// How many bytes passed, and what they were.
    pub(crate) fn finish(mut self, budget: &mut Budget) -> (u64, Content) {
        if !self.ahead.is_empty() {
            self.spoil(Why::Gaps, budget);
        }
        let bytes = self.bytes;
        let content = match self.why {
            Some(why) => Content::Unhashed(why),
            None => self.hashed(),
        };
        (bytes, content)
    }

    fn hashed(self) -> Content {
        let whole = match self.cut {
            // Cut where something had not come yet, and written beyond that since.
            Some(size) => size <= self.next,
            None => self.empty || self.end.is_some_and(|end| end <= self.next),
        };
        if self.next == 0 && !whole {
            return Content::Unhashed(Why::Nothing);
        }
        match self.digest.finish().as_ref().try_into() {
            Ok(sha256) => Content::Hashed { sha256, whole },
            Err(_) => Content::Unhashed(Why::Nothing),
        }
    }
}
