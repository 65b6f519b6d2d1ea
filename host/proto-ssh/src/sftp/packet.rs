//! Packets of version 3: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for the extensions.

use super::cut::Need;
use super::error::Wrong;
use crate::transfer::Attributes;
use crate::wire::{Reader, WireError};

/// The only version that is read here.
pub(super) const VERSION_3: u32 = 3;
/// The longest packet, without its length: what OpenSSH's server and client take.
pub const PACKET_MAX: u32 = 256 << 10;
/// The longest packet that is kept until it is whole: everything but contents of files and lists of names.
pub const CONTROL_MAX: u32 = 64 << 10;
/// The longest handle, by the draft.
pub const HANDLE_MAX: usize = 256;

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

pub(super) const FX_OK: u32 = 0;
pub(super) const FX_EOF: u32 = 1;
pub(super) const FX_PERMISSION_DENIED: u32 = 3;
pub(super) const FX_FAILURE: u32 = 4;

pub(super) const FXF_READ: u32 = 0x01;
pub(super) const FXF_WRITE: u32 = 0x02;
pub(super) const FXF_APPEND: u32 = 0x04;
pub(super) const FXF_CREAT: u32 = 0x08;
pub(super) const FXF_TRUNC: u32 = 0x10;
pub(super) const FXF_EXCL: u32 = 0x20;
pub(super) const FXF_ALL: u32 = 0x3f;

const ATTR_SIZE: u32 = 0x01;
const ATTR_UIDGID: u32 = 0x02;
const ATTR_PERMISSIONS: u32 = 0x04;
const ATTR_ACMODTIME: u32 = 0x08;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// Length and type.
const PREFIX: usize = 5;
/// Length, type and number of the request.
pub(super) const HEAD: usize = 9;

/// Of INIT and VERSION: where the version stands.
pub(super) const VERSION_AT: usize = PREFIX;

/// How much of the client's packet that begins with `bytes` has to be seen at once.
pub(super) fn client_need(bytes: &[u8]) -> Result<Need, Wrong> {
    let (len, kind) = match prefix(bytes)? {
        Ok(prefix) => prefix,
        Err(more) => return Ok(more),
    };
    let whole = 4 + len as usize;
    if kind != WRITE {
        limit(len, CONTROL_MAX)?;
        return Ok(Need::Head {
            len: whole,
            body: 0,
        });
    }
    room_for(kind, whole, HEAD + 4)?;
    let Some(handle) = u32_at(bytes, HEAD) else {
        return Ok(Need::More(HEAD + 4));
    };
    let handle = handle as usize;
    if handle > HANDLE_MAX {
        return Err(Wrong::HandleLength(handle));
    }
    // Number, length of the handle, the handle, offset, length of the contents.
    let head = HEAD + 4 + handle + 8 + 4;
    room_for(kind, whole, head)?;
    let Some(contents) = u32_at(bytes, head - 4) else {
        return Ok(Need::More(head));
    };
    contents_fit(kind, whole, head, contents)
}

/// The same for the server's packets. `streams` says of a request's number that its
/// list of names is not looked into.
pub(super) fn server_need(bytes: &[u8], streams: impl Fn(u32) -> bool) -> Result<Need, Wrong> {
    let (len, kind) = match prefix(bytes)? {
        Ok(prefix) => prefix,
        Err(more) => return Ok(more),
    };
    let whole = 4 + len as usize;
    match kind {
        DATA => {
            room_for(kind, whole, HEAD + 4)?;
            match u32_at(bytes, HEAD) {
                Some(contents) => contents_fit(kind, whole, HEAD + 4, contents),
                None => Ok(Need::More(HEAD + 4)),
            }
        }
        NAME | EXTENDED_REPLY => match u32_at(bytes, PREFIX) {
            None => Ok(Need::More(HEAD)),
            Some(id) if streams(id) => Ok(Need::Head {
                len: HEAD,
                body: whole.saturating_sub(HEAD),
            }),
            Some(_) => {
                limit(len, CONTROL_MAX)?;
                Ok(Need::Head {
                    len: whole,
                    body: 0,
                })
            }
        },
        _ => {
            limit(len, CONTROL_MAX)?;
            Ok(Need::Head {
                len: whole,
                body: 0,
            })
        }
    }
}

/// Length and type, once they are there.
fn prefix(bytes: &[u8]) -> Result<Result<(u32, u8), Need>, Wrong> {
    let Some(len) = u32_at(bytes, 0) else {
        return Ok(Err(Need::More(PREFIX)));
    };
    limit(len, PACKET_MAX)?;
    Ok(bytes
        .get(4)
        .map(|kind| (len, *kind))
        .ok_or(Need::More(PREFIX)))
}

/// Type and number are always there.
fn limit(len: u32, max: u32) -> Result<(), Wrong> {
    let min = HEAD as u64 - 4;
    if u64::from(len) < min || len > max {
        return Err(Wrong::Length {
            len: len.into(),
            min,
            max: max.into(),
        });
    }
    Ok(())
}

/// The head must end within its own packet: what follows is another one.
fn room_for(kind: u8, whole: usize, head: usize) -> Result<(), Wrong> {
    if whole < head {
        let error = WireError::Short;
        return Err(Wrong::Layout { kind, error });
    }
    Ok(())
}

/// The contents must be what is left of the packet: a length of their own that differs makes two readings.
fn contents_fit(kind: u8, whole: usize, head: usize, contents: u32) -> Result<Need, Wrong> {
    match whole.checked_sub(head) {
        Some(body) if body == contents as usize => Ok(Need::Head { len: head, body }),
        room => Err(Wrong::Contents {
            kind,
            says: contents.into(),
            room: room.unwrap_or(0) as u64,
        }),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}

/// A request of the client's, but for INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking<'a> {
    Open {
        path: &'a [u8],
        flags: u32,
        attributes: Attributes,
    },
    /// Of a handle: CLOSE, FSTAT, READDIR.
    Handle(&'a [u8]),
    Read {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    /// Of a path: LSTAT, OPENDIR, REMOVE, RMDIR, REALPATH, STAT, READLINK.
    Path(&'a [u8]),
    /// SETSTAT, MKDIR.
    PathWith(&'a [u8], Attributes),
    HandleWith(&'a [u8], Attributes),
    /// RENAME, SYMLINK.
    Two(&'a [u8], &'a [u8]),
    Extended(&'a [u8], Extension<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension<'a> {
    /// posix-rename@openssh.com
    Rename(&'a [u8], &'a [u8]),
    HardLink(&'a [u8], &'a [u8]),
    StatVfs(&'a [u8]),
    FstatVfs(&'a [u8]),
    Fsync(&'a [u8]),
    SetAttributes(&'a [u8], Attributes),
    Limits,
    ExpandPath(&'a [u8]),
    AccountNames,
    Home(&'a [u8]),
    Copy {
        from: &'a [u8],
        to: &'a [u8],
    },
    Unknown,
}

/// Reads everything of a request behind its number; of WRITE, the contents are not there yet.
pub(super) fn asking<'a>(kind: u8, mut r: Reader<'a>) -> Result<Asking<'a>, Wrong> {
    let layout = |error| Wrong::Layout { kind, error };
    let read = match kind {
        OPEN => Asking::Open {
            path: r.string().map_err(layout)?,
            flags: r.u32().map_err(layout)?,
            attributes: attributes(kind, &mut r)?,
        },
        CLOSE | FSTAT | READDIR => Asking::Handle(handle(&mut r, kind)?),
        READ => Asking::Read {
            handle: handle(&mut r, kind)?,
            offset: r.u64().map_err(layout)?,
            len: r.u32().map_err(layout)?,
        },
        WRITE => Asking::Write {
            handle: handle(&mut r, kind)?,
            offset: r.u64().map_err(layout)?,
            len: r.u32().map_err(layout)?,
        },
        LSTAT | OPENDIR | REMOVE | RMDIR | REALPATH | STAT | READLINK => {
            Asking::Path(r.string().map_err(layout)?)
        }
        SETSTAT | MKDIR => Asking::PathWith(r.string().map_err(layout)?, attributes(kind, &mut r)?),
        FSETSTAT => Asking::HandleWith(handle(&mut r, kind)?, attributes(kind, &mut r)?),
        RENAME | SYMLINK => Asking::Two(r.string().map_err(layout)?, r.string().map_err(layout)?),
        EXTENDED => {
            let name = r.string().map_err(layout)?;
            match extension(name, &mut r)? {
                Extension::Unknown => return Ok(Asking::Extended(name, Extension::Unknown)),
                known => Asking::Extended(name, known),
            }
        }
        other => return Err(Wrong::Type(other)),
    };
    r.end().map_err(layout)?;
    Ok(read)
}

fn extension<'a>(name: &[u8], r: &mut Reader<'a>) -> Result<Extension<'a>, Wrong> {
    let kind = EXTENDED;
    let layout = |error| Wrong::Layout { kind, error };
    Ok(match name {
        b"posix-rename@openssh.com" => {
            Extension::Rename(r.string().map_err(layout)?, r.string().map_err(layout)?)
        }
        b"hardlink@openssh.com" => {
            Extension::HardLink(r.string().map_err(layout)?, r.string().map_err(layout)?)
        }
        b"statvfs@openssh.com" => Extension::StatVfs(r.string().map_err(layout)?),
        b"fstatvfs@openssh.com" => Extension::FstatVfs(handle(r, kind)?),
        b"fsync@openssh.com" => Extension::Fsync(handle(r, kind)?),
        b"lsetstat@openssh.com" => {
            Extension::SetAttributes(r.string().map_err(layout)?, attributes(kind, r)?)
        }
        b"limits@openssh.com" => Extension::Limits,
        b"expand-path@openssh.com" => Extension::ExpandPath(r.string().map_err(layout)?),
        b"users-groups-by-id@openssh.com" => {
            r.string().map_err(layout)?;
            r.string().map_err(layout)?;
            Extension::AccountNames
        }
        b"home-directory" => Extension::Home(r.string().map_err(layout)?),
        b"copy-data" => {
            let from = handle(r, kind)?;
            r.u64().map_err(layout)?;
            r.u64().map_err(layout)?;
            let to = handle(r, kind)?;
            r.u64().map_err(layout)?;
            Extension::Copy { from, to }
        }
        _ => Extension::Unknown,
    })
}

fn handle<'a>(r: &mut Reader<'a>, kind: u8) -> Result<&'a [u8], Wrong> {
    let handle = r.string().map_err(|error| Wrong::Layout { kind, error })?;
    if handle.len() > HANDLE_MAX {
        return Err(Wrong::HandleLength(handle.len()));
    }
    Ok(handle)
}

/// The attributes that a request gives a file.
fn attributes(kind: u8, r: &mut Reader<'_>) -> Result<Attributes, Wrong> {
    let layout = |error| Wrong::Layout { kind, error };
    let flags = r.u32().map_err(layout)?;
    let known = ATTR_SIZE | ATTR_UIDGID | ATTR_PERMISSIONS | ATTR_ACMODTIME | ATTR_EXTENDED;
    if flags & !known != 0 {
        return Err(Wrong::Attributes { kind, flags });
    }
    let mut given = Attributes::default();
    if flags & ATTR_SIZE != 0 {
        given.size = Some(r.u64().map_err(layout)?);
    }
    if flags & ATTR_UIDGID != 0 {
        given.owner = Some((r.u32().map_err(layout)?, r.u32().map_err(layout)?));
    }
    if flags & ATTR_PERMISSIONS != 0 {
        given.mode = Some(r.u32().map_err(layout)?);
    }
    if flags & ATTR_ACMODTIME != 0 {
        r.u64().map_err(layout)?;
    }
    if flags & ATTR_EXTENDED != 0 {
        // Each takes eight bytes at least, so a count that lies ends with the packet.
        for _ in 0..r.u32().map_err(layout)? {
            r.string().map_err(layout)?;
            r.string().map_err(layout)?;
        }
        given.extended = true;
    }
    Ok(given)
}

/// The names of the extensions that VERSION offers, as far as they can be read.
pub(super) fn extensions<'a>(mut r: Reader<'a>) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        let name = r.string().ok()?;
        r.string().ok()?;
        Some(name)
    })
}

/// The path of an answer to REALPATH.
pub(super) fn only_name<'a>(mut r: Reader<'a>) -> Result<Option<&'a [u8]>, WireError> {
    if r.u32()? != 1 {
        return Ok(None);
    }
    r.string().map(Some)
}
