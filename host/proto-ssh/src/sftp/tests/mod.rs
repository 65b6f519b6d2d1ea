//! Tests: against OpenSSH's client and server (`real`).

mod real;
