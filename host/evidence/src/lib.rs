//! Evidence packages: what a store holds about a window of time, in one zip that an auditor can read with
//! a spreadsheet and verify without us.
//!
//! Place in the flow: beside the recorder, which it reads through `recorder::Store`; nothing that runs
//! depends on it. [`make`] makes a package, [`check_package`] verifies one with nothing but public keys.
//!
//! A window is one range of leaves in each transparency log, since a log's leaves are in the order of their
//! times. A package has all leaves of these ranges, with what proves that they are what the log has
//! signed, and everything else in it either follows from these leaves or is the record behind one.
//!
//! - **Architecture invariant:** whatever is derived from leaves is derived by one function (`derive`),
//!   for whoever makes a package and whoever verifies one. A changed byte of it changes `FORMAT`.
//! - **Architecture invariant:** a package is read as if whoever made it meant harm: bounded, by names that
//!   the manifest has, and nothing is unpacked.
//! - **Architecture invariant:** a package has no recorded bytes. Text of statements and names of people
//!   are only in the records of the sample, and of whoever was asked for (`names`).

mod archive;
mod check;
mod controls;
mod csv;
mod derive;
mod fetch;
mod finding;
mod halt;
mod items;
mod later;
mod leaf;
mod left;
mod logs;
mod make;
mod manifest;
pub mod ocsf;
mod policies;
mod prove;
mod receive;
mod records;
mod select;
mod tables;

#[cfg(test)]
mod tests;

pub use archive::{ArchiveError, MAX_PACKAGE};
pub use check::{CheckError, PackageReport, check_package};
pub use finding::Finding;
pub use halt::{Halt, Watch, unwatched};
pub use leaf::{Leaf, LeafError};
pub use left::LeftOut;
pub use make::{MakeError, Order, clean, make, make_unnamed};
pub use manifest::Manifest;
pub use receive::{ReceiveError, Receiving};
pub use select::{MAX_SAMPLE, SAMPLE, Selection, Window};
