//! What listens in on a channel's data: file transfers are read in flight, secrets in text are masked.

mod files;
mod text;

pub(super) use files::Files;
pub(super) use text::{Text, columns};
