//! Reads the SSH File Transfer Protocol, version 3, in flight.
