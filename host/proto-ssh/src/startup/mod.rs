//! From a raw socket to an authenticated client (RFC 4252), and which target it wants.
