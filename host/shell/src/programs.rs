//! Names of programs, and where they are looked for.

const DIRS: &[&str] = &[
    "/bin/",
    "/usr/bin/",
    "/sbin/",
    "/usr/sbin/",
    "/usr/local/bin/",
    "/usr/local/sbin/",
];

const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "rbash",
];

const FOREIGN: &[&str] = &[
    "fish",
    "csh",
    "tcsh",
    "pwsh",
    "powershell",
    "elvish",
    "nu",
    "xonsh",
];

/// Builtins that no table below has.
const BUILTINS: &[&str] = &[
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "continue",
    "declare",
    "dirs",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
    "command_not_found_handle",
    "command_not_found_handler",
];

/// The last part of the path. A program of a known name counts as that program wherever it lies; that it is no
/// better than its name is for `is_standard` to say.
pub(crate) fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// It is found by its name alone, or in a directory that only administrators write to.
pub(crate) fn is_standard(path: &str) -> bool {
    !path.contains('/')
        || DIRS.iter().any(|dir| {
            path.strip_prefix(dir)
                .is_some_and(|rest| !rest.contains('/'))
        })
}

pub(crate) fn is_shell(name: &str) -> bool {
    SHELLS.contains(&name)
}

pub(crate) fn is_foreign_shell(name: &str) -> bool {
    FOREIGN.contains(&name)
}

/// Any table knows the name, so a function of that name deceives.
pub(crate) fn is_known(name: &str) -> bool {
    is_shell(name)
        || is_foreign_shell(name)
        || BUILTINS.contains(&name)
        || crate::peel::is_wrapper(name)
        || crate::hazards::is_known(name)
        || crate::reads::is_known(name)
}
