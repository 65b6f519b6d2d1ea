//! The API from the outside.

mod acts;
mod audit;
mod erase;
mod packages;
mod plugins;
mod refusals;
mod served;
mod ssh;
mod ssh_hosts;
mod ssh_keys;
mod ssh_tokens;
mod watch;
mod watch_served;
