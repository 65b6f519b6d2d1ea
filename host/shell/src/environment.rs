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
    // A call too deep is an error, and what follows on the line is left out.
    "FUNCNEST",
    "BROWSER",
    "GETCONF_DIR",
    "GREP_OPTIONS",
    "GZIP",
    "BZIP",
    "BZIP2",
    "XZ_DEFAULTS",
    "XZ_OPT",
    "LOCALDOMAIN",
    "TEXTDOMAIN",
    "TEXTDOMAINDIR",
    "TERMPATH",
    // In these, `ps` reads its options in another way, or shows other columns.
    "CMD_ENV",
    "I_WANT_A_BROKEN_PS",
    "UNIX95",
    "NULLCMD",
    "READNULLCMD",
    "_AST_FEATURES",
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
    "HISTCHARS",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "HOSTFILE",
    "IFS",
    "INFOPATH",
    "INPUTRC",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "KUBECONFIG",
    "LOCPATH",
    "MAILCAPS",
    "MAILPATH",
    "MAKEFLAGS",
    "MALLOC_TRACE",
    "MODULE_PATH",
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
    "SHELL",
    "SHELLOPTS",
    "SSH_ASKPASS",
    // By these, a program reaches whatever somebody else's socket signs with or shows. What they say is no secret.
    "SSH_AUTH_SOCK",
    "STTY",
    "SUDO_ASKPASS",
    "TAR_OPTIONS",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMPDIR",
    "TZDIR",
    "VISUAL",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "ZDOTDIR",
    "ZIPOPT",
    "UNZIP",
    "BASH_COMPAT",
    "histchars",
];
/// Of compilers, editors and clients: each names a program, or a file that does.
const TOOLS: &[&str] = &[
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CC",
    "CURL_CA_BUNDLE",
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
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "APT_CONFIG",
    "ASAN_OPTIONS",
    "BLKID_FILE",
    "GCOV_PREFIX",
    "GNUMAKEFLAGS",
    "GNUPGHOME",
    "GOENV",
    "GOTOOLCHAIN",
    "HGRCPATH",
    "ICU_DATA",
    // From these, `ip` and `tc` load libraries; the others say where `ss` looks.
    "IP_LIB_DIR",
    "TC_LIB_DIR",
    "PROC_ROOT",
    "TCPDIAG_FILE",
    "JAVA_OPTS",
    "MAILRC",
    "MAKEFILES",
    "MANLESS",
    "MANROFFOPT",
    "MANROFFSEQ",
    "MORE",
    "NODE_REPL_EXTERNAL_MODULE",
    "NODE_REPL_HISTORY",
    "OPENSSL_ENGINES",
    "PGSSLKEY",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "RSYNC_PROXY",
    "RUSTFLAGS",
    "SSH_PKCS11_HELPER",
    "SSH_SK_HELPER",
    "SSH_SK_PROVIDER",
    "SYSTEM_WGETRC",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "_JAVA_OPTIONS",
];
const PREFIXES: &[&str] = &[
    "ANSIBLE_",
    "BAT_",
    "BUNDLE_",
    "CLOUDSDK_",
    "COMPOSE_",
    "CORECLR_",
    "CVS",
    "DEBCONF_",
    "DOTNET_STARTUP",
    "DPKG_",
    "ERL_",
    "GAWK_",
    "GEM_",
    "GIO_",
    "GROFF_",
    "GTK_",
    "GUILE_",
    "HELM_",
    "KRB5",
    "LESS",
    "LIBMOUNT_",
    "LIBMYSQL_",
    "NCURSES_",
    "PSQL_",
    "PS_",
    "QT_",
    "RUBY",
    "SVN_",
    "TF_CLI_",
    "XTABLES_",
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
/// No zone has a longer name.
const MAX_ZONE: usize = 64;
const FLAGS: &[&str] = &[
    "DEBCONF_NONINTERACTIVE_SEEN",
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
    if name.ends_with("PAGER") || name.ends_with("EDITOR") || name == "VISUAL" {
        return !value_is(HARMLESS);
    }
    if name == "LANGUAGE" {
        // Directories in which texts are looked for.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        return !value.is_literal() || value.text.contains("..") || !value.text.chars().all(plain);
    }
    // Through a proxy goes what programs send, and credentials for it.
    if name.to_ascii_lowercase().ends_with("_proxy") {
        return !name.eq_ignore_ascii_case("no_proxy");
    }
    if name == "TZ" {
        return !value.is_literal() || !is_zone(&value.text);
    }
    if name == "LANG" || name.starts_with("LC_") {
        return !value.is_literal() || !is_ascii_locale(&value.text);
    }
    NAMES.contains(&name) || TOOLS.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}

/// `Europe/Berlin`, `CET-1CEST,M3.5.0,M10.5.0/3`: no file but one of a zone is read for it.
fn is_zone(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/,.<>:".contains(c);
    let value = value.strip_prefix(':').unwrap_or(value);
    value.len() <= MAX_ZONE
        && !value.starts_with('/')
        && !value.contains("..")
        && value.chars().all(plain)
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
