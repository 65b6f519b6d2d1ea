//! The records of scp, which were rcp's: C (file), D (directory), E (its end), T (times).

use super::error::Wrong;
use crate::transfer::printable;

/// A record with its end of line. OpenSSH reads 2048 bytes.
pub const RECORD_MAX: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    File {
        mode: u32,
        size: u64,
        name: &'a [u8],
    },
    Directory {
        mode: u32,
        name: &'a [u8],
    },
    End,
    Times,
}

impl<'a> Record<'a> {
    /// Reads a line, its end taken off.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Wrong> {
        let Some((first, rest)) = line.split_first() else {
            return Err(Wrong::Record(b'\n'));
        };
        match first {
            b'C' => {
                let (mode, size, name) = named(rest).ok_or(Wrong::Layout('C'))?;
                let name = check(name)?;
                Ok(Self::File { mode, size, name })
            }
            b'D' => {
                let (mode, _, name) = named(rest).ok_or(Wrong::Layout('D'))?;
                let name = check(name)?;
                Ok(Self::Directory { mode, name })
            }
            b'E' if rest.is_empty() => Ok(Self::End),
            b'E' => Err(Wrong::Layout('E')),
            b'T' => {
                let mut fields = rest.split(|b| *b == b' ');
                let four = [(); 4].map(|()| fields.next().and_then(decimal));
                if four.iter().any(Option::is_none) || fields.next().is_some() {
                    return Err(Wrong::Layout('T'));
                }
                Ok(Self::Times)
            }
            other => Err(Wrong::Record(*other)),
        }
    }
}

/// Mode, size and name. The name is all that follows the second space.
fn named(rest: &[u8]) -> Option<(u32, u64, &[u8])> {
    let mut fields = rest.splitn(3, |b| *b == b' ');
    let (mode, size, name) = (fields.next()?, fields.next()?, fields.next()?);
    if mode.len() != 4 {
        return None;
    }
    let mode = mode.iter().try_fold(0, |mode: u32, b| match b {
        b'0'..=b'7' => Some(mode << 3 | u32::from(b - b'0')),
        _ => None,
    })?;
    Some((mode, decimal(size)?, name))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// A name is one entry of the directory that it is written to, and no way out of it.
fn check(name: &[u8]) -> Result<&[u8], Wrong> {
    let leaves = matches!(name, b"" | b"." | b"..");
    if leaves || name.iter().any(|b| matches!(b, b'/' | 0)) {
        return Err(Wrong::Name(printable(name)));
    }
    Ok(name)
}
