//! The API from the outside.

mod acts;
mod refusals;
mod served;
