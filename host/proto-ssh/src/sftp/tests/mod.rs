//! Tests: against OpenSSH's client and server (`real`), against peers who keep to nothing (`hostile`), and with the
//! same bytes cut in every way (`cuts`); and what is said about each request (`told`).

mod cuts;
mod hostile;
mod pack;
mod real;
mod told;
