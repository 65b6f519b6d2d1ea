//! `find`: an expression in which commands, deletions and files to write may stand anywhere.

use crate::marks::filled;
use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};

/// Primaries with how many words follow each.
const PLAIN: &[(&str, usize)] = &[
    ("-H", 0),
    ("-L", 0),
    ("-P", 0),
    ("-O1", 0),
    ("-O2", 0),
    ("-O3", 0),
    ("-D", 1),
    ("-depth", 0),
    ("-d", 0),
    ("-follow", 0),
    ("-maxdepth", 1),
    ("-mindepth", 1),
    ("-mount", 0),
    ("-xdev", 0),
    ("-noleaf", 0),
    ("-daystart", 0),
    ("-ignore_readdir_race", 0),
    ("-noignore_readdir_race", 0),
    ("-regextype", 1),
    ("-warn", 0),
    ("-nowarn", 0),
    ("-amin", 1),
    ("-anewer", 1),
    ("-atime", 1),
    ("-cmin", 1),
    ("-cnewer", 1),
    ("-ctime", 1),
    ("-empty", 0),
    ("-executable", 0),
    ("-false", 0),
    ("-fstype", 1),
    ("-gid", 1),
    ("-group", 1),
    ("-ilname", 1),
    ("-iname", 1),
    ("-inum", 1),
    ("-ipath", 1),
    ("-iregex", 1),
    ("-iwholename", 1),
    ("-links", 1),
    ("-lname", 1),
    ("-mmin", 1),
    ("-mtime", 1),
    ("-name", 1),
    ("-newer", 1),
    ("-nogroup", 0),
    ("-nouser", 0),
    ("-path", 1),
    ("-perm", 1),
    ("-print", 0),
    ("-print0", 0),
    ("-printf", 1),
    ("-prune", 0),
    ("-quit", 0),
    ("-readable", 0),
    ("-regex", 1),
    ("-samefile", 1),
    ("-size", 1),
    ("-true", 0),
    ("-type", 1),
    ("-uid", 1),
    ("-used", 1),
    ("-user", 1),
    ("-wholename", 1),
    ("-writable", 0),
    ("-xtype", 1),
    ("-ls", 0),
    ("-a", 0),
    ("-and", 0),
    ("-o", 0),
    ("-or", 0),
    ("-not", 0),
    ("-newermt", 1),
    ("-newerct", 1),
    ("-newerat", 1),
    ("-context", 1),
];

pub(crate) fn run(
    walk: &mut Walk<'_>,
    argv: &[Word],
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let mut at = 0;
    let mut writes = false;
    let mut commands = Vec::new();
    while let Some(word) = args.get(at) {
        at += 1;
        if word.may_be_option() {
            return Err(Opaque::DynamicOption {
                program: "find".into(),
            });
        }
        if !word.text.starts_with('-') {
            continue;
        }
        match word.text.as_str() {
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let rest = args.get(at..).unwrap_or_default();
                walk.moved |= word.text.ends_with("dir");
                let Some(length) = end_of(rest, !word.text.starts_with("-ok")) else {
                    return Err(Opaque::Option {
                        program: "find".into(),
                        option: word.text.clone(),
                    });
                };
                let (command, _) = rest.split_at(length);
                // One of them may be what ends it, and what stands behind it more of find's own words.
                let ends = |w: &Word| w.dynamic && (w.leads || w.text.starts_with([';', '+']));
                let own = |w: &Word| !w.is_literal() || w.text.starts_with('-');
                let ended = command.iter().skip_while(|w| !ends(w)).skip(1);
                if command.iter().any(|w| w.splits || w.glob) || ended.into_iter().any(own) {
                    return Err(Opaque::DynamicOption {
                        program: "find".into(),
                    });
                }
                commands.push(command.iter().map(|w| filled(w, "{}")).collect::<Vec<_>>());
                at += length + 1;
            }
            "-delete" => writes = true,
            "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                writes = true;
                if let Some(file) = args.get(at) {
                    crate::hazards::path(walk, "find", file, true);
                }
                at += if word.text == "-fprintf" { 2 } else { 1 };
            }
            option => match PLAIN.iter().find(|(name, _)| *name == option) {
                Some((_, words)) => {
                    // The value may be anything, but it has to be one word.
                    let values = args.iter().skip(at).take(*words);
                    if values
                        .clone()
                        .any(|w| w.splits || (w.glob && w.may_be_option()))
                    {
                        return Err(Opaque::DynamicOption {
                            program: "find".into(),
                        });
                    }
                    at += words;
                }
                None => {
                    return Err(Opaque::Option {
                        program: "find".into(),
                        option: option.to_owned(),
                    });
                }
            },
        }
    }
    if writes {
        walk.out.only_reads = false;
    }
    walk.leaf("find", argv.to_vec(), ctx);
    if ctx.stdin == Stdin::Session && !commands.is_empty() {
        walk.taken("find");
    }
    let mut under = ctx.under("find");
    under.stdin = Stdin::Other;
    for command in commands {
        walk.command(command, &under);
    }
    Ok(true)
}

/// Where the command ends: at `;`, or at `+` behind `{}`. BusyBox ends it at any `+`, and so `plus` there says nothing
/// about what comes behind it.
fn end_of(words: &[Word], plus: bool) -> Option<usize> {
    let mut before = "";
    for (i, word) in words.iter().enumerate() {
        if word.text == "+" && !(plus && before == "{}") {
            return None;
        }
        if word.text == ";" || word.text == "+" {
            return (i > 0).then_some(i);
        }
        before = &word.text;
    }
    None
}
