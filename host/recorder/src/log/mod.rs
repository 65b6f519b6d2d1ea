//! The transparency log: every durable record that says something becomes a leaf of a Merkle tree whose
//! checkpoints are signed and whose tiles are static objects, as C2SP tlog-tiles describes them.
//!
//! The sealer gives each durable record to the *sequencer* (`sequence`), in the order of the write-ahead
//! log; leaves go to the spool, and about once a second a checkpoint of them is signed and made durable.
//! The *publisher* (`publish`) stores tiles, and only then the checkpoint that needs them. What is stored it
//! has put down in the *registry* (`registry`), the log of all logs, whose checkpoints witnesses sign.
//!
//! A log belongs to one start of an instance, an *epoch*, and is never continued: what the last process
//! signed is final, and its records without a leaf are the first of the next log, whose leaf 0 names the
//! last checkpoint of the log before. A record of the write-ahead log is let go only when a durable
//! checkpoint covers it.

pub mod check;
pub mod key;
pub mod leaf;
pub mod leaves;
pub mod left;
pub mod names;
pub mod publish;
mod reader;
mod registrar;
pub mod registry;
pub mod registry_check;
pub mod sequence;
pub mod spool;
pub mod subject;
pub mod witness;
