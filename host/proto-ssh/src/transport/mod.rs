//! One leg of a connection: identification, key exchange, packets, rekeying (RFC 4253). Pure: bytes and `now` in,
//! events and bytes out.
