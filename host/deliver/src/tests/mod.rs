//! Receivers that refuse, hang, break off and lie, and logs with holes.

mod faults;
mod logs;
mod otlp;
mod restarts;
mod stage;
mod syslog;
mod tls;
