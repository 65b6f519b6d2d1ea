//! Tests that could not be run on this machine, and how that is said.

use std::io::Write;

use crate::paths;

/// Says that something was not tested, where it cannot be overlooked: past the test harness, which
/// keeps what a passing test prints, and in a file that `cargo xtask test` shows at its end.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stdout(), "SKIPPED: {why}");
    let file = paths::skipped();
    let written = std::fs::create_dir_all(paths::scratch())
        .and_then(|()| {
            let mut options = std::fs::File::options();
            options.create(true).append(true).open(&file)
        })
        .and_then(|mut file| writeln!(file, "{why}"));
    assert!(written.is_ok(), "{}: {written:?}", file.display());
}

/// The same for what `cargo xtask deps` installs: where CI runs, that is no reason to skip.
pub fn not_installed(what: &str) {
    assert!(
        std::env::var_os("WEIR_TEST_NO_SKIP").is_none(),
        "{what}: run `cargo xtask deps`"
    );
    skipped(what);
}
