//! Decisions of a real Weir, made again.

mod honest;
mod stage;
mod upstream;
mod week;
