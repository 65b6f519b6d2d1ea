//! Ends the servers that are left when this process ends, in whatever way it does: what is in a static or
//! leaked is not dropped.
//!
//! A shell reads their directories from a pipe that only this process holds, and acts at its end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

const SCRIPT: &str = r#"
while IFS= read -r dir; do set -- "$@" "$dir"; done
for dir in "$@"; do
  # A server that was stopped has taken this away with its directory.
  pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null || continue
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
done
rm -rf -- "$@"
"#;

/// The server in this directory, with its data in `data`, lives no longer than this process.
// The shell outlives this process, to clean up after it.
#[allow(clippy::zombie_processes)]
pub(crate) fn ends_with_us(dir: &Path) {
    static SHELL: LazyLock<Mutex<Child>> = LazyLock::new(|| {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT])
            // What ends this process by its group does not end the shell.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Mutex::new(shell.unwrap())
    });
    let mut shell = SHELL.lock().unwrap();
    let stdin = shell.stdin.as_mut().unwrap();
    writeln!(stdin, "{}", dir.display()).unwrap();
}
