//! Any bytes as a command line and as a script: reading must neither panic nor run without bound, and the canonical
//! form must be read as what it was made from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shell::{Limits, Reading, read, read_script};

/// Small, so that what is slow is found as such.
fn limits() -> Limits {
    Limits {
        bytes: 8 << 10,
        ..Limits::default()
    }
}

fn words(reading: &Reading) -> Vec<Vec<Option<&str>>> {
    let known = |w: &'_ shell::Word| !w.dynamic;
    reading
        .commands
        .iter()
        .map(|c| {
            c.argv
                .iter()
                .map(|w| known(w).then_some(w.text.as_str()))
                .collect()
        })
        .collect()
}

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    let reading = read(data, &limits());
    assert!(!(reading.only_reads && reading.is_opaque()));
    if let Some(form) = &reading.canonical {
        let again = read(form, &Limits::default());
        assert!(!again.is_opaque(), "{:?}", again.opaque);
        assert_eq!(words(&again), words(&reading));
    }
    read_script(data, "sh", &limits());
});
