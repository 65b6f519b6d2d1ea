//! Networks, as the option `source-address` of a certificate lists them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network may be written in one way only: nothing behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("a network is an address, with or without the length of a prefix, as 10.1.0.0/16")]
    Text,
    #[error("a prefix has at most 32 bits, or 128 of an IPv6 address")]
    Prefix,
    #[error("the address of a network has bits behind its prefix")]
    HostBits,
}

/// Addresses with the same beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        let network = Self { address, prefix };
        if u32::from(prefix) > width(address) {
            return Err(NetworkError::Prefix);
        }
        match bits(address) & !network.mask() {
            0 => Ok(network),
            _ => Err(NetworkError::HostBits),
        }
    }

    /// Exactly this address. One of IPv4 in IPv6's clothes is the one of IPv4.
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = u8::try_from(width(address)).unwrap_or(u8::MAX);
        Self { address, prefix }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && bits(address) & self.mask() == bits(self.address)
    }

    /// Of the address's own bits, at the low end; those above it are set too, and never matter.
    fn mask(&self) -> u128 {
        let host_bits = width(self.address).saturating_sub(u32::from(self.prefix));
        u128::MAX.checked_shl(host_bits).unwrap_or(0)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Text)?;
        let Some(prefix) = prefix else {
            let prefix = u8::try_from(width(address)).map_err(|_| NetworkError::Prefix)?;
            return Self::new(address, prefix);
        };
        // `parse` would take a sign and leading zeros.
        if prefix.starts_with(['+', '0']) && prefix != "0" {
            return Err(NetworkError::Text);
        }
        Self::new(address, prefix.parse().map_err(|_| NetworkError::Text)?)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_and_no_other() {
        let rows = [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.9", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            // An IPv4 client on a socket of both kinds is what it is.
            ("10.1.0.0/16", "::ffff:10.1.2.3", true),
            ("::ffff:0:0/96", "10.1.2.3", false),
        ];
        for (network, address, inside) in rows {
            let network: Network = network.parse().unwrap();
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network.contains(address), inside, "{network} {address}");
        }
        let host = Network::host("::ffff:10.1.2.3".parse().unwrap());
        assert_eq!(host.to_string(), "10.1.2.3/32");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.1.0.0/",
            "/8",
            "10.1/16",
            "10.1.0.0/33",
            "::/129",
            "10.1.0.0/-1",
            "10.1.0.0/+8",
            "10.1.0.0/08",
            "10.1.0.0/256",
            "10.1.0.1/16",
            "2001:db8::1/32",
            " 10.1.0.0/16",
            "10.1.0.0/16 ",
            "!10.1.0.0/16",
            "10.1.0.*",
            "fe80::1%eth0/64",
            "host.example",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
