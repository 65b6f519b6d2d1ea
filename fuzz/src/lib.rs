//! What the targets share.

use std::sync::Once;

/// Parsers of others whose panics are caught, so that only other panics are findings.
///
/// - Where pg_raw_parse's generated code says that a list holds one kind of node and the grammar lets it hold
///   others, its accessors panic: `CREATE STATISTICS s ON a FROM f(1)`. Such a text counts as not understood.
/// - brush-parser is a second opinion only, on a thread of its own; a panic there counts as a disagreement.
const CAUGHT: [&str; 2] = ["pg_raw_parse", "brush-parser"];

/// To be called before a target does anything: the fuzzer's own hook ends the process on every panic.
pub fn let_pass_what_is_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let known = panic
                .location()
                .is_some_and(|l| CAUGHT.iter().any(|c| l.file().contains(c)));
            if !known {
                fatal(panic);
            }
        }));
    });
}
