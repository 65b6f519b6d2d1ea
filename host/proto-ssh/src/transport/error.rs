//! What can go wrong on a leg, and what the peer is told of it.

use std::time::Duration;

use super::cipher::CipherError;
use super::config::HostKeyError;
use super::ident::IdentError;
use super::kex::KexError;
use super::kexinit::NegotiationError;
use super::packet::PacketError;
use crate::wire::WireError;
use crate::wire::numbers::disconnect;

/// Every one of these ends the leg.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(transparent)]
    Ident(#[from] IdentError),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    #[error(transparent)]
    Kex(#[from] KexError),
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error("a message {number} is not laid out as its RFC wants it: {source}")]
    Layout { number: u8, source: WireError },
    #[error("the peer sent a message {number} {when}")]
    OutOfOrder { number: u8, when: &'static str },
    #[error("a KEXINIT has {length} bytes; at most {max} are taken")]
    KexInitTooLong { length: usize, max: usize },
    #[error("the host proves itself with {got}, where {wanted} was agreed on")]
    HostKeyAlgorithm { wanted: String, got: String },
    #[error("the host has another key than at the start of the connection")]
    HostKeyChanged,
    #[error("the host's key was not accepted")]
    HostKeyRefused,
    #[error(
        "before there were keys, {0} messages came that belong to no key exchange, and {1} does not show whether any are missing: use strict key exchange or AES-GCM"
    )]
    Prefixed(u32, &'static str),
    #[error("a key exchange was not over after {0:?}")]
    ExchangeTimeout(Duration),
    #[error(
        "the peer began more than {0} key exchanges, before it logged in or with nothing in between"
    )]
    TooManyExchanges(u32),
    #[error("the peer sent {0} packets under the same keys")]
    KeysWornOut(u64),
    #[error("{waiting} bytes wait to be sent, and no more than {max} may")]
    Backlog { waiting: usize, max: usize },
    #[error("no random bytes could be had")]
    Random,
    #[error("the leg is closed")]
    Closed,
}

impl TransportError {
    /// For SSH_MSG_DISCONNECT.
    pub fn reason(&self) -> u32 {
        match self {
            Self::Packet(PacketError::Cipher(CipherError::NotAuthentic)) => disconnect::MAC_ERROR,
            Self::Negotiation(_) | Self::Kex(_) | Self::ExchangeTimeout(_) | Self::HostKey(_) => {
                disconnect::KEY_EXCHANGE_FAILED
            }
            Self::HostKeyAlgorithm { .. } | Self::HostKeyChanged | Self::HostKeyRefused => {
                disconnect::HOST_KEY_NOT_VERIFIABLE
            }
            Self::Backlog { .. } | Self::Random | Self::Closed => disconnect::BY_APPLICATION,
            _ => disconnect::PROTOCOL_ERROR,
        }
    }

    /// What the peer may read: whose fault it was, and nothing about us but what we have offered anyway.
    pub fn told(&self) -> String {
        match self {
            Self::Backlog { .. } | Self::Random | Self::Closed | Self::HostKey(_) => {
                "internal error".to_owned()
            }
            other => other.to_string(),
        }
    }
}
