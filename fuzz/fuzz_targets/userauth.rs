//! Both sides of the authentication protocol, with a peer who keeps to nothing: see `startup::fuzzing` and
//! `upstream::fuzzing` in `proto-ssh`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((mode, data)) if mode & 1 == 0 => proto_ssh::fuzzing::userauth(mode >> 1, data),
        Some((mode, data)) => proto_ssh::fuzzing::login(mode >> 1, data),
        None => {}
    }
});
