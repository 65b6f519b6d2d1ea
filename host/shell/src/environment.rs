//! Variables that decide what programs do, or which ones are run.

use crate::reading::Word;

const NAMES: &[&str] = &[
    // What zsh calls a program that it starts: some do something else by another name.
    "ARGV0",
    "BASHOPTS",
    "BASH_ALIASES",
    "BASH_CMDS",
    "BASH_ENV",
    "BASH_LOADABLES_PATH",
    "BASH_XTRACEFD",
    "BROWSER",
    "GETCONF_DIR",
    "GREP_OPTIONS",
    "GZIP",
    "MAGIC",
    "RIPGREP_CONFIG_PATH",
    "TAPE",
    "XDG_RUNTIME_DIR",
    "CDPATH",
    "CLASSPATH",
    "DISPLAY",
    "EDITOR",
    "ENV",
    "EXECIGNORE",
    "FCEDIT",
    "FIGNORE",
    "FPATH",
    "GCONV_PATH",
    "GLOBIGNORE",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INFOPATH",
    "INPUTRC",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "KUBECONFIG",
    "LESS",
    "LESSCLOSE",
    "LESSEDIT",
    "LESSOPEN",
    "LOCPATH",
    "MAILCAPS",
    "MAILPATH",
    "MAKEFLAGS",
    "MALLOC_TRACE",
    "MANOPT",
    "MFLAGS",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "PATH",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RSYNC_CONNECT_PROG",
    "RSYNC_RSH",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "SUDO_EDITOR",
    "SYSTEMD_EDITOR",
    "TAR_OPTIONS",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMPDIR",
    "TZDIR",
    "VISUAL",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "ZDOTDIR",
    "ZIPOPT",
    "UNZIP",
    "BASH_COMPAT",
];
/// Of compilers, editors and clients: each names a program, or a file that does.
const TOOLS: &[&str] = &[
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CC",
    "CURL_HOME",
    "CXX",
    "EXINIT",
    "GOFLAGS",
    "GOROOT",
    "GOPATH",
    "GRADLE_OPTS",
    "LD",
    "MAVEN_OPTS",
    "MYSQL_HOME",
    "NETRC",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PSQLRC",
    "RUSTC",
    "RUSTC_WRAPPER",
    "VIMINIT",
    "VIMRUNTIME",
    "WGETRC",
    "SYSTEMD_PAGERSECURE",
    "MANPATH",
    "KRB5_CONFIG",
    "SSLKEYLOGFILE",
];
const PREFIXES: &[&str] = &[
    "ANSIBLE_",
    "CARGO_",
    "CONTAINER",
    "DBUS_",
    "DEBUGINFOD_",
    "DOCKER_",
    "KUBE",
    "LSOF",
    "SYSTEMD_",
    "SUDO_",
    "AWK",
    "BASH_FUNC_",
    "DYLD_",
    "GIT_",
    "GLIBC_",
    "LD_",
    "LUA_",
    "NIX_LD",
    "NPM_CONFIG_",
    "PARALLEL",
    "PERL",
    "PIP_",
    "PYTHON",
    "npm_config_",
];
/// Values with which a pager or an editor does nothing.
const HARMLESS: &[&str] = &[
    "",
    "cat",
    "true",
    "/bin/cat",
    "/bin/true",
    "/usr/bin/cat",
    "/usr/bin/true",
];
/// What a shell is given for these, it computes there and then, and runs the commands in a subscript. Some are
/// numbers to bash, others to ksh, mksh or zsh.
const NUMBERS: &[&str] = &[
    "BASHPID",
    "BASH_MONOSECONDS",
    "BASH_SUBSHELL",
    "COLUMNS",
    "DIRSTACKSIZE",
    "EGID",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "ERRNO",
    "EUID",
    "FUNCNEST",
    "GID",
    "GROUPS",
    "HISTCMD",
    "HISTFILESIZE",
    "HISTSIZE",
    "KEYTIMEOUT",
    "KSHEGID",
    "KSHGID",
    "KSHUID",
    "LINENO",
    "LINES",
    "LISTMAX",
    "LOGCHECK",
    "MAILCHECK",
    "OPTERR",
    "OPTIND",
    "PGRP",
    "PPID",
    "RANDOM",
    "SAVEHIST",
    "SECONDS",
    "SHLVL",
    "SRANDOM",
    "TMOUT",
    "TRY_BLOCK_ERROR",
    "TRY_BLOCK_INTERRUPT",
    "TTYIDLE",
    "UID",
    "USER_ID",
];
const FLAGS: &[&str] = &[
    "GIT_TERMINAL_PROMPT",
    "GIT_OPTIONAL_LOCKS",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONIOENCODING",
];

/// Whether a variable of this name with this value makes programs do something else than their words say.
pub(crate) fn decides(name: &str, value: &Word) -> bool {
    let value_is = |list: &[&str]| value.is_literal() && list.contains(&value.text.as_str());
    if FLAGS.contains(&name) {
        return false;
    }
    if NUMBERS.contains(&name) {
        let digits = !value.text.is_empty() && value.text.bytes().all(|b| b.is_ascii_digit());
        return !(value.is_literal() && digits);
    }
    if name.ends_with("PAGER") || matches!(name, "EDITOR" | "VISUAL" | "GIT_EDITOR") {
        return !value_is(HARMLESS);
    }
    if name == "LANG" || name.starts_with("LC_") {
        return !value.is_literal() || !is_ascii_locale(&value.text);
    }
    NAMES.contains(&name) || TOOLS.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}

/// In its character set, a byte of ASCII is never half of another letter. In BIG5 or SJIS it may be, and a shell there
/// reads another text.
fn is_ascii_locale(value: &str) -> bool {
    if matches!(value, "" | "C" | "POSIX") {
        return true;
    }
    value.split_once('.').is_some_and(|(language, charset)| {
        language
            .chars()
            .all(|c| c.is_ascii_alphabetic() || c == '_')
            && matches!(charset, "UTF-8" | "utf-8" | "UTF8" | "utf8")
    })
}
