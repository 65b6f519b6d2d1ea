//! What is wrong with a stream that does not keep to the protocol. The channel ends: which bytes are a request
//! cannot be told any more.

use crate::wire::WireError;

/// Whose stream it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SftpError {
    #[error("sftp, from the client: {0}")]
    Client(Wrong),
    #[error("sftp, from the server: {0}")]
    Server(Wrong),
    #[error(
        "there is no open sftp request with the ticket {0}; the relay must answer each one once"
    )]
    Ticket(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("a packet of {len} bytes; at least {min} and at most {max} are allowed for its type")]
    Length { len: u64, min: u64, max: u64 },
    #[error("a packet of type {kind} is not laid out as that type: {error}")]
    Layout { kind: u8, error: WireError },
    #[error("a packet of type {kind} names attributes that version 3 does not have ({flags:#x})")]
    Attributes { kind: u8, flags: u32 },
    #[error(
        "a packet of type {kind} says that {says} bytes of a file are in it, but has room for {room}"
    )]
    Contents { kind: u8, says: u64, room: u64 },
    #[error("a handle of {0} bytes; at most 256 are allowed")]
    HandleLength(usize),
    #[error("a packet of type {0}, which does not belong there")]
    Type(u8),
    #[error("version {0} of the protocol; only version 3 is read here")]
    Version(u32),
    #[error("the request number {0} is used again before it was answered")]
    IdAgain(u32),
    #[error("an answer to the request number {0}, which is not open")]
    NoSuchId(u32),
    #[error("an answer of type {kind} to the request number {id}, which asks for something else")]
    Answer { id: u32, kind: u8 },
    #[error("more than {0} requests are open at once")]
    InFlight(usize),
    #[error("it gives the same handle to two open files")]
    HandleAgain,
    #[error("{got} bytes of a file were sent where {wanted} were asked for")]
    TooMuch { got: u32, wanted: u32 },
    #[error("it ends within a packet")]
    CutOff,
}
