//! What a shell command line runs, as far as reading it can tell.
