//! Tests: against OpenSSH's scp on both ends (`real`).

mod real;
