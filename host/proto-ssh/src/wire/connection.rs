//! Messages of the connection protocol, RFC 4254. What is not changed is forwarded as the bytes it came in.

use super::numbers as n;
use super::read::{Reader, WireError};
use super::write::Put;

/// One message with a number from 80 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection<'a> {
    GlobalRequest {
        name: &'a [u8],
        want_reply: bool,
        data: &'a [u8],
    },
    RequestSuccess {
        data: &'a [u8],
    },
    RequestFailure,
    Open(Open<'a>),
    OpenConfirmation {
        recipient: u32,
        sender: u32,
        window: u32,
        max_packet: u32,
        data: &'a [u8],
    },
    OpenFailure {
        recipient: u32,
        reason: u32,
        description: &'a [u8],
    },
    Channel {
        recipient: u32,
        message: ChannelMessage<'a>,
    },
}

/// SSH_MSG_CHANNEL_OPEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    pub kind: &'a [u8],
    pub sender: u32,
    pub window: u32,
    pub max_packet: u32,
    pub data: &'a [u8],
}

/// A message of one open channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelMessage<'a> {
    WindowAdjust { bytes: u32 },
    Data(&'a [u8]),
    ExtendedData { code: u32, data: &'a [u8] },
    Eof,
    Close,
    Request(Request<'a>),
    Success,
    Failure,
}

/// SSH_MSG_CHANNEL_REQUEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub name: &'a [u8],
    pub want_reply: bool,
    pub data: &'a [u8],
}

impl<'a> Connection<'a> {
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload);
        let number = r.u8()?;
        match number {
            n::GLOBAL_REQUEST => {
                let (name, want_reply) = (r.string()?, r.bool()?);
                let data = r.rest();
                return Ok(Self::GlobalRequest {
                    name,
                    want_reply,
                    data,
                });
            }
            n::REQUEST_SUCCESS => return Ok(Self::RequestSuccess { data: r.rest() }),
            n::REQUEST_FAILURE => {
                r.end()?;
                return Ok(Self::RequestFailure);
            }
            n::CHANNEL_OPEN => {
                return Ok(Self::Open(Open {
                    kind: r.string()?,
                    sender: r.u32()?,
                    window: r.u32()?,
                    max_packet: r.u32()?,
                    data: r.rest(),
                }));
            }
            _ => {}
        }
        let recipient = match number {
            n::CHANNEL_OPEN_CONFIRMATION..=n::CHANNEL_FAILURE => r.u32()?,
            _ => return Err(WireError::Unknown(number)),
        };
        let message = match number {
            n::CHANNEL_OPEN_CONFIRMATION => {
                return Ok(Self::OpenConfirmation {
                    recipient,
                    sender: r.u32()?,
                    window: r.u32()?,
                    max_packet: r.u32()?,
                    data: r.rest(),
                });
            }
            n::CHANNEL_OPEN_FAILURE => {
                let (reason, description) = (r.u32()?, r.string()?);
                // The language tag; some servers leave it out.
                if !r.rest().is_empty() {
                    r.string()?;
                }
                r.end()?;
                return Ok(Self::OpenFailure {
                    recipient,
                    reason,
                    description,
                });
            }
            n::CHANNEL_WINDOW_ADJUST => {
                let bytes = r.u32()?;
                r.end()?;
                ChannelMessage::WindowAdjust { bytes }
            }
            n::CHANNEL_DATA => {
                let data = r.string()?;
                r.end()?;
                ChannelMessage::Data(data)
            }
            n::CHANNEL_EXTENDED_DATA => {
                let (code, data) = (r.u32()?, r.string()?);
                r.end()?;
                ChannelMessage::ExtendedData { code, data }
            }
            n::CHANNEL_REQUEST => ChannelMessage::Request(Request {
                name: r.string()?,
                want_reply: r.bool()?,
                data: r.rest(),
            }),
            other => {
                r.end()?;
                match other {
                    n::CHANNEL_EOF => ChannelMessage::Eof,
                    n::CHANNEL_CLOSE => ChannelMessage::Close,
                    n::CHANNEL_SUCCESS => ChannelMessage::Success,
                    n::CHANNEL_FAILURE => ChannelMessage::Failure,
                    _ => return Err(WireError::Unknown(other)),
                }
            }
        };
        Ok(Self::Channel { recipient, message })
    }

    pub fn write(&self, out: &mut impl Put) {
        match *self {
            Self::GlobalRequest {
                name,
                want_reply,
                data,
            } => {
                out.byte(n::GLOBAL_REQUEST)
                    .string(name)
                    .flag(want_reply)
                    .raw(data);
            }
            Self::RequestSuccess { data } => {
                out.byte(n::REQUEST_SUCCESS).raw(data);
            }
            Self::RequestFailure => {
                out.byte(n::REQUEST_FAILURE);
            }
            Self::Open(open) => {
                out.byte(n::CHANNEL_OPEN)
                    .string(open.kind)
                    .uint32(open.sender)
                    .uint32(open.window)
                    .uint32(open.max_packet)
                    .raw(open.data);
            }
            Self::OpenConfirmation {
                recipient,
                sender,
                window,
                max_packet,
                data,
            } => {
                out.byte(n::CHANNEL_OPEN_CONFIRMATION)
                    .uint32(recipient)
                    .uint32(sender)
                    .uint32(window)
                    .uint32(max_packet)
                    .raw(data);
            }
            Self::OpenFailure {
                recipient,
                reason,
                description,
            } => {
                out.byte(n::CHANNEL_OPEN_FAILURE)
                    .uint32(recipient)
                    .uint32(reason)
                    .string(description)
                    .string(b"");
            }
            Self::Channel { recipient, message } => message.write(recipient, out),
        }
    }
}

impl ChannelMessage<'_> {
    pub fn write(&self, recipient: u32, out: &mut impl Put) {
        match *self {
            Self::WindowAdjust { bytes } => out
                .byte(n::CHANNEL_WINDOW_ADJUST)
                .uint32(recipient)
                .uint32(bytes),
            Self::Data(data) => out.byte(n::CHANNEL_DATA).uint32(recipient).string(data),
            Self::ExtendedData { code, data } => out
                .byte(n::CHANNEL_EXTENDED_DATA)
                .uint32(recipient)
                .uint32(code)
                .string(data),
            Self::Eof => out.byte(n::CHANNEL_EOF).uint32(recipient),
            Self::Close => out.byte(n::CHANNEL_CLOSE).uint32(recipient),
            Self::Request(request) => out
                .byte(n::CHANNEL_REQUEST)
                .uint32(recipient)
                .string(request.name)
                .flag(request.want_reply)
                .raw(request.data),
            Self::Success => out.byte(n::CHANNEL_SUCCESS).uint32(recipient),
            Self::Failure => out.byte(n::CHANNEL_FAILURE).uint32(recipient),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(message: Connection<'_>) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        assert_eq!(Connection::parse(&bytes), Ok(message));
        for cut in 0..bytes.len() {
            // Whatever is cut off is an error or a shorter message of the same layout, never a panic.
            let _ = Connection::parse(&bytes[..cut]);
        }
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        round(Connection::GlobalRequest {
            name: b"tcpip-forward",
            want_reply: true,
            data: b"\0\0\0\0",
        });
        round(Connection::RequestSuccess { data: b"" });
        round(Connection::RequestFailure);
        round(Connection::Open(Open {
            kind: b"session",
            sender: 7,
            window: 1 << 21,
            max_packet: 1 << 15,
            data: b"",
        }));
        round(Connection::OpenConfirmation {
            recipient: 7,
            sender: 0,
            window: 0,
            max_packet: 1,
            data: b"",
        });
        round(Connection::OpenFailure {
            recipient: 7,
            reason: 1,
            description: b"no",
        });
        for message in [
            ChannelMessage::WindowAdjust { bytes: 9 },
            ChannelMessage::Data(b"\xff\0"),
            ChannelMessage::ExtendedData {
                code: 1,
                data: b"e",
            },
            ChannelMessage::Eof,
            ChannelMessage::Close,
            ChannelMessage::Request(Request {
                name: b"exec",
                want_reply: true,
                data: b"\0\0\0\x02ls",
            }),
            ChannelMessage::Success,
            ChannelMessage::Failure,
        ] {
            round(Connection::Channel {
                recipient: 3,
                message,
            });
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused() {
        assert_eq!(
            Connection::parse(&[n::CHANNEL_EOF, 0, 0, 0, 1, 0]),
            Err(WireError::Trailing(1))
        );
        assert_eq!(Connection::parse(&[83]), Err(WireError::Unknown(83)));
        assert_eq!(
            Connection::parse(&[101, 0, 0, 0, 0]),
            Err(WireError::Unknown(101))
        );
        assert_eq!(Connection::parse(&[]), Err(WireError::Short));
    }
}
