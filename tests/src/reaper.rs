//! Ends what was started, also when this process dies without unwinding.
//!
//! A shell waits on a pipe that only this process holds. Daemons are written into the pipe when
//! they start and when they are reaped; at its end, which comes however this process ends, the shell
//! stops those that are left and removes their directories.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' ' ; dirs=''
while read -r what arg; do
  case "$what" in
    add) pids="$pids$arg " ;;
    del) pids="${pids/ $arg / }" ;;
    dir) dirs="$dirs$arg
" ;;
  esac
done
for pid in $pids; do kill -INT "$pid" 2>/dev/null; done
[ "$pids" = ' ' ] || sleep 1
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
printf '%s' "$dirs" | while read -r dir; do rm -rf -- "$dir"; done
"#;

struct Reaper {
    shell: Mutex<Child>,
}

fn reaper() -> Option<&'static Reaper> {
    static REAPER: OnceLock<Option<Reaper>> = OnceLock::new();
    REAPER
        .get_or_init(|| {
            let shell = Command::new("bash")
                .args(["-c", SCRIPT])
                // What ends this process and its group does not end it.
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            Some(Reaper {
                shell: Mutex::new(shell),
            })
        })
        .as_ref()
}

fn tell(line: &str) {
    let Some(reaper) = reaper() else { return };
    let Ok(mut shell) = reaper.shell.lock() else {
        return;
    };
    if let Some(stdin) = shell.stdin.as_mut() {
        // If the shell is gone there is nobody to tell; Drop still stops each daemon.
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }
}

pub(crate) fn add(pid: u32) {
    tell(&format!("add {pid}"));
}

pub(crate) fn del(pid: u32) {
    tell(&format!("del {pid}"));
}

/// Removed when this process has ended. For what lives as long as the process.
pub(crate) fn remove_at_end(dir: &Path) {
    tell(&format!("dir {}", dir.display()));
}
