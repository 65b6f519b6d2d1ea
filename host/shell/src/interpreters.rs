//! Interpreters of languages that are not a shell's: whether code for them stands in the command, in a file, or comes
//! over their standard input.

use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Walk};
use crate::{reads, sed};

struct Language {
    /// What the program's name begins with; digits and dots may follow.
    name: &'static str,
    /// Short options that bring code, and the long ones.
    code: &'static str,
    long: &'static [&'static str],
    /// Short options with a value.
    values: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "python",
        code: "c",
        long: &[],
        values: "WX",
    },
    Language {
        name: "pypy",
        code: "c",
        long: &[],
        values: "WX",
    },
    Language {
        name: "ipython",
        code: "c",
        long: &[],
        values: "",
    },
    Language {
        name: "perl",
        code: "eE",
        long: &[],
        values: "",
    },
    Language {
        name: "ruby",
        code: "e",
        long: &[],
        values: "rICE",
    },
    Language {
        name: "irb",
        code: "",
        long: &[],
        values: "r",
    },
    Language {
        name: "node",
        code: "ep",
        long: &["--eval", "--print"],
        values: "rC",
    },
    Language {
        name: "nodejs",
        code: "ep",
        long: &["--eval", "--print"],
        values: "rC",
    },
    Language {
        name: "deno",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "bun",
        code: "e",
        long: &["--eval", "--print"],
        values: "",
    },
    Language {
        name: "php",
        code: "rBRE",
        long: &["--run"],
        values: "cdz",
    },
    Language {
        name: "lua",
        code: "e",
        long: &[],
        values: "l",
    },
    Language {
        name: "luajit",
        code: "e",
        long: &[],
        values: "l",
    },
    Language {
        name: "tclsh",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "wish",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "Rscript",
        code: "e",
        long: &[],
        values: "",
    },
    Language {
        name: "R",
        code: "e",
        long: &[],
        values: "f",
    },
    Language {
        name: "julia",
        code: "eE",
        long: &["--eval", "--print"],
        values: "",
    },
    Language {
        name: "guile",
        code: "c",
        long: &[],
        values: "el",
    },
    Language {
        name: "osascript",
        code: "e",
        long: &[],
        values: "l",
    },
    Language {
        name: "groovy",
        code: "e",
        long: &[],
        values: "",
    },
    Language {
        name: "jshell",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "ghci",
        code: "e",
        long: &[],
        values: "",
    },
    Language {
        name: "gawk",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "bc",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "dc",
        code: "e",
        long: &["--expression"],
        values: "",
    },
    Language {
        name: "m4",
        code: "",
        long: &[],
        values: "",
    },
    Language {
        name: "ed",
        code: "",
        long: &[],
        values: "p",
    },
    Language {
        name: "ex",
        code: "c",
        long: &["--cmd"],
        values: "",
    },
    Language {
        name: "gnuplot",
        code: "e",
        long: &[],
        values: "",
    },
    Language {
        name: "octave",
        code: "",
        long: &["--eval"],
        values: "",
    },
    Language {
        name: "swipl",
        code: "g",
        long: &[],
        values: "",
    },
];

const AWKS: &[&str] = &["awk", "gawk", "mawk", "nawk", "original-awk"];
/// Clients of databases: what they are told can run commands on the host too.
const CLIENTS: &[&str] = &[
    "psql",
    "mysql",
    "mariadb",
    "sqlite3",
    "duckdb",
    "mongosh",
    "redis-cli",
    "sqlplus",
    "clickhouse-client",
];
const SEDS: &[&str] = &["sed", "gsed"];
/// Of an awk program, beyond which it is not looked at.
const MAX_SCRIPT: usize = 16 << 10;

/// It runs what stands in a file that is named to it.
pub(crate) fn runs_files(name: &str) -> bool {
    language(name).is_some() || CLIENTS.contains(&name)
}

pub(crate) fn is_known(name: &str) -> bool {
    runs_files(name) || AWKS.contains(&name) || SEDS.contains(&name)
}

fn language(name: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|l| {
        name.strip_prefix(l.name)
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    })
}

/// True: all is said about the command.
pub(crate) fn run(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) -> bool {
    if AWKS.contains(&name) {
        awk(walk, name, argv);
        return false;
    }
    if name == "jq" {
        jq(walk, argv);
        return false;
    }
    if SEDS.contains(&name) {
        sed::look(walk, name, argv);
        return false;
    }
    if CLIENTS.contains(&name) {
        walk.out.only_reads = false;
        let told = |w: &Word| {
            w.may_be_option()
                || reads::is_option(
                    &w.text,
                    "cfe",
                    &["--command", "--file", "--execute", "--eval"],
                )
        };
        if argv.iter().skip(1).any(told) {
            walk.code(name, "what it tells a database can run commands too");
            return false;
        }
        if argv.iter().skip(1).any(|w| client_runs(name, w)) {
            walk.code(name, "a word of it can run commands");
        }
        walk.fed(name, false, argv, ctx);
        return true;
    }
    let Some(language) = language(name) else {
        return false;
    };
    walk.out.only_reads = false;
    walk.hazard("interpreter", name, "it runs code in a language of its own");
    match arguments(walk, language, name, argv) {
        Source::Input => walk.fed(name, false, argv, ctx),
        Source::Other => walk.push(argv.to_vec(), ctx),
    }
    true
}

/// A pipe to write to, a pager, or words like those that stand in its input.
fn client_runs(name: &str, word: &Word) -> bool {
    let text = word.text.as_str();
    match name {
        "sqlite3" | "duckdb" => text.len() > 1,
        "psql" => reads::is_option(
            text,
            "oLPv",
            &["--output", "--log-file", "--pset", "--variable"],
        ),
        "mysql" | "mariadb" => reads::is_option(text, "", &["--pager", "--init-command", "--tee"]),
        _ => false,
    }
}

enum Source {
    Input,
    Other,
}

fn arguments(walk: &mut Walk<'_>, language: &Language, name: &str, argv: &[Word]) -> Source {
    let mut args = argv.iter().skip(1);
    let mut found = Source::Input;
    while let Some(word) = args.next() {
        if word.may_be_option() {
            walk.opaque(Opaque::DynamicOption {
                program: name.to_owned(),
            });
            return Source::Other;
        }
        let text = word.text.as_str();
        if matches!(text, "--version" | "-V" | "--help" | "-h" | "-v") {
            found = Source::Other;
            continue;
        }
        if text == "-" || matches!(text, "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
            return Source::Input;
        }
        if let Some(long) = text
            .strip_prefix("--")
            .map(|_| text.split('=').next().unwrap_or(text))
        {
            if language.long.iter().any(|l| l.starts_with(long)) && long.len() > 2 {
                walk.code(name, text.to_owned());
                let dynamic = if text.contains('=') {
                    word.dynamic
                } else {
                    args.next().is_none_or(|w| w.dynamic)
                };
                if dynamic {
                    unknown(walk, name);
                }
                return Source::Other;
            }
            continue;
        }
        let Some(cluster) = text.strip_prefix('-') else {
            if word.dynamic {
                unknown(walk, name);
            }
            walk.hazard("script-file", name, text.to_owned());
            return Source::Other;
        };
        if let Some(at) = cluster.find(|c| language.code.contains(c)) {
            walk.code(name, format!("-{cluster}"));
            let attached = cluster.len() > at + 1;
            let dynamic = if attached {
                word.dynamic
            } else {
                args.next().is_none_or(|w| w.dynamic || w.glob)
            };
            if dynamic {
                unknown(walk, name);
            }
            return Source::Other;
        }
        if cluster == "m" && language.name.ends_with("python") {
            let module = args.next().map(|w| w.text.clone()).unwrap_or_default();
            walk.hazard("script-file", name, format!("-m {module}"));
            return Source::Other;
        }
        if cluster.chars().count() == 1 && language.values.contains(cluster) {
            args.next();
        }
    }
    found
}

pub(crate) fn unknown(walk: &mut Walk<'_>, name: &str) {
    walk.opaque(Opaque::Unknown {
        program: name.to_owned(),
    });
}

/// Its modules are files that no word names, and `env` is what it was started with.
fn jq(walk: &mut Walk<'_>, argv: &[Word]) {
    const OPENS: &[&str] = &["import", "include", "modulemeta", "env", "ENV"];
    let args = argv.get(1..).unwrap_or_default();
    let opens = |w: &Word| {
        let mut names = w
            .text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        w.text.len() > MAX_SCRIPT || names.any(|name| OPENS.contains(&name))
    };
    // The first word is the program, unless options with values stand before it.
    let filter = args.iter().find(|w| !w.text.starts_with('-'));
    let unsure = args.iter().any(|w| w.text.starts_with("--"));
    let unknown = filter.is_some_and(|w| !w.is_literal())
        || unsure && args.iter().any(|w| !w.is_literal())
        || args.iter().any(Word::may_be_option);
    if unknown || args.iter().any(opens) {
        walk.code(
            "jq",
            "its program may open files or tell of its environment",
        );
    }
}

/// A program that does nothing but print needs no second look; anything that could run or write does.
fn awk(walk: &mut Walk<'_>, name: &str, argv: &[Word]) {
    let mut args = argv.iter().skip(1);
    while let Some(word) = args.next() {
        if word.may_be_option()
            || word.dynamic && word.text.starts_with('-') && !word.text.starts_with("-v")
        {
            return unknown(walk, name);
        }
        match word.text.as_str() {
            "-F" | "-v" => {
                if args.next().is_none_or(|w| w.splits || w.glob) {
                    return unknown(walk, name);
                }
            }
            "--" => {}
            text if text.starts_with("-F") || text.starts_with("-v") => {}
            text if text.starts_with('-') => return walk.code(name, text.to_owned()),
            _ if word.dynamic || word.glob => return unknown(walk, name),
            text => {
                let plain = text.replace("||", "");
                let risky = [
                    "system", "getline", "|", ">", "@", "close", "ENVIRON", "ARGV",
                    // Variables and functions by names that are put together.
                    "SYMTAB", "FUNCTAB", "PROCINFO",
                ];
                if text.len() > MAX_SCRIPT || risky.iter().any(|r| plain.contains(r)) {
                    walk.code(name, "its program runs, reads or writes something");
                }
                return;
            }
        }
    }
}
