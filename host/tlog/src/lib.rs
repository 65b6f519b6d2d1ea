//! Transparency logs in the formats of C2SP (<https://c2sp.org>): what a log writes, and what whoever
//! reads it checks.
//!
//! - [`Tree`] grows by a leaf at a time and yields the tiles of tlog-tiles; [`push_entry`] and
//!   [`entries`] are the bundles beside them, [`Tile`] says where each of these files lies.
//! - [`inclusion_proof`] and [`consistency_proof`] make proofs out of tiles, [`check_inclusion`] and
//!   [`check_consistency`] check them (RFC 6962, 2.1; RFC 9162, 2.1).
//! - [`Note`] is a signed note, [`Checkpoint`] the one that a log signs; cosignatures of witnesses are
//!   signatures of it.
//! - [`ProofFile`] is tlog-proof, [`Policy`] tlog-policy, [`witness`] what is said to a witness
//!   (tlog-witness).
//!
//! Place in the flow: below everything. Whoever writes the log, delivers it or verifies it brings the
//! bytes; here they get their meaning.
//!
//! - **Architecture invariant:** no I/O, no clock, no task: bytes in, bytes out. The one thing that
//!   comes from outside is randomness, in [`Ed25519Signer::generate`].
//! - **Architecture invariant:** each thing has one spelling. What is read and written again is the
//!   same bytes; every other spelling is refused.
//! - **Architecture invariant:** tiles and proofs are not trusted. A proof that is handed out has been
//!   checked against the root that it is for.
//! - **Architecture invariant:** a note with a wrong signature by a key that is known counts for
//!   nothing, whatever else it is signed with.

mod checkpoint;
mod entries;
mod hash;
mod keys;
mod note;
mod policy;
mod proof;
mod proof_file;
mod text;
mod tile;
mod tree;
pub mod witness;

#[cfg(test)]
mod testing;

pub use checkpoint::{Checkpoint, CheckpointError, Opened, open_checkpoint, sign_checkpoint};
pub use entries::{EntryError, MAX_ENTRY, bundle_of, entries, push_entry};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use keys::{
    CosignatureSigner, CosignatureVerifier, Ed25519Signer, Ed25519Verifier, KeyError,
    cosignature_time,
};
pub use note::{
    Limits, MAX_NOTE, MAX_SIGNATURES, Note, NoteError, SignError, Signature, Signer, Verified,
    Verifier,
};
pub use policy::{
    Accepted, MAX_POLICY, MAX_POLICY_LINES_OF_A_KIND, Policy, PolicyError, PolicyLineError,
    PolicyLog, PolicyWitness,
};
pub use proof::{
    MAX_PROOF, ProofError, TileMap, check_consistency, check_inclusion, consistency_proof,
    consistency_tiles, inclusion_proof, inclusion_tiles, root_from_tiles, root_tiles,
};
pub use proof_file::{MAX_PROOF_FILE, ProofFile, ProofFileError};
pub use tile::{Kind, MAX_LEVEL, TILE_WIDTH, Tile, tiles_of};
pub use tree::{Tree, TreeError};

/// The largest tree that is read or written. Other implementations keep sizes in signed numbers of 64
/// bits.
pub const MAX_SIZE: u64 = i64::MAX as u64;
