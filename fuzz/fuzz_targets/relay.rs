//! A client and a host that keep to nothing, with a relay's core between them and decisions that come at any time: see
//! `relay::core::fuzzing` in `proto-ssh`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    proto_ssh::fuzzing::relay(data);
});
