//! Rules over what is run, by whom, and what it touches.

use crate::Hit;
use crate::facts::{Facts, has, operands};

pub fn hits(facts: &Facts<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    unread(facts, &mut hits);
    kind(facts, &mut hits);
    hazards(facts, &mut hits);
    files(facts, &mut hits);
    for (name, args) in facts.programs() {
        program(name, args, &mut hits);
    }
    leaves(facts, &mut hits);
    let root = facts
        .users
        .iter()
        .any(|u| matches!(*u, "root" | "0" | "#0"));
    let elevated = root
        || facts
            .by
            .iter()
            .any(|b| matches!(*b, "sudo" | "doas" | "su" | "nsenter" | "chroot"));
    if elevated {
        let weight = if facts.only_reads { 20 } else { 40 };
        hits.push(Hit::new(
            "root",
            weight,
            "it runs with the rights of another user",
        ));
    }
    hits
}

fn unread(facts: &Facts<'_>, hits: &mut Vec<Hit>) {
    let commands = matches!(facts.kind, "" | "exec");
    if commands && facts.opaque.is_empty() && !facts.parsed {
        hits.push(Hit::new(
            "unread",
            70,
            "nothing is known about what it runs",
        ));
    }
    for reason in &facts.opaque {
        let (code, weight) = match *reason {
            // Text from elsewhere is run.
            "fed" | "unknown-code" => ("fed", 85),
            // Somebody took the trouble to write it so.
            "disagreement" | "other-shell" | "environment" | "redefines" | "shadowed"
            | "glob-command" | "nul" | "carriage-return" | "takes-script" => ("opaque", 78),
            _ => ("opaque", 70),
        };
        hits.push(Hit::new(
            code,
            weight,
            format!("what it runs cannot be told by reading it: {reason}"),
        ));
    }
}

fn kind(facts: &Facts<'_>, hits: &mut Vec<Hit>) {
    match facts.kind {
        "shell" => hits.push(Hit::new(
            "interactive",
            35,
            "what is typed into a shell is not known before",
        )),
        "forward" | "x11" | "agent" => {
            hits.push(Hit::new(
                "forwarding",
                40,
                "connections pass that are not looked into",
            ));
        }
        "tunnel" => hits.push(Hit::new(
            "tunnel",
            70,
            "a network passes that is not looked into",
        )),
        _ => {}
    }
}

fn hazards(facts: &Facts<'_>, hits: &mut Vec<Hit>) {
    for (code, program, about) in &facts.hazards {
        let (rule, weight, text) = match *code {
            "runs-by-option" => ("runs_by_option", 65, "runs other programs by an option"),
            "escape" => ("escape", 40, "can start a shell"),
            "interpreter" | "script-file" | "runs-files" => {
                ("script", 25, "runs what a file or text tells it to")
            }
            "network" => ("network", 25, "connects to other hosts"),
            _ => continue,
        };
        hits.push(Hit::new(rule, weight, format!("{program} {text}: {about}")));
    }
    if facts.code {
        hits.push(Hit::new("code", 55, "code for an interpreter stands in it"));
    }
}

fn files(facts: &Facts<'_>, hits: &mut Vec<Hit>) {
    let system = facts
        .hazards
        .iter()
        .filter(|(c, ..)| *c == "system-file")
        .map(|(.., about)| *about);
    for path in system.chain(facts.writes.iter().copied()) {
        if persists(path) {
            let text = format!("{path} decides who comes in or what is run later");
            hits.push(Hit::new("persistence", 88, text));
        } else if is_system(path) {
            hits.push(Hit::new("system_file", 70, format!("it writes {path}")));
        }
    }
    let secret = facts
        .hazards
        .iter()
        .filter(|(c, ..)| *c == "secret-file")
        .map(|(.., about)| *about);
    for path in secret.chain(facts.reads.iter().copied().filter(|p| is_secret(p))) {
        let text = format!("{path} holds secrets");
        hits.push(Hit::new("secrets_access", 65, text).label("secrets_access"));
    }
}

fn persists(path: &str) -> bool {
    const PARTS: &[&str] = &[
        "authorized_keys",
        "sudoers",
        "sudoers.d",
        "ld.so.preload",
        "crontab",
        ".bashrc",
        ".bash_profile",
        ".profile",
        ".zshrc",
        ".zshenv",
        "rc.local",
        ".ssh",
        "pam.d",
        "profile.d",
        "systemd",
        "init.d",
        "sshd_config",
        "passwd",
        "shadow",
        "sshrc",
    ];
    path.split('/')
        .any(|part| PARTS.contains(&part) || part.starts_with("cron"))
}

fn is_system(path: &str) -> bool {
    const BELOW: &[&str] = &[
        "/etc/", "/usr/", "/bin/", "/sbin/", "/lib", "/boot/", "/root/", "/opt/", "/sys/", "/proc/",
    ];
    BELOW.iter().any(|dir| path.starts_with(dir))
}

fn is_secret(path: &str) -> bool {
    const NAMES: &[&str] = &[
        "shadow",
        "id_rsa",
        "id_ed25519",
        "id_ecdsa",
        "credentials",
        ".env",
        ".pgpass",
        ".netrc",
        "environ",
    ];
    path.split('/')
        .any(|part| NAMES.contains(&part) || part.ends_with(".pem") || part.ends_with(".key"))
}

/// Words with which a manager of packages changes something.
const INSTALLS: &[&str] = &[
    "install", "add", "remove", "purge", "upgrade", "erase", "-i", "-S", "-U",
];

fn program(name: &str, args: &[&str], hits: &mut Vec<Hit>) {
    let first = operands(args).next().unwrap_or_default();
    let mut hit = |code, weight, text: String| hits.push(Hit::new(code, weight, text));
    match name {
        "reboot" | "shutdown" | "poweroff" | "halt" | "telinit" | "init" => {
            hit("services", 85, format!("{name} ends everything that runs"));
        }
        "systemctl" => match first {
            "reboot" | "poweroff" | "halt" | "kexec" | "rescue" | "emergency" => {
                hit(
                    "services",
                    85,
                    format!("systemctl {first} ends everything that runs"),
                );
            }
            "stop" | "disable" | "mask" | "kill" | "isolate" => {
                hit("services", 65, format!("systemctl {first}"))
            }
            "restart" | "reload" | "start" | "enable" | "try-restart" | "daemon-reload" => {
                hit("services", 45, format!("systemctl {first}"));
            }
            "edit" | "link" | "set-environment" | "import-environment" => {
                hit(
                    "persistence",
                    80,
                    format!("systemctl {first} changes what services run"),
                );
            }
            _ => {}
        },
        "service" if args.iter().any(|a| matches!(*a, "stop" | "restart")) => {
            hit("services", 50, "a service is stopped".into())
        }
        "kill" | "pkill" | "killall" | "killall5" => {
            let all = args.contains(&"-1") && args.len() > 1 || name == "killall5";
            hit(
                "services",
                if all { 88 } else { 40 },
                format!("{name} ends programs"),
            );
        }
        "useradd" | "adduser" | "usermod" | "userdel" | "deluser" | "groupadd" | "groupmod"
        | "gpasswd" | "passwd" | "chpasswd" | "visudo" | "vipw" | "vigr" | "chage" | "newusers" => {
            hit("accounts", 80, format!("{name} changes who may come in"));
        }
        "iptables" | "ip6tables" | "nft" | "ufw" | "firewall-cmd" | "ipset" | "tc" => {
            let tells = has(args, "LS", &["list", "list-all", "state"])
                || matches!(first, "list" | "status" | "show");
            if !tells {
                hit(
                    "firewall",
                    75,
                    format!("{name} changes what can be reached"),
                );
            }
        }
        "insmod" | "modprobe" | "rmmod" | "kexec" | "bpftool" | "sysctl" => {
            let tells = name == "sysctl"
                && !has(args, "wp", &["write", "load", "system"])
                && !args.iter().any(|a| a.contains('='));
            if !tells {
                hit("kernel", 80, format!("{name} changes the kernel"));
            }
        }
        "history" if !has(args, "cdw", &[]) => {}
        "setenforce" | "auditctl" | "aa-teardown" | "aa-disable" | "history" | "logrotate" => {
            hit(
                "covers_tracks",
                85,
                format!("{name} changes what is noticed"),
            );
        }
        "journalctl"
            if args
                .iter()
                .any(|a| a.starts_with("--vacuum") || *a == "--rotate") =>
        {
            hit(
                "covers_tracks",
                80,
                "journalctl removes what was noticed".into(),
            );
        }
        "crontab" if has(args, "l", &[]) => {}
        "crontab" | "at" | "batch" => hit("persistence", 78, format!("{name} runs things later")),
        "apt" | "apt-get" | "yum" | "dnf" | "apk" | "zypper" | "pacman" | "snap" | "dpkg"
        | "rpm" | "pip" | "pip3" | "npm" | "gem"
            if args.iter().any(|a| INSTALLS.contains(a)) =>
        {
            hit(
                "packages",
                45,
                format!("{name} changes what is installed, and runs scripts of it"),
            );
        }
        "nc" | "ncat" | "netcat" | "socat" => {
            let runs = has(args, "ec", &["exec", "sh-exec", "lua-exec"])
                || args.iter().any(|a| {
                    ["exec:", "system:", "shell:"]
                        .iter()
                        .any(|x| a.to_ascii_lowercase().starts_with(x))
                });
            if runs {
                hit(
                    "reverse_shell",
                    92,
                    format!("{name} gives a program to the network"),
                );
            }
        }
        "chmod" => {
            let mode = first.trim_start_matches('0');
            let set =
                first.contains("+s") || (mode.len() == 4 && mode.starts_with(['2', '4', '6', '7']));
            if set {
                hit(
                    "accounts",
                    88,
                    "chmod lets a program run with the rights of its owner".into(),
                );
            }
        }
        "setcap" | "newgidmap" | "newuidmap" => {
            hit("accounts", 85, format!("{name} gives rights to a program"))
        }
        _ => {}
    }
}

/// Things leave the host.
fn leaves(facts: &Facts<'_>, hits: &mut Vec<Hit>) {
    let network = facts.hazard("network").is_some();
    let secret = facts.hazard("secret-file").is_some() || facts.reads.iter().any(|p| is_secret(p));
    if facts
        .hazards
        .iter()
        .any(|(c, _, about)| *c == "network" && about.starts_with("/dev/"))
    {
        hits.push(Hit::new(
            "reverse_shell",
            85,
            "the shell itself connects to another host",
        ));
    }
    if network && secret {
        let text = "secrets are read, and other hosts are connected to";
        hits.push(Hit::new("exfiltration", 92, text).label("exfiltration"));
        return;
    }
    for (name, args) in facts.programs() {
        let sends = match name {
            "curl" => has(
                args,
                "TFd",
                &[
                    "upload-file",
                    "form",
                    "data",
                    "data-binary",
                    "data-raw",
                    "json",
                ],
            ),
            "wget" => has(args, "", &["post-file", "post-data", "body-file"]),
            "scp" | "rsync" => {
                let remote = |a: &str| a.contains(':') && !a.starts_with('/');
                args.last().is_some_and(|last| remote(last))
            }
            "nc" | "ncat" | "netcat" | "socat" => !has(args, "lz", &["listen"]),
            "sftp" | "ftp" | "tftp" => true,
            _ => false,
        };
        if sends {
            let text = format!("{name} sends something to another host");
            hits.push(Hit::new("exfiltration", 55, text).label("exfiltration"));
        }
    }
}
