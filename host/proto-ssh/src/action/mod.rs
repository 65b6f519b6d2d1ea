//! Channel and global requests as facts and accesses.
