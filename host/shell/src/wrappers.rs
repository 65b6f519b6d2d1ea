//! Programs that run the command behind their own options.

use crate::options::Spec;

const NONE: Spec = Spec {
    flags: "",
    values: "",
    attached: "",
    long: &[],
    long_values: &[],
    operands: 0,
    assigns: false,
};

/// Those that need nothing but their options to be known.
pub(crate) fn spec(name: &str) -> Option<Spec> {
    Some(match name {
        "sudo" | "sudo-rs" | "sudo.ws" => Spec {
            flags: "ABbEeHiKklNnPSsVv",
            values: "CDghpRTtUu",
            long: &[
                "askpass",
                "background",
                "preserve-env",
                "preserve-env=",
                "set-home",
                "login",
                "non-interactive",
                "preserve-groups",
                "stdin",
                "shell",
                "validate",
                "list",
                "reset-timestamp",
                "remove-timestamp",
            ],
            long_values: &[
                "user",
                "group",
                "prompt",
                "host",
                "chdir",
                "close-from",
                "command-timeout",
                "other-user",
            ],
            assigns: true,
            ..NONE
        },
        "doas" => Spec {
            flags: "Lns",
            values: "au",
            ..NONE
        },
        "env" => Spec {
            flags: "i0v",
            values: "uC",
            long: &["ignore-environment", "null", "debug"],
            long_values: &["unset", "chdir"],
            assigns: true,
            ..NONE
        },
        "nohup" => NONE,
        "setsid" => Spec {
            flags: "cfw",
            long: &["ctty", "fork", "wait"],
            ..NONE
        },
        "timeout" => Spec {
            flags: "v",
            values: "ks",
            long: &["foreground", "preserve-status", "verbose"],
            long_values: &["kill-after", "signal"],
            operands: 1,
            ..NONE
        },
        "nice" => Spec {
            flags: "0123456789",
            values: "n",
            long_values: &["adjustment"],
            ..NONE
        },
        "ionice" => Spec {
            flags: "t",
            values: "cn",
            long: &["ignore"],
            long_values: &["class", "classdata"],
            ..NONE
        },
        "chrt" => Spec {
            flags: "bfiorRdev",
            values: "TPD",
            long: &[
                "batch",
                "fifo",
                "idle",
                "other",
                "rr",
                "reset-on-fork",
                "deadline",
                "verbose",
            ],
            long_values: &["sched-runtime", "sched-period", "sched-deadline"],
            operands: 1,
            ..NONE
        },
        "taskset" => Spec {
            flags: "c",
            long: &["cpu-list"],
            operands: 1,
            ..NONE
        },
        "stdbuf" => Spec {
            values: "ioe",
            long_values: &["input", "output", "error"],
            ..NONE
        },
        "time" => Spec {
            flags: "pvqV",
            values: "f",
            long: &["portability", "verbose", "quiet"],
            long_values: &["format"],
            ..NONE
        },
        "builtin" => NONE,
        "chroot" => Spec {
            long: &["skip-chdir"],
            long_values: &["userspec", "groups"],
            operands: 1,
            ..NONE
        },
        "unshare" => Spec {
            flags: "fcrU",
            attached: "impnuCTU",
            values: "RwSG",
            long: &[
                "fork",
                "map-root-user",
                "map-current-user",
                "mount",
                "uts",
                "ipc",
                "net",
                "pid",
                "user",
                "cgroup",
                "time",
                "mount=",
                "uts=",
                "ipc=",
                "net=",
                "pid=",
                "user=",
                "cgroup=",
                "time=",
                "mount-proc",
                "mount-proc=",
                "keep-caps",
            ],
            long_values: &["root", "wd", "setuid", "setgid", "propagation", "setgroups"],
            ..NONE
        },
        "nsenter" => Spec {
            flags: "aFZ",
            attached: "muinpUCTrw",
            values: "tSG",
            long: &[
                "all",
                "no-fork",
                "preserve-credentials",
                "mount",
                "uts",
                "ipc",
                "net",
                "pid",
                "user",
                "cgroup",
                "time",
                "root",
                "wd",
                "mount=",
                "uts=",
                "ipc=",
                "net=",
                "pid=",
                "user=",
                "cgroup=",
                "time=",
                "root=",
                "wd=",
            ],
            long_values: &["target", "setuid", "setgid"],
            ..NONE
        },
        _ => return None,
    })
}

pub(crate) const XARGS: Spec = Spec {
    flags: "0optrx",
    values: "adEILnPs",
    attached: "eil",
    long: &[
        "null",
        "open-tty",
        "interactive",
        "no-run-if-empty",
        "verbose",
        "exit",
        "replace",
        "replace=",
        "eof",
        "eof=",
        "max-lines",
        "max-lines=",
        "show-limits",
    ],
    long_values: &[
        "arg-file",
        "delimiter",
        "max-args",
        "max-procs",
        "max-chars",
        "process-slot-var",
    ],
    ..NONE
};

pub(crate) const EXEC: Spec = Spec {
    flags: "cl",
    values: "a",
    ..NONE
};

pub(crate) const COMMAND: Spec = Spec {
    flags: "pvV",
    ..NONE
};

pub(crate) const WATCH: Spec = Spec {
    flags: "bcCdegprtwx",
    values: "nqs",
    long: &[
        "beep",
        "color",
        "no-color",
        "differences",
        "differences=",
        "errexit",
        "chgexit",
        "precise",
        "no-rerun",
        "no-title",
        "no-wrap",
        "exec",
    ],
    long_values: &["interval", "equexit"],
    ..NONE
};

pub(crate) const FLOCK: Spec = Spec {
    flags: "senxuoFv",
    values: "wE",
    long: &[
        "shared",
        "exclusive",
        "unlock",
        "nonblock",
        "nb",
        "close",
        "no-fork",
        "verbose",
    ],
    long_values: &["timeout", "wait", "conflict-exit-code"],
    operands: 1,
    ..NONE
};

pub(crate) const SSH: Spec = Spec {
    flags: "46AaCfGgKkMNnqsTtVvXxYy",
    values: "BbcDEeFIiJLlmOopPQRSWw",
    ..NONE
};

pub(crate) const DOCKER_EXEC: Spec = Spec {
    flags: "dit",
    values: "euw",
    long: &["detach", "interactive", "tty", "privileged", "latest"],
    long_values: &["detach-keys", "env", "env-file", "user", "workdir"],
    operands: 1,
    ..NONE
};

pub(crate) const KUBECTL: Spec = Spec {
    values: "ncsv",
    flags: "itq",
    long: &["stdin", "tty", "quiet", "stdin=", "tty=", "quiet="],
    long_values: &[
        "namespace",
        "container",
        "context",
        "cluster",
        "user",
        "server",
        "kubeconfig",
        "request-timeout",
        "as",
        "as-group",
        "token",
        "pod-running-timeout",
    ],
    ..NONE
};

pub(crate) const DOCKER: Spec = Spec {
    values: "cHl",
    flags: "D",
    long: &["debug", "tls", "tlsverify"],
    long_values: &[
        "config",
        "context",
        "host",
        "log-level",
        "tlscacert",
        "tlscert",
        "tlskey",
    ],
    ..NONE
};

pub(crate) const PARALLEL: Spec = Spec {
    flags: "0kvtu",
    values: "jPnNI",
    long: &[
        "keep-order",
        "verbose",
        "dry-run",
        "no-notice",
        "will-cite",
        "bar",
        "progress",
        "group",
        "ungroup",
    ],
    long_values: &[
        "jobs",
        "max-procs",
        "max-args",
        "delay",
        "timeout",
        "retries",
    ],
    ..NONE
};

pub(crate) const SU: Spec = Spec {
    flags: "flmpP",
    values: "cgGsw",
    long: &["login", "preserve-environment", "pty", "fast"],
    long_values: &[
        "command",
        "group",
        "supp-group",
        "shell",
        "whitelist-environment",
        "session-command",
    ],
    ..NONE
};

pub(crate) const SCRIPT: Spec = Spec {
    flags: "aefq",
    values: "cEoBIOTm",
    attached: "t",
    long: &[
        "append", "return", "flush", "force", "quiet", "timing", "timing=",
    ],
    long_values: &[
        "command",
        "echo",
        "log-io",
        "log-in",
        "log-out",
        "log-timing",
        "output-limit",
        "logging-format",
    ],
    ..NONE
};

pub(crate) const SHELL: Spec = Spec {
    flags: "cisleuxvfhmnabBCEpr",
    values: "oO",
    long: &[
        "login",
        "norc",
        "noprofile",
        "posix",
        "noediting",
        "restricted",
        "verbose",
    ],
    ..NONE
};

/// Programs that run others in ways that are not followed here.
pub(crate) const UNFOLLOWED: &[&str] = &[
    "at",
    "batch",
    "systemd-cat",
    "cgexec",
    "aa-exec",
    "bwrap",
    "capsh",
    "catchsegv",
    "chpst",
    "choom",
    "cpulimit",
    "cset",
    "crictl",
    "ctr",
    "daemon",
    "dbus-launch",
    "dbus-run-session",
    "debootstrap",
    "distrobox",
    "entr",
    "eatmydata",
    "envdir",
    "expect",
    "faketime",
    "fakechroot",
    "fakeroot",
    "firejail",
    "gdb",
    "gdbserver",
    "hyperfine",
    "inotifywait",
    "ld.so",
    "linux32",
    "linux64",
    "lldb",
    "logsave",
    "ltrace",
    "lxc",
    "lxc-attach",
    "machinectl",
    "mosh",
    "multitime",
    "newgrp",
    "numactl",
    "on_ac_power",
    "perf",
    "pkexec",
    "prlimit",
    "proot",
    "pssh",
    "pdsh",
    "clush",
    "dsh",
    "rlwrap",
    "rsh",
    "rlogin",
    "run0",
    "run-parts",
    "run-one",
    "runcon",
    "runit",
    "runsv",
    "runuser",
    "s6-setuidgid",
    "schroot",
    "screen",
    "setarch",
    "setlock",
    "setpriv",
    "setuidgid",
    "sg",
    "softlimit",
    "ssh-agent",
    "sshpass",
    "start-stop-daemon",
    "strace",
    "su-exec",
    "gosu",
    "systemd-inhibit",
    "systemd-nspawn",
    "systemd-run",
    "tmux",
    "torify",
    "torsocks",
    "proxychains",
    "proxychains4",
    "tsocks",
    "trickle",
    "unbuffer",
    "uptrack",
    "valgrind",
    "vglrun",
    "xvfb-run",
    "zsh-exec",
    "watchexec",
    "nsjail",
    "minijail0",
    "with-contenv",
    "execlineb",
    "uidmap",
    "rootlesskit",
    "podman-compose",
    "vagrant",
    "multipass",
    "limactl",
    "telnet",
    "ansible",
    "ansible-console",
    "salt",
    "salt-call",
    "knife",
    "gnome-terminal",
    "xterm",
    "konsole",
    "dtach",
    "abduco",
    "reptyr",
    "run-mailcap",
    "xdg-open",
    "sensible-editor",
    "sensible-pager",
    "select-editor",
    "enable",
    "uv",
    "pipx",
    "npx",
    "bunx",
    "poetry",
    "pipenv",
    "conda",
    "nix-shell",
    "nix",
    "direnv",
    "chronic",
    "ifne",
    "ts",
    "vidir",
    "vipe",
    "pee",
    "sem",
    "niceload",
    "lesspipe",
    "rvim",
    "rview",
    // Words of zsh's grammar, where another shell looks for a program.
    "repeat",
    "foreach",
    "noglob",
    "nocorrect",
    "always",
    "-",
];
