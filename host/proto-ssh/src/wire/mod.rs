//! Messages of SSH as bytes: the data types of RFC 4251 section 5, the numbers of RFC 4250, and the messages of
//! the connection protocol (RFC 4254). Pure; borrows from the packet that it reads.

mod connection;
pub mod numbers;
mod read;
mod write;

pub use connection::{ChannelMessage, Connection, Open, Request};
pub use read::{Reader, WireError};
pub use write::Put;
