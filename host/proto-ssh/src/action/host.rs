//! The host of a forwarded connection or a listener, as those read it that will resolve it: however an address is
//! written, policy and people are shown one way of writing it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is usually in the tables of a system as its own.
const ITSELF: [&str; 8] = [
    "localhost",
    "localhost4",
    "localhost6",
    "localhost.localdomain",
    "localhost4.localdomain4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

/// One way of writing where a target is: those of the machine that Weir runs on are the same, too.
pub(crate) fn one_name(host: &str) -> String {
    let host = Host::read(host);
    match host.is_itself() {
        true => "localhost".to_owned(),
        false => host.text.trim_end_matches('.').to_owned(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Names in lower case; addresses in the usual way, and those of IPv4 as such.
    pub text: String,
    address: Option<IpAddr>,
    /// It is written as an address of IPv6 that a translator may turn into the one of IPv4.
    translated: bool,
}

impl Host {
    pub fn read(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let (bare, zone) = match bare.unwrap_or(&host).split_once('%') {
            Some((bare, zone)) => (bare, Some(zone)),
            None => (bare.unwrap_or(&host), None),
        };
        let address = bare
            .parse()
            .ok()
            .or_else(|| inet_aton(bare).map(IpAddr::V4));
        let address = address.map(|address: IpAddr| address.to_canonical());
        let inside = match address {
            Some(IpAddr::V6(v6)) => inside(v6).map(IpAddr::V4),
            _ => None,
        };
        let address = inside.or(address);
        let text = match (address, zone) {
            (Some(address), None) => address.to_string(),
            (Some(address), Some(zone)) => format!("{address}%{zone}"),
            (None, _) => host,
        };
        Self {
            text,
            address,
            translated: inside.is_some(),
        }
    }

    /// Would a connection to it end at the host itself, or may it? What stands in the host's own tables cannot be
    /// known here.
    pub fn may_be_itself(&self) -> bool {
        if let Some(address) = self.address {
            return address.is_loopback() || address.is_unspecified();
        }
        let name = self.text.trim_end_matches('.');
        // What nobody reads as an address, and yet looks like one: some resolver may.
        let digits = |part: &str| {
            let hex = part.strip_prefix("0x").filter(|rest| !rest.is_empty());
            hex.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
                || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
        };
        name.is_empty()
            || name == "*"
            || self.is_itself()
            || name.ends_with(".localhost")
            || name.starts_with("localhost.")
            || name.split('.').all(digits)
    }

    /// Does a listener there take connections of the host itself only?
    pub fn is_itself(&self) -> bool {
        match self.address {
            Some(address) => address.is_loopback() && !self.translated,
            None => {
                let name = self.text.strip_suffix('.').unwrap_or(&self.text);
                ITSELF.contains(&name)
            }
        }
    }
}

/// The address of IPv4 that one of IPv6 leads to, beside the mapped ones, where something translates: RFC 6052 (2.1) and
/// RFC 8215 for NAT64, RFC 3056 for 6to4, RFC 2765 (2.1) and RFC 4291 (2.5.5.1) for what is no longer used.
fn inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => last(high, low),
        // Which length a site's own prefix has is its affair; 96 is the usual one.
        [0x64, 0xff9b, 1, _, _, _, high, low] => last(high, low),
        [0x2002, high, low, ..] => last(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => last(high, low),
        // `::` and `::1` are their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low] => last(high, low),
        _ => None,
    }
}

/// As in `inet_aton(3)`: one to four numbers, each decimal, octal or hexadecimal; the last one is all bytes that are
/// left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let mut address: u32 = 0;
    let mut parts = text.split('.');
    for at in 0..4u32 {
        let value = number(parts.next()?)?;
        let left = 4 - at;
        if parts.clone().next().is_none() {
            let fits = u64::from(value) < 1 << (8 * left);
            return fits.then(|| Ipv4Addr::from(address | value));
        }
        if value > 255 {
            return None;
        }
        address |= value << (8 * (left - 1));
    }
    None
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some("")) => ("0", 10),
        (None, Some(octal)) => (octal, 8),
        (None, None) => (text, 10),
    };
    // It would take a sign, too.
    let all = digits.chars().all(|c| c.is_digit(radix));
    u32::from_str_radix(digits, radix).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_address_however_it_is_written() {
        for (written, expect) in [
            ("169.254.169.254", "169.254.169.254"),
            ("2852039166", "169.254.169.254"),
            ("0xa9fea9fe", "169.254.169.254"),
            ("0XA9FEA9FE", "169.254.169.254"),
            ("0251.0376.0251.0376", "169.254.169.254"),
            ("0xa9.254.0251.0xfe", "169.254.169.254"),
            ("169.16689662", "169.254.169.254"),
            ("169.254.43518", "169.254.169.254"),
            ("000000251.254.169.254", "169.254.169.254"),
            ("::ffff:a9fe:a9fe", "169.254.169.254"),
            ("::FFFF:169.254.169.254", "169.254.169.254"),
            ("[::ffff:a9fe:a9fe]", "169.254.169.254"),
            ("::ffff:a9fe:a9fe%eth0", "169.254.169.254%eth0"),
            ("fd00:0ec2::254", "fd00:ec2::254"),
            ("fd00:ec2:0:0:0:0:0:254", "fd00:ec2::254"),
            ("FE80::1%eth0", "fe80::1%eth0"),
            ("64:ff9b::7f00:1", "127.0.0.1"),
            ("64:ff9b::169.254.169.254", "169.254.169.254"),
            ("[64:FF9B::a00:7]", "10.0.0.7"),
            ("64:ff9b:1::a9fe:a9fe", "169.254.169.254"),
            ("64:ff9b:1:2:3:4:a9fe:a9fe", "169.254.169.254"),
            ("2002:a9fe:a9fe::1", "169.254.169.254"),
            ("::ffff:0:a9fe:a9fe", "169.254.169.254"),
            ("::169.254.169.254", "169.254.169.254"),
            ("64:ff9c::7f00:1", "64:ff9c::7f00:1"),
            ("64:ff9b:2::7f00:1", "64:ff9b:2::7f00:1"),
            ("::1", "::1"),
            ("::", "::"),
            ("2001:db8::7f00:1", "2001:db8::7f00:1"),
            ("0", "0.0.0.0"),
            ("127.1", "127.0.0.1"),
            // Names.
            ("Db.Internal", "db.internal"),
            ("256.1.1.1", "256.1.1.1"),
            ("1.2.3.4.5", "1.2.3.4.5"),
            ("1.2.3.4.", "1.2.3.4."),
            ("1..2", "1..2"),
            ("08.1", "08.1"),
            ("0x", "0x"),
            ("+1", "+1"),
            ("0x+1", "0x+1"),
            ("4294967296", "4294967296"),
            ("", ""),
        ] {
            assert_eq!(Host::read(written).text, expect, "{written:?}");
        }
    }

    #[test]
    fn the_host_itself_by_any_of_its_names() {
        for (host, may_be, is) in [
            ("localhost", true, true),
            ("LOCALHOST", true, true),
            ("localhost.", true, true),
            ("localhost4", true, true),
            ("localhost6", true, true),
            ("localhost.localdomain", true, true),
            ("localhost.example.com", true, false),
            ("a.localhost", true, false),
            ("127.0.0.1", true, true),
            ("127.9.9.9", true, true),
            ("127.1", true, true),
            ("0x7f.1", true, true),
            ("0x7f000001", true, true),
            ("2130706433", true, true),
            ("017700000001", true, true),
            ("::1", true, true),
            ("[::1]", true, true),
            ("::1%lo", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("64:ff9b::7f00:1", true, false),
            ("64:ff9b:1::7f00:1", true, false),
            ("2002:7f00:1::", true, false),
            ("::127.0.0.1", true, false),
            ("64:ff9b::", true, false),
            ("64:ff9b::a00:1", false, false),
            ("0.0.0.0", true, false),
            ("0", true, false),
            ("::", true, false),
            ("::ffff:0:0", true, false),
            ("", true, false),
            ("*", true, false),
            ("08.1", true, false),
            ("127.0.0.1.", true, false),
            ("10.0.0.1", false, false),
            ("3232235777", false, false),
            ("db.internal", false, false),
            ("0x", false, false),
            ("face.b00c", false, false),
        ] {
            let read = Host::read(host);
            assert_eq!(
                (read.may_be_itself(), read.is_itself()),
                (may_be, is),
                "{host:?}"
            );
        }
    }
}
