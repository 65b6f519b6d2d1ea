//! Decisions of a real Weir, made again.

mod honest;
mod hosts;
mod stage;
mod upstream;
mod week;
