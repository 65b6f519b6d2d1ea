//! An action on an SSH host.

use std::io::{self, Write};

use super::{field, list};
use crate::doc::SshDoc;
use crate::text::clean;

/// What was asked for on a line of its own, then what is in it.
pub(super) fn ssh_action(at: &str, seq: u64, ssh: &SshDoc, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "\n{at}  #{seq} {}", clean(&ssh.kind))?;
    if let Some(channel) = ssh.channel {
        write!(out, " on channel {channel}")?;
    }
    let mut lines = ssh.text.lines();
    match (lines.next(), ssh.text.lines().count()) {
        (None, _) => writeln!(out)?,
        (Some(only), 1) => writeln!(out, ": {}", clean(only))?,
        (Some(_), _) => {
            writeln!(out)?;
            for line in ssh.text.lines() {
                writeln!(out, "    {}", clean(line))?;
            }
        }
    }
    list(out, "not clear", &ssh.opaque)?;
    for command in &ssh.commands {
        let mut text = command.by.join(" ");
        if !text.is_empty() {
            text.push_str(" → ");
        }
        text.push_str(&command.argv.join(" "));
        if let Some(user) = &command.as_user {
            text.push_str(&format!(" (as {user})"));
        }
        field(out, "runs", &clean(&text))?;
    }
    for path in &ssh.paths {
        let way = if path.writes { "writes" } else { "reads" };
        field(out, way, &clean(&path.path))?;
    }
    for (name, value) in &ssh.env {
        field(out, "variable", &clean(&format!("{name}={value}")))?;
    }
    if let Some(stdin) = &ssh.stdin {
        let text = format!("{} bytes, SHA-256 {}", stdin.bytes, stdin.sha256);
        field(out, "input", &clean(&text))?;
        for line in stdin.text.lines() {
            writeln!(out, "      {}", clean(line))?;
        }
    }
    Ok(())
}
