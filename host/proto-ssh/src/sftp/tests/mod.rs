//! Tests: against OpenSSH's client and server (`real`), against peers who keep to nothing (`hostile`), and with the
//! same bytes cut in every way (`cuts`).

mod cuts;
mod hostile;
mod pack;
mod real;
