//! What listens in on the data of a channel: masks, and readers of file transfers.

mod mask;
mod transfer;

pub(super) use mask::MaskTap;
pub(super) use transfer::TransferTap;
