//! Recordings at rest are encrypted: each stream has a key of its own, which is wrapped by a configured
//! one. Erasing a session is destroying its key.

pub mod container;
pub mod files;
pub mod key;
pub mod read;
pub mod recover;
pub mod ring;
pub mod wrap;
