//! The API from the outside.

mod acts;
mod plugins;
mod refusals;
mod served;
