//! Receivers that refuse, hang, break off and lie, and logs with holes.

mod faults;
mod logs;
mod otlp;
mod stage;
mod syslog;
mod tls;
