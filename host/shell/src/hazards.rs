//! Programs that run others by an option, lead out into a shell, reach over the network, or touch files on which the
//! host or its secrets hang. For policies, plugins and people; only `code` is decided on.

use crate::lookups;
use crate::reading::Word;
use crate::reads::is_option;
use crate::reason::Opaque;
use crate::walk::Walk;

/// Short options, and the beginnings of long ones or whole words, with which a program runs another.
const RUNS: &[(&str, &str, &[&str])] = &[
    (
        "tar",
        "IF",
        &[
            "--checkpoint-action",
            "--use-compress-program",
            "--to-command",
            "--info-script",
            "--new-volume-script",
            "--rsh-command",
            "--rmt-command",
        ],
    ),
    (
        "gtar",
        "IF",
        &[
            "--checkpoint-action",
            "--use-compress-program",
            "--to-command",
            "--info-script",
            "--new-volume-script",
            "--rsh-command",
            "--rmt-command",
        ],
    ),
    ("bsdtar", "", &["--use-compress-program"]),
    (
        "rsync",
        "e",
        &["--rsh", "--rsync-path", "--daemon", "--config"],
    ),
    ("scp", "SoF", &[]),
    ("sftp", "SoFDb", &[]),
    ("sort", "", &["--compress-program"]),
    ("split", "", &["--filter"]),
    ("zip", "T", &["--unzip-command", "--test"]),
    ("man", "PH", &["--pager", "--html", "--preprocessor"]),
    ("tcpdump", "z", &[]),
    ("nmap", "", &["--script", "--interactive"]),
    ("wget", "", &["--use-askpass", "--post-file"]),
    ("curl", "K", &["--config"]),
    ("nc", "ec", &["--exec", "--sh-exec", "--lua-exec"]),
    ("ncat", "ec", &["--exec", "--sh-exec", "--lua-exec"]),
    ("netcat", "ec", &[]),
    ("rg", "", &["--pre", "--hostname-bin"]),
    ("fd", "xX", &["--exec", "--exec-batch"]),
    ("fdfind", "xX", &["--exec", "--exec-batch"]),
    ("vi", "cS", &["--cmd", "--startuptime"]),
    ("vim", "cSuU", &["--cmd"]),
    ("nvim", "cSluU", &["--cmd"]),
    (
        "emacs",
        "fl",
        &["--eval", "--execute", "--load", "--funcall", "--script"],
    ),
    ("make", "", &["--eval"]),
    ("install", "", &["--strip-program"]),
    ("apt", "oc", &["--option", "--config-file"]),
    ("apt-get", "oc", &["--option", "--config-file"]),
    ("dpkg", "", &["--pre-invoke", "--post-invoke"]),
    ("cpio", "", &["--rsh-command"]),
    ("ctags", "", &["--options"]),
    ("ssh-keygen", "D", &[]),
    ("ssh-keyscan", "", &[]),
    ("aria2c", "", &["--on-download"]),
];

/// Programs from which a person gets into a shell.
const ESCAPES: &[&str] = &[
    "vi",
    "vim",
    "nvim",
    "view",
    "nano",
    "emacs",
    "less",
    "more",
    "most",
    "man",
    "info",
    "ftp",
    "sftp",
    "mutt",
    "top",
    "htop",
    "mc",
    "ranger",
    "nnn",
    "lynx",
    "w3m",
    "links",
    "mail",
    "mysql",
    "psql",
    "sqlite3",
    "redis-cli",
    "mongo",
    "mongosh",
    "pico",
    "joe",
    "visudo",
    "vipw",
    "vigr",
    "pg",
];

const NETWORK: &[&str] = &[
    "curl", "wget", "nc", "ncat", "netcat", "socat", "ftp", "sftp", "scp", "rsync", "aria2c",
    "nmap", "tftp",
];

/// Writing below these changes what the host runs, or who may come in.
const SYSTEM: &[&str] = &[
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/dev",
    "/proc",
    "/sys",
    "/var/spool/cron",
    "/root",
    "/opt",
    "/var/lib/dpkg",
    "/run/systemd",
];
/// So does writing to a file of such a name, wherever it is.
const DECIDING: &[&str] = &[
    "authorized_keys",
    ".ssh",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".bash_logout",
    ".inputrc",
    ".vimrc",
    ".gitconfig",
    "sudoers",
    "crontab",
    "ld.so.preload",
    ".netrc",
    ".pam_environment",
    "rc.local",
    "sshrc",
    ".rhosts",
    ".shosts",
    "hooks",
];
const SECRETS: &[&str] = &[
    "shadow",
    "gshadow",
    "id_rsa",
    "id_ed25519",
    "id_ecdsa",
    "id_dsa",
    ".pgpass",
    ".netrc",
    ".my.cnf",
    ".aws",
    "credentials",
    ".kube",
    "kubeconfig",
    ".env",
    ".docker",
    ".gnupg",
    "master.key",
    "secrets",
    "private",
    ".vault-token",
    "htpasswd",
    ".git-credentials",
    "environ",
    "krb5.keytab",
    "rclone.conf",
    "debian.cnf",
    "config.v2.json",
];

pub(crate) fn is_known(name: &str) -> bool {
    RUNS.iter().any(|(n, ..)| *n == name)
        || ESCAPES.contains(&name)
        || NETWORK.contains(&name)
        || crate::interpreters::is_known(name)
        || matches!(
            name,
            "rm" | "dd" | "kill" | "passwd" | "useradd" | "reboot" | "shutdown" | "mkdir" | "touch"
        )
}

/// What is to be known about a command that is not an interpreter.
pub(crate) fn look(walk: &mut Walk<'_>, name: &str, argv: &[Word]) {
    let args = argv.get(1..).unwrap_or_default();
    if let Some((_, letters, longs)) = RUNS.iter().find(|(n, ..)| *n == name)
        && !is_server(name, args)
    {
        by_option(walk, name, letters, longs, args);
    }
    match name {
        "git" => git(walk, args),
        "socat" => {
            let runs = |w: &Word| {
                w.dynamic
                    || ["exec", "system", "shell"]
                        .iter()
                        .any(|r| w.text.to_ascii_lowercase().contains(r))
            };
            if args.iter().any(runs) {
                walk.code(name, "an address that runs a program");
            }
        }
        "make" | "gmake" | "ninja" | "rake" | "npm" | "yarn" | "pnpm" | "cargo" | "go" | "mvn"
        | "gradle" | "pip" | "pip3" | "gem" | "just" => {
            walk.hazard("runs-files", name, "it runs what files tell it to run")
        }
        "dd" => {
            for word in args {
                if let Some(file) = word.text.strip_prefix("of=") {
                    path(
                        walk,
                        name,
                        &Word {
                            text: file.to_owned(),
                            ..word.clone()
                        },
                        true,
                    );
                }
            }
        }
        "curl" | "wget" => {
            for word in args.iter().filter(|w| !w.text.contains("://")) {
                path(walk, name, word, true);
            }
        }
        "tee" | "truncate" | "touch" | "shred" | "chmod" | "chown" | "rm" | "mkdir" => {
            for word in args {
                path(walk, name, word, true);
            }
        }
        "cp" | "mv" | "install" | "ln" | "rsync" | "scp" => {
            for word in args {
                path(walk, name, word, false);
            }
            let target = args
                .iter()
                .find_map(|w| w.text.strip_prefix("--target-directory="));
            match (target, args.last()) {
                (Some(target), _) => path(walk, name, &Word::literal(target), true),
                (None, Some(last)) => path(walk, name, last, true),
                (None, None) => {}
            }
            if args.iter().any(|w| w.text == "-t") {
                for word in args {
                    path(walk, name, word, true);
                }
            }
        }
        _ => {
            for word in args {
                path(walk, name, word, false);
            }
        }
    }
    if ESCAPES.contains(&name) {
        // `less '+!rm x'`, `vi '+:!rm x'`: a command that it begins with.
        if args
            .iter()
            .any(|w| w.text.starts_with('+') || w.may_be_option())
        {
            walk.code(name, "a command that it begins with");
        }
        walk.hazard("escape", name, "it can start a shell");
        walk.out.only_reads = false;
    }
    if lookups::asks(name, args) {
        walk.hazard("network", name, "it asks a name server");
    }
    if NETWORK.contains(&name) {
        walk.hazard("network", name, "it connects to other hosts");
    }
}

/// What a client's own `rsync` or `scp` runs here is looked at as a transfer.
fn is_server(name: &str, args: &[Word]) -> bool {
    match name {
        "rsync" => args.first().is_some_and(|w| w.text == "--server"),
        "scp" => crate::transfer::read(name, &[&[Word::literal(name)], args].concat()).is_some(),
        _ => false,
    }
}

fn by_option(walk: &mut Walk<'_>, name: &str, letters: &str, longs: &[&str], args: &[Word]) {
    for (i, word) in args.iter().enumerate() {
        if word.may_be_option() {
            return walk.opaque(Opaque::DynamicOption {
                program: name.to_owned(),
            });
        }
        // The first word of tar needs no dash.
        let bare = i == 0 && name.ends_with("tar") && !word.text.starts_with('-');
        let text = if bare {
            format!("-{}", word.text)
        } else {
            word.text.clone()
        };
        if is_option(&text, letters, longs) {
            walk.code(name, text);
        }
    }
}

fn git(walk: &mut Walk<'_>, args: &[Word]) {
    const OPTIONS: &[&str] = &[
        "--exec-path",
        "--config-env",
        "--git-dir",
        "--work-tree",
        "--upload-pack",
        "--receive-pack",
        "--exec",
        "--template",
        "--open-files-in-pager",
        "--ext-diff",
        "--textconv",
        "--config",
        "--extcmd",
        "--tool",
        "--upload-archive",
        "--run",
        "--env-filter",
        "--tree-filter",
        "--index-filter",
        "--msg-filter",
        "--paginate",
        "--strategy",
    ];
    const VERBS: &[&str] = &[
        "config",
        "filter-branch",
        "for-each-repo",
        "difftool",
        "mergetool",
        "bisect",
        "submodule",
        "daemon",
        "instaweb",
        "help",
        "web--browse",
        "credential",
        "send-email",
        "svn",
        "p4",
        "hook",
        "maintenance",
        "archive",
        "shell",
    ];
    let mut verb = None;
    let mut skip = false;
    for word in args {
        if std::mem::take(&mut skip) {
            continue;
        }
        let text = word.text.as_str();
        if word.splits || (verb.is_none() && word.may_be_option()) {
            return walk.opaque(Opaque::DynamicOption {
                program: "git".into(),
            });
        }
        let before = verb.is_none();
        if before && text == "-C" {
            skip = true;
        } else if before && (text.starts_with("-c") || text == "-p") {
            walk.code("git", text.to_owned());
        } else if text.starts_with("--") && text.len() > 2 {
            if is_option(text, "", OPTIONS) {
                walk.code("git", text.to_owned());
            }
        } else if text.contains("::") {
            // A remote helper: `ext::sh -c …`.
            walk.code("git", text.to_owned());
        } else if before {
            verb = Some(text);
            if VERBS.contains(&text) || text.starts_with("remote-") {
                walk.code("git", text.to_owned());
            }
        } else {
            let short = match verb {
                Some("rebase") => "xis",
                Some("merge") => "s",
                Some("pull") => "us",
                Some("clone") => "uc",
                Some("grep") => "O",
                Some("fetch" | "push" | "ls-remote") => "u",
                _ => "",
            };
            if is_option(text, short, &[]) {
                walk.code("git", text.to_owned());
            }
        }
    }
}

/// A file that a command or a shell opens.
pub(crate) fn path(walk: &mut Walk<'_>, program: &str, word: &Word, writes: bool) {
    let text = word.text.as_str();
    // By these, awk connects; and autofs mounts what the host of such a name has.
    let connects = [
        "/dev/tcp/",
        "/dev/udp/",
        "/inet/",
        "/inet4/",
        "/inet6/",
        "/net/",
    ];
    if connects.iter().any(|begin| text.starts_with(begin)) {
        walk.hazard("network", program, text.to_owned());
        walk.out.only_reads = false;
        return;
    }
    if crate::reads::is_sink(text) || text.starts_with('-') {
        return;
    }
    let below = |dir: &str| {
        text.strip_prefix(dir)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let parts = || text.split(['/', '=', ':']);
    if writes
        && (SYSTEM.iter().any(|d| below(d))
            || parts().any(|p| DECIDING.contains(&p))
            || text.contains(".."))
    {
        walk.hazard("system-file", program, text.to_owned());
    }
    if parts().any(|p| {
        SECRETS.contains(&p)
            || p.ends_with(".pem")
            || p.ends_with(".key")
            || p.starts_with(".env")
            || p.ends_with(".env")
    }) {
        walk.hazard("secret-file", program, text.to_owned());
    }
}
