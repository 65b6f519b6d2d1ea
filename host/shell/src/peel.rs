//! Programs that run others: their own words are taken off, and what they run is looked at in their place.

use crate::options::{Found, Spec};
use crate::parse::is_name;
use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::{containers, find, marks, programs, reads, wrappers};

const OTHERS: &[&str] = &[
    "busybox", "command", "docker", "exec", "find", "flock", "kubectl", "nerdctl", "oc",
    "parallel", "podman", "ssh", "su", "toybox", "watch", "xargs",
];

/// What these run is elsewhere.
const ELSEWHERE: &[&str] = &["chroot", "nsenter", "unshare"];
/// So it is with these options.
const CHANGES_DIR: &[&str] = &["C", "D", "R", "chdir", "chroot", "w", "wd", "i", "login"];

pub(crate) fn is_wrapper(name: &str) -> bool {
    OTHERS.contains(&name) || wrappers::UNFOLLOWED.contains(&name) || wrappers::spec(name).is_some()
}

/// False: the program is none of these, and what it does is for others to say.
pub(crate) fn run(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) -> bool {
    walk.wrapper(name, argv);
    let done = try_run(walk, name, argv, ctx);
    match done {
        Ok(done) => done,
        Err(reason) => {
            walk.opaque(reason);
            walk.push(argv.to_vec(), ctx);
            true
        }
    }
}

fn try_run(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    let args = argv.get(1..).unwrap_or_default();
    let done = match name {
        _ if programs::is_shell(name) => shell(walk, name, argv, args, ctx)?,
        _ if programs::is_foreign_shell(name) || wrappers::UNFOLLOWED.contains(&name) => {
            return Err(Opaque::Runs(name.to_owned()));
        }
        "command" | "exec" => keeps_shell(walk, name, argv, args, ctx)?,
        "xargs" => marks::xargs(walk, argv, args, ctx)?,
        "find" => find::run(walk, argv, args, ctx)?,
        "watch" => watch(walk, args, ctx)?,
        "parallel" => marks::parallel(walk, args, ctx)?,
        "flock" => flock(walk, argv, args, ctx)?,
        "ssh" => ssh(walk, argv, args, ctx)?,
        "su" => su(walk, args, ctx)?,
        "docker" | "podman" | "nerdctl" => containers::docker(walk, name, args, ctx)?,
        "ip" | "tc" if containers::network_runs(args) => return Err(Opaque::Runs(name.to_owned())),
        "kubectl" | "oc" => containers::kubectl(walk, name, args, ctx)?,
        "busybox" | "toybox" => match args.first() {
            Some(applet) if !applet.text.starts_with('-') => {
                let mut under = ctx.under(name);
                under.in_shell = false;
                walk.command(args.to_vec(), &under);
                // Its programs need not do what others of these names do.
                walk.out.only_reads &= reads::APPLETS.contains(&applet.text.as_str());
                true
            }
            _ => false,
        },
        _ => match wrappers::spec(name) {
            Some(spec) => plain(walk, name, spec, argv, args, ctx)?,
            None => false,
        },
    };
    Ok(done)
}

fn plain(
    walk: &mut Walk<'_>,
    name: &str,
    spec: Spec,
    argv: &[Word],
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let found = spec.read(name, args)?;
    // Newer ones take the command where older ones want a priority.
    let number = |w: &Word| w.is_literal() && w.text.chars().all(|c| c.is_ascii_digit());
    if name == "chrt" && !found.operands.iter().all(number) {
        return Err(Opaque::Option {
            program: name.to_owned(),
            option: "priority".to_owned(),
        });
    }
    // BusyBox once took the program there.
    let duration = |w: &Word| {
        let digits = w.text.trim_end_matches(['s', 'm', 'h', 'd']);
        w.dynamic || !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    if name == "timeout" && !found.operands.iter().all(duration) {
        return Err(Opaque::Option {
            program: name.to_owned(),
            option: "duration".to_owned(),
        });
    }
    // What runs is another file than the one of this name here. `nohup` makes a file where there is a terminal.
    if ELSEWHERE.contains(&name)
        || name == "nohup"
        || name.starts_with("sudo") && (found.has("R") || found.has("chroot"))
    {
        walk.out.only_reads = false;
    }
    let mut under = ctx.under(name);
    walk.moved |= ELSEWHERE.contains(&name)
        || matches!(name, "env" | "sudo" | "sudo-rs" | "sudo.ws")
            && CHANGES_DIR
                .iter()
                .any(|option| found.has(option) && !(name == "env" && *option == "i"));
    // Without it, some look for programs where they stand.
    if name == "env"
        && found
            .value(&["u", "unset"])
            .is_some_and(|w| w.text == "PATH" || w.dynamic)
    {
        return Err(Opaque::Environment("PATH".to_owned()));
    }
    for (variable, value) in &found.assigns {
        if !is_name(variable) {
            return Err(Opaque::Option {
                program: name.to_owned(),
                option: variable.clone(),
            });
        }
        walk.set(variable, value);
        under.env.push((variable.clone(), value.clone()));
    }
    match name {
        "sudo" | "sudo-rs" | "sudo.ws" => {
            if found.has("e") {
                return Err(Opaque::Runs("sudoedit".into()));
            }
            if found.has("i") || found.has("s") || found.has("login") || found.has("shell") {
                return as_login(walk, name, &found, argv, under).map(|()| true);
            }
            under.as_user = Some(user(&found, &["u", "user"]));
            // The first line may be a password.
            under.shared |= found.has("S") || found.has("stdin");
        }
        "doas" => {
            under.as_user = Some(user(&found, &["u"]));
            if found.has("s") && found.rest.is_empty() {
                walk.fed(name, true, argv, &under);
                return Ok(true);
            }
        }
        "builtin" => under.in_shell = true,
        _ => {}
    }
    if found.rest.is_empty() {
        // `sudo -l`, `env`, `nice`: they say something about themselves. Others start a shell then.
        if matches!(name, "chroot" | "unshare" | "nsenter") {
            walk.fed(name, true, argv, &under);
        } else {
            walk.leaf(name, argv.to_vec(), ctx);
        }
        return Ok(true);
    }
    walk.command(found.rest.to_vec(), &under);
    Ok(true)
}

fn user(found: &Found<'_>, names: &[&str]) -> String {
    found
        .value(names)
        .map_or_else(|| "root".to_owned(), |w| w.text.clone())
}

/// `sudo -i` and `sudo -s`: the words go through a shell, escaped but for `$`.
fn as_login(
    walk: &mut Walk<'_>,
    name: &str,
    found: &Found<'_>,
    argv: &[Word],
    mut under: Ctx,
) -> Result<(), Opaque> {
    under.as_user = Some(user(found, &["u", "user"]));
    under.shared |= found.has("S") || found.has("stdin");
    if found.rest.is_empty() {
        walk.fed(name, true, argv, &under);
        return Ok(());
    }
    // Words are joined, and read once more: an empty one is none then, and a line end is taken out.
    let lost = |w: &Word| w.text.is_empty() || w.text.contains(['$', '\n']);
    if found.rest.iter().any(lost) {
        return Err(Opaque::Unknown {
            program: name.to_owned(),
        });
    }
    // So builtins run, too: of whatever shell the account has.
    under.in_shell = true;
    under.shell = Some(name.to_owned());
    walk.afresh(|walk| walk.command(found.rest.to_vec(), &under));
    Ok(())
}

fn keeps_shell(
    walk: &mut Walk<'_>,
    name: &str,
    argv: &[Word],
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let spec = if name == "exec" {
        wrappers::EXEC
    } else {
        wrappers::COMMAND
    };
    let found = spec.read(name, args)?;
    // What the shell itself reads from then on.
    if name == "exec" && found.rest.is_empty() && ctx.redirected {
        return Err(Opaque::Fed {
            program: name.to_owned(),
        });
    }
    if found.rest.is_empty() || found.has("v") || found.has("V") {
        walk.leaf(name, argv.to_vec(), ctx);
        return Ok(true);
    }
    let mut under = ctx.under(name);
    // `command` finds builtins still, but no functions; `exec` finds neither.
    if name == "command" && ctx.in_shell {
        let head = found
            .rest
            .first()
            .map(|w| w.text.clone())
            .unwrap_or_default();
        if !walk.is_function(&head) {
            under.in_shell = true;
        } else if programs::is_known(&head) {
            return Err(Opaque::Shadowed(head));
        }
    }
    walk.command(found.rest.to_vec(), &under);
    Ok(true)
}

fn shell(
    walk: &mut Walk<'_>,
    name: &str,
    argv: &[Word],
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    const SETTABLE: [&str; 6] = [
        "errexit",
        "nounset",
        "pipefail",
        "xtrace",
        "noglob",
        "noclobber",
    ];
    let found = wrappers::SHELL.read(name, args)?;
    let settable = |w: &Word| w.is_literal() && SETTABLE.contains(&w.text.as_str());
    for (option, value) in &found.options {
        if value.as_ref().is_some_and(|v| !settable(v)) {
            return Err(Opaque::Option {
                program: name.to_owned(),
                option: option.clone(),
            });
        }
    }
    // What an interactive one is fed, history expansion rewrites first. To zsh, `-b` ends the options.
    let refused = [
        ("i", found.has("i") && !found.has("c")),
        ("b", found.has("b") && name == "zsh"),
        // dash reads both, the text and what it is fed.
        ("s", found.has("s") && found.has("c")),
    ];
    if let Some((option, _)) = refused.into_iter().find(|(_, refused)| *refused) {
        return Err(Opaque::Option {
            program: name.to_owned(),
            option: option.to_owned(),
        });
    }
    let mut rest = found.rest;
    if let Some((first, others)) = rest.split_first() {
        if first.text == "-" {
            rest = others;
        } else if first.text.starts_with('+') {
            return Err(Opaque::Option {
                program: name.to_owned(),
                option: first.text.clone(),
            });
        }
    }
    let under = ctx.under(name);
    let Some(first) = rest.first().filter(|_| !found.has("s")) else {
        if found.has("c") {
            return Err(Opaque::Unknown {
                program: name.to_owned(),
            });
        }
        walk.fed(name, true, argv, ctx);
        return Ok(true);
    };
    if found.has("c") {
        code(walk, name, first, &under)?;
        return Ok(true);
    }
    if matches!(
        first.text.as_str(),
        "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0"
    ) {
        walk.fed(name, true, argv, ctx);
        return Ok(true);
    }
    if !first.is_literal() || first.text.starts_with("/dev/") || first.text.starts_with("/proc/") {
        return Err(Opaque::Fed {
            program: name.to_owned(),
        });
    }
    walk.hazard("script-file", name, first.text.clone());
    walk.leaf(name, argv.to_vec(), ctx);
    Ok(true)
}

/// Text for a shell that stands in a word.
fn code(walk: &mut Walk<'_>, name: &str, text: &Word, under: &Ctx) -> Result<(), Opaque> {
    if !text.is_code() {
        return Err(Opaque::Unknown {
            program: name.to_owned(),
        });
    }
    walk.other(&text.text, name, under);
    Ok(())
}

/// Words that a program puts together with blanks and gives to a shell.
fn joined(walk: &mut Walk<'_>, name: &str, words: &[Word], under: &Ctx) -> Result<(), Opaque> {
    if !words.iter().all(Word::is_code) {
        return Err(Opaque::Unknown {
            program: name.to_owned(),
        });
    }
    let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
    walk.other(&texts.join(" "), name, under);
    Ok(())
}

fn watch(walk: &mut Walk<'_>, args: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    let found = wrappers::WATCH.read("watch", args)?;
    // `-dx` is `-d` with a word of its own for some.
    if found.value(&["d"]).is_some() {
        return Err(Opaque::Option {
            program: "watch".into(),
            option: "-d".into(),
        });
    }
    // A key writes what it shows to a file.
    walk.out.only_reads = false;
    let mut under = ctx.under("watch");
    // It runs again, and takes keys.
    under.shared = true;
    if found.has("x") || found.has("exec") {
        walk.command(found.rest.to_vec(), &under);
    } else {
        joined(walk, "watch", found.rest, &under)?;
    }
    Ok(true)
}

fn flock(walk: &mut Walk<'_>, argv: &[Word], args: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    let found = wrappers::FLOCK.read("flock", args)?;
    let under = ctx.under("flock");
    // It makes the file that it locks.
    walk.out.only_reads = false;
    match found.rest {
        [] => walk.leaf("flock", argv.to_vec(), ctx),
        [option, text] if matches!(option.text.as_str(), "-c" | "--command") => {
            code(walk, "flock", text, &under)?;
        }
        [option, ..] if option.text.starts_with('-') => {
            return Err(Opaque::Option {
                program: "flock".into(),
                option: option.text.clone(),
            });
        }
        rest => walk.command(rest.to_vec(), &under),
    }
    Ok(true)
}

fn ssh(walk: &mut Walk<'_>, argv: &[Word], args: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    // Options may stand before and behind the host.
    let before = wrappers::SSH.read("ssh", args)?;
    let Some((host, rest)) = before.rest.split_first() else {
        return Ok(false);
    };
    let after = wrappers::SSH.read("ssh", rest)?;
    for (option, value) in before.options.iter().chain(&after.options) {
        let text = value
            .as_ref()
            .map(|v| v.text.to_ascii_lowercase())
            .unwrap_or_default();
        let runs = [
            "command",
            "include",
            "match",
            "forward",
            "identityagent",
            "pkcs11",
            "securitykey",
            "askpass",
        ];
        if option == "o"
            && (value.as_ref().is_some_and(|v| v.dynamic) || runs.iter().any(|r| text.contains(r)))
        {
            walk.code("ssh", format!("-o {text}"));
        }
        if matches!(
            option.as_str(),
            "F" | "I" | "S" | "D" | "L" | "R" | "W" | "w" | "A" | "J"
        ) {
            walk.hazard("runs-by-option", "ssh", format!("-{option} {text}"));
        }
    }
    walk.hazard("network", "ssh", host.text.clone());
    // What it does elsewhere, and by which way it gets there, is not this host's to say.
    walk.out.only_reads = false;
    let quiet = |options: &[(String, Option<Word>)]| options.iter().any(|(o, _)| o == "n");
    if ctx.stdin == Stdin::Session && !quiet(&before.options) && !quiet(&after.options) {
        walk.taken("ssh");
    }
    let mut under = ctx.under("ssh");
    if after.rest.is_empty() {
        walk.fed("ssh", true, argv, &under);
        return Ok(true);
    }
    under.env.clear();
    joined(walk, "ssh", after.rest, &under)?;
    Ok(true)
}

/// `su` takes options behind its operands too.
fn su(walk: &mut Walk<'_>, args: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    let (found, operands) = permuted(wrappers::SU, "su", args)?;
    let mut operands: Vec<&Word> = operands.iter().collect();
    let dash = operands.first().is_some_and(|w| w.text == "-");
    if dash {
        operands.remove(0);
    }
    let mut under = ctx.under("su");
    // Without a terminal, the first line is a password.
    under.shared = true;
    let login = |name: &str| matches!(name, "l" | "login");
    walk.moved |= dash || found.iter().any(|(name, _)| login(name));
    under.as_user = Some(
        operands
            .first()
            .map_or_else(|| "root".to_owned(), |w| w.text.clone()),
    );
    let shell_known = found.iter().all(|(name, value)| {
        !matches!(name.as_str(), "s" | "shell")
            || value
                .as_ref()
                .is_some_and(|v| v.is_literal() && programs::is_shell(programs::name(&v.text)))
    });
    // With a terminal, every pager is a way into a shell.
    let terminal = found
        .iter()
        .any(|(name, _)| matches!(name.as_str(), "P" | "pty"));
    if operands.len() > 1 || !shell_known || terminal {
        return Err(Opaque::Runs("su".into()));
    }
    let text = found
        .iter()
        .rev()
        .find(|(n, _)| matches!(n.as_str(), "c" | "command" | "session-command"));
    match text {
        Some((_, Some(text))) => code(walk, "su", text, &under)?,
        _ => walk.fed("su", true, args, &under),
    }
    Ok(true)
}

pub(crate) type Options = Vec<(String, Option<Word>)>;

pub(crate) fn permuted(
    spec: Spec,
    name: &str,
    args: &[Word],
) -> Result<(Options, Vec<Word>), Opaque> {
    let mut options = Vec::new();
    let mut operands = Vec::new();
    let mut rest = args;
    loop {
        let found = spec.read(name, rest)?;
        let dashes = rest.len() > found.rest.len()
            && rest
                .get(rest.len() - found.rest.len() - 1)
                .is_some_and(|w| w.text == "--");
        options.extend(found.options);
        if dashes {
            operands.extend_from_slice(found.rest);
            return Ok((options, operands));
        }
        match found.rest.split_first() {
            Some((operand, others)) => {
                operands.push(operand.clone());
                rest = others;
            }
            None => return Ok((options, operands)),
        }
    }
}
