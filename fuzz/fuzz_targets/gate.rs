//! Any bytes as what the helper of a gated shell says: see `gate::fuzzing` in `proto-ssh`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    proto_ssh::fuzzing::gate(data);
});
