//! Any script of lines of a gated shell: see `gate::fuzzing` in `proto-ssh`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    proto_ssh::fuzzing::lines(data);
});
