//! A client without a session, which does what it wants, and streams inside its connection, which do so, too: see
//! `jump::fuzzing` in `proto-ssh`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| proto_ssh::fuzzing::jump(data));
