//! Reads the protocol of the old scp in flight.
