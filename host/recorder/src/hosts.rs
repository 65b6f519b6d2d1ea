//! Names on hosts that are nobody's secret: what may stay where nothing can be erased, before a host has
//! shown that it is a name at all. A command line is text of a client's: its first word can be a password that
//! was typed in the wrong place, a path can have a person's name in it, a variable can be called anything.

/// Programs that every administrator knows. By others than these nothing is called in the log.
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "adduser", "ansible", "apt", "apt-get", "at", "awk", "base64", "bash", "batch", "bunzip2", "busybox",
    "bzip2", "cargo", "cat", "chattr", "chgrp", "chmod", "chown", "chpasswd", "chroot", "chsh", "cmp",
    "comm", "cp", "crictl", "crontab", "csh", "curl", "cut", "dash", "date", "dd", "df", "diff", "dig",
    "dmesg", "dnf", "docker", "dpkg", "du", "echo", "ed", "egrep", "emacs", "env", "ex", "false", "fdisk",
    "fgrep", "file", "find", "findmnt", "fish", "free", "gawk", "gcc", "gdb", "getent", "git",
    "git-receive-pack", "git-upload-archive", "git-upload-pack", "go", "gpasswd", "gpg", "grep", "groupadd",
    "groupmod", "groups", "gunzip", "gzip", "head", "helm", "host", "hostname", "hostnamectl", "htop", "id",
    "insmod", "install", "internal-sftp", "ionice", "iostat", "ip", "iptables", "java", "journalctl", "jq",
    "kill", "killall", "ksh", "kubectl", "last", "less", "ln", "ls", "lsblk", "lscpu", "lsmod", "lsof",
    "lua", "lxc", "machinectl", "make", "mawk", "md5sum", "mkdir", "mkfs", "mktemp", "modprobe", "more",
    "mosh-server", "mount", "mv", "mysql", "nano", "nc", "ncat", "nerdctl", "netcat", "netstat", "nft",
    "nginx", "nice", "node", "nohup", "nproc", "nsenter", "od", "openssl", "parallel", "passwd", "paste",
    "perl", "php", "pidof", "ping", "pip", "pip3", "pkexec", "pkill", "podman", "printenv", "printf", "ps",
    "psql", "pstree", "pwd", "python", "python2", "python3", "readlink", "realpath", "reboot", "redis-cli",
    "rm", "rmdir", "rmmod", "rpm", "rsync", "ruby", "runuser", "sar", "scp", "screen", "sed", "seq",
    "service", "setcap", "setpriv", "setsid", "sftp", "sftp-server", "sh", "sha256sum", "shred", "shutdown",
    "sleep", "snap", "socat", "sort", "split", "sqlite3", "ss", "ssh", "ssh-add", "ssh-copy-id",
    "ssh-keygen", "stat", "stdbuf", "strace", "strings", "su", "sudo", "sudoedit", "sync", "sysctl",
    "systemctl", "systemd-run", "tac", "tail", "tar", "tcpdump", "tcsh", "tee", "telnet", "test", "timeout",
    "tmux", "top", "touch", "tr", "traceroute", "true", "truncate", "ufw", "umount", "uname", "uniq",
    "unshare", "unzip", "uptime", "useradd", "userdel", "usermod", "vi", "vim", "visudo", "vmstat", "w",
    "watch", "wc", "wget", "which", "who", "whoami", "xargs", "xxd", "xz", "yum", "zcat", "zip", "zsh",
    "zstd",
];

/// The directories that hosts have at their root.
#[rustfmt::skip]
const ROOTS: &[&str] = &[
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run",
    "sbin", "srv", "sys", "tmp", "usr", "var",
];

#[rustfmt::skip]
const VARIABLES: &[&str] = &[
    "BASH_ENV", "CDPATH", "COLORTERM", "DISPLAY", "EDITOR", "ENV", "GIT_PROTOCOL", "GIT_SSH",
    "GIT_SSH_COMMAND", "HOME", "IFS", "LANG", "LANGUAGE", "LC_ADDRESS", "LC_ALL", "LC_COLLATE", "LC_CTYPE",
    "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES", "LC_MONETARY", "LC_NAME", "LC_NUMERIC",
    "LC_PAPER", "LC_TELEPHONE", "LC_TIME", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD", "LESSOPEN",
    "LOGNAME", "NODE_OPTIONS", "NO_COLOR", "PAGER", "PATH", "PERL5LIB", "PERL5OPT", "PROMPT_COMMAND", "PS4",
    "PYTHONPATH", "PYTHONSTARTUP", "RUBYLIB", "RUBYOPT", "SHELL", "SHELLOPTS", "TERM", "TZ", "USER",
    "VISUAL", "XDG_RUNTIME_DIR",
];

const SUBSYSTEMS: &[&str] = &["netconf", "powershell", "sftp"];

/// The program's name, if everybody knows it.
pub fn program(name: &str) -> Option<&'static str> {
    known(PROGRAMS, name)
}

/// The directory at the root that a path from the root is in, if every host has it.
pub fn root(path: &str) -> Option<&'static str> {
    let first = path.strip_prefix('/')?.split('/').find(|p| !p.is_empty())?;
    known(ROOTS, first)
}

pub fn variable(name: &str) -> Option<&'static str> {
    known(VARIABLES, name)
}

pub fn subsystem(name: &str) -> Option<&'static str> {
    known(SUBSYSTEMS, name)
}

fn known(names: &'static [&'static str], name: &str) -> Option<&'static str> {
    let at = names.binary_search(&name).ok()?;
    names.get(at).copied()
}

/// What an access of an SSH host is called where nothing can be erased; none, if it is not of one. `parts` are
/// those of its name.
pub fn resource(
    kind: &str,
    parts: &[&str],
    loopback: bool,
    login: impl FnOnce(&str) -> String,
) -> Option<String> {
    let or_unknown = |name: Option<&str>| name.unwrap_or("?").to_owned();
    let at = |at: usize| parts.get(at).copied().unwrap_or_default();
    let name = match kind {
        // Logins are often people.
        "SshAccount" => login(at(0)),
        "SshProgram" => or_unknown(program(at(1))),
        "SshFile" => match root(at(1)) {
            Some(root) => format!("/{root}"),
            None => "?".into(),
        },
        "SshEndpoint" => {
            let host = if loopback { "loopback" } else { "?" };
            match at(1).parse::<u16>() {
                Ok(port) => format!("{host}:{port}"),
                Err(_) => "?".into(),
            }
        }
        "SshVariable" => or_unknown(variable(at(1))),
        "SshSubsystem" => or_unknown(subsystem(at(1))),
        _ => return None,
    };
    Some(format!("{kind}::{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_can_be_searched() {
        for list in [PROGRAMS, ROOTS, VARIABLES, SUBSYSTEMS] {
            assert!(list.is_sorted(), "{list:?}");
        }
        assert_eq!(program("rm"), Some("rm"));
        assert_eq!(program("zstd"), Some("zstd"));
        assert_eq!(program(""), None);
    }

    /// Whatever a client writes where a name belongs, it is not kept.
    #[test]
    fn what_may_be_a_secret_has_no_name() {
        let who = |name: &str| format!("id-of-{name}");
        for (kind, parts, loopback, expect) in [
            ("SshAccount", &["erin"][..], false, "SshAccount::id-of-erin"),
            (
                "SshProgram",
                &["erin", "rm", "/bin/rm"],
                false,
                "SshProgram::rm",
            ),
            (
                "SshProgram",
                &["erin", "hunter2", "hunter2"],
                false,
                "SshProgram::?",
            ),
            (
                "SshProgram",
                &["erin", "rm -rf", "rm -rf"],
                false,
                "SshProgram::?",
            ),
            (
                "SshFile",
                &["erin", "/home/erin/notes"],
                false,
                "SshFile::/home",
            ),
            ("SshFile", &["erin", "//etc//x"], false, "SshFile::/etc"),
            ("SshFile", &["erin", "/hunter2/x"], false, "SshFile::?"),
            ("SshFile", &["erin", "etc/x"], false, "SshFile::?"),
            ("SshFile", &["erin", "/"], false, "SshFile::?"),
            (
                "SshEndpoint",
                &["erins-laptop", "22"],
                false,
                "SshEndpoint::?:22",
            ),
            (
                "SshEndpoint",
                &["::1", "22"],
                true,
                "SshEndpoint::loopback:22",
            ),
            ("SshEndpoint", &["x", "22x"], false, "SshEndpoint::?"),
            (
                "SshVariable",
                &["erin", "LD_PRELOAD"],
                false,
                "SshVariable::LD_PRELOAD",
            ),
            (
                "SshVariable",
                &["erin", "LANG", "hunter2"],
                false,
                "SshVariable::LANG",
            ),
            ("SshVariable", &["erin", "HUNTER2"], false, "SshVariable::?"),
            ("SshSubsystem", &["erin", "x"], false, "SshSubsystem::?"),
            ("SshProgram", &[], false, "SshProgram::?"),
        ] {
            let name = resource(kind, parts, loopback, who);
            assert_eq!(name.as_deref(), Some(expect), "{parts:?}");
        }
        assert_eq!(resource("PgTable", &["a"], false, who), None);
    }
}
