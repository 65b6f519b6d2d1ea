//! Variables that decide what programs do, or which ones are run.

use crate::reading::Word;

const NAMES: &[&str] = &[
    "BASHOPTS", "BASH_ENV", "BASH_LOADABLES_PATH", "BASH_XTRACEFD", "BROWSER", "CDPATH", "CLASSPATH", "DISPLAY",
    "EDITOR", "ENV", "EXECIGNORE", "FCEDIT", "FIGNORE", "FPATH", "GCONV_PATH", "GLOBIGNORE", "HISTFILE", "HOME",
    "HOSTALIASES", "IFS", "INFOPATH", "INPUTRC", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "KUBECONFIG", "LESS",
    "LESSCLOSE", "LESSEDIT", "LESSOPEN", "LOCPATH", "MAILCAPS", "MAILPATH", "MAKEFLAGS", "MALLOC_TRACE", "MANOPT",
    "MFLAGS", "NLSPATH", "NODE_OPTIONS", "NODE_PATH", "OPENSSL_CONF", "OPENSSL_MODULES", "PATH", "POSIXLY_CORRECT",
    "PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS4", "PYTHONHOME", "PYTHONINSPECT", "PYTHONPATH", "PYTHONSTARTUP",
    "RESOLV_HOST_CONF", "RES_OPTIONS", "RSYNC_CONNECT_PROG", "RSYNC_RSH", "RUBYLIB", "RUBYOPT", "SHELL",
    "SHELLOPTS", "SSH_ASKPASS", "SUDO_ASKPASS", "SUDO_EDITOR", "SYSTEMD_EDITOR", "TAR_OPTIONS", "TERMCAP",
    "TERMINFO", "TERMINFO_DIRS", "TMPDIR", "TZDIR", "VISUAL", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS", "XDG_DATA_HOME", "ZDOTDIR", "ZIPOPT", "UNZIP", "POSIX", "BASH_COMPAT", "BASH_FUNC",
];
const PREFIXES: &[&str] = &[
    "AWK", "BASH_FUNC_", "DYLD_", "GIT_", "GLIBC_", "LD_", "LUA_", "NIX_LD", "NPM_CONFIG_", "PERL", "PIP_", "PYTHON",
    "npm_config_",
];
/// Values with which a pager or an editor does nothing.
const HARMLESS: &[&str] = &["", "cat", "true", "/bin/cat", "/bin/true", "/usr/bin/cat", "/usr/bin/true"];
const FLAGS: &[&str] = &["GIT_TERMINAL_PROMPT", "GIT_OPTIONAL_LOCKS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING"];

/// Whether a variable of this name with this value makes programs do something else than their words say.
pub(crate) fn decides(name: &str, value: &Word) -> bool {
    let value_is = |list: &[&str]| value.is_literal() && list.contains(&value.text.as_str());
    if FLAGS.contains(&name) {
        return false;
    }
    if name.ends_with("PAGER") || matches!(name, "EDITOR" | "VISUAL" | "GIT_EDITOR") {
        return !value_is(HARMLESS);
    }
    NAMES.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}
