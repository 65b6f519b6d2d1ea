//! The write-ahead log: files of compressed, checksummed, chained blocks.

pub mod ahead;
pub mod format;
pub mod scan;
pub mod writer;
