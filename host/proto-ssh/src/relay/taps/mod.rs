//! What listens in on a channel's data: file transfers are read in flight, secrets in text are masked.

mod beside;
mod files;
mod text;

pub(super) use beside::Beside;
pub(super) use files::Files;
pub(super) use text::{Text, columns};
