//! Tests: against OpenSSH's scp on both ends (`real`), and against peers who keep to nothing (`hostile`).

mod hostile;
mod real;
