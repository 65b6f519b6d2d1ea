//! sock_diag(7): one request about one TCP connection, and its answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::OnTheWay;

/// What is on its way from the one end to the other.
pub(super) fn ask(local: SocketAddr, peer: SocketAddr) -> io::Result<OnTheWay> {
    // linux/socket.h and linux/netlink.h
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    let kind = (Domain::from(AF_NETLINK), Protocol::from(NETLINK_SOCK_DIAG));
    let mut socket = Socket::new(kind.0, Type::DGRAM, Some(kind.1))?;
    // The system answers before the request returns.
    socket.set_nonblocking(true)?;
    socket.write_all(&request(local, peer))?;
    let mut answer = [0; MAX_ANSWER];
    let n = socket.read(&mut answer)?;
    let answer = answer.get(..n).unwrap_or_default();
    read(answer).ok_or_else(|| io::Error::other("sock_diag does not know this connection"))
}

/// The answer is about one connection, in some hundred bytes.
const MAX_ANSWER: usize = 4 << 10;

// linux/netlink.h: what stands before each message.
const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
// linux/inet_diag.h
const INET_DIAG_INFO: u8 = 2;
const NO_COOKIE: [u8; 8] = [0xff; 8];
const REQUEST: usize = 56;
/// Of `inet_diag_msg`: where `idiag_wqueue` stands, and how long it is.
const WQUEUE: usize = 60;
const ANSWER: usize = 72;
/// Of `tcp_info` (linux/tcp.h).
const RETRANSMITS: usize = 2;
const PROBES: usize = 3;
const LAST_ACK_RECV: usize = 56;

/// For `inet_diag_req_v2`, this connection alone.
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    let mut out = Vec::with_capacity(HEADER + REQUEST);
    let length = u32::try_from(HEADER + REQUEST).unwrap_or_default();
    out.extend(length.to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend(NLM_F_REQUEST.to_ne_bytes());
    // Number of the request, and who asks: there is one, on a socket of its own.
    out.extend([0; 8]);
    let family = match local {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    };
    out.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    // In any state.
    out.extend([0xff; 4]);
    out.extend(local.port().to_be_bytes());
    out.extend(peer.port().to_be_bytes());
    for at in [local.ip(), peer.ip()] {
        match at {
            IpAddr::V4(ip) => {
                out.extend(ip.octets());
                out.extend([0; 12]);
            }
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
    }
    let interface = match local {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(at) => at.scope_id(),
    };
    out.extend(interface.to_ne_bytes());
    out.extend(NO_COOKIE);
    out
}

/// None: there is no such connection, or the answer is not what it should be.
fn read(message: &[u8]) -> Option<OnTheWay> {
    let u32_at = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*bytes))
    };
    let u16_at = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..)?.first_chunk::<2>()?;
        Some(u16::from_ne_bytes(*bytes))
    };
    let length = u32_at(message, 0)? as usize;
    let message = message.get(..length)?;
    if u16_at(message, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let answer = message.get(HEADER..)?;
    let bytes = u32_at(answer, WQUEUE)?;
    let mut attributes = answer.get(ANSWER..)?;
    loop {
        let (length, kind) = (u16_at(attributes, 0)? as usize, u16_at(attributes, 2)?);
        let value = attributes.get(4..length)?;
        if kind == u16::from(INET_DIAG_INFO) {
            let again = *value.get(RETRANSMITS)?;
            let asked = *value.get(PROBES)?;
            let silent = u32_at(value, LAST_ACK_RECV)?;
            return Some(OnTheWay {
                bytes,
                unanswered: again.max(asked),
                silent: Duration::from_millis(silent.into()),
            });
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_none_say_nothing() {
        let at = |n: u16| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), n);
        assert_eq!(request(at(1), at(2)).len(), HEADER + REQUEST);
        let mut answer = Vec::new();
        let info = 60_u16 + 4;
        let length = HEADER + ANSWER + 8 + usize::from(info);
        answer.extend(u32::try_from(length).unwrap().to_ne_bytes());
        answer.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend([0; ANSWER]);
        answer[HEADER + WQUEUE..][..4].copy_from_slice(&7_u32.to_ne_bytes());
        // One of another kind in front, whose end is filled up.
        answer.extend(5_u16.to_ne_bytes());
        answer.extend(8_u16.to_ne_bytes());
        answer.extend([0; 4]);
        answer.extend(info.to_ne_bytes());
        answer.extend(u16::from(INET_DIAG_INFO).to_ne_bytes());
        let mut told = [0; 60];
        (told[RETRANSMITS], told[PROBES]) = (1, 4);
        told[LAST_ACK_RECV..].copy_from_slice(&1500_u32.to_ne_bytes());
        answer.extend(told);
        let expect = OnTheWay {
            bytes: 7,
            unanswered: 4,
            silent: Duration::from_millis(1500),
        };
        assert_eq!(read(&answer), Some(expect));
        for end in 0..answer.len() {
            assert_eq!(read(&answer[..end]), None, "{end}");
            let mut cut = answer[..end].to_vec();
            if let Some(length) = cut.first_chunk_mut::<4>() {
                *length = u32::try_from(end).unwrap().to_ne_bytes();
            }
            assert_eq!(read(&cut), None, "{end}");
        }
        // An attribute without a length would be read for ever.
        let mut endless = answer.clone();
        endless[HEADER + ANSWER..][..2].copy_from_slice(&[0; 2]);
        assert_eq!(read(&endless), None);
        // What the system says of an error.
        let mut error = answer;
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(read(&error), None);
    }
}
