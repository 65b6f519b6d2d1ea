//! Clients of containers, by which programs run in one, and `ip`, by which they run in a name space.

use crate::parse::is_name;
use crate::peel::permuted;
use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::wrappers;

/// An option, and its value.
type Given = (String, Option<Word>);

pub(crate) fn docker(
    walk: &mut Walk<'_>,
    name: &str,
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let global = wrappers::DOCKER.read(name, args)?;
    asks(walk, name, &global.options, ctx);
    let mut rest = global.rest;
    if rest.first().is_some_and(|w| w.text == "container") {
        rest = rest.get(1..).unwrap_or_default();
    }
    let Some((verb, rest)) = rest.split_first() else {
        return Ok(false);
    };
    if verb.dynamic
        || matches!(
            verb.text.as_str(),
            "run"
                | "create"
                | "compose"
                | "build"
                | "buildx"
                | "stack"
                | "service"
                | "unshare"
                | "machine"
                | "kube"
                | "play"
        )
    {
        return Err(Opaque::Runs(format!("{name} {}", verb.text)));
    }
    if verb.text != "exec" {
        return Ok(false);
    }
    let found = wrappers::DOCKER_EXEC.read(name, rest)?;
    walk.moved = true;
    let mut under = ctx.under(name);
    under.as_user = found.value(&["u", "user"]).map(|w| w.text.clone());
    if found.rest.is_empty() {
        return Ok(false);
    }
    if !(found.has("i") || found.has("interactive")) {
        under.stdin = Stdin::Empty;
    } else if ctx.stdin == Stdin::Session {
        walk.taken(name);
    }
    if found.has("t") || found.has("tty") {
        walk.terminal();
    }
    variables(walk, name, &found.options)?;
    walk.command(found.rest.to_vec(), &under);
    Ok(true)
}

pub(crate) fn kubectl(
    walk: &mut Walk<'_>,
    name: &str,
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let global = wrappers::KUBECTL.read(name, args)?;
    asks(walk, name, &global.options, ctx);
    let Some((verb, rest)) = global.rest.split_first() else {
        return Ok(false);
    };
    if verb.dynamic
        || matches!(
            verb.text.as_str(),
            "run" | "debug" | "plugin" | "edit" | "config" | "rsh"
        )
    {
        return Err(Opaque::Runs(format!("{name} {}", verb.text)));
    }
    if verb.text != "exec" {
        // Behind the verb, too, it counts.
        if rest.iter().any(|w| w.text.starts_with("--kubeconfig")) {
            configured(walk, name, ctx);
        }
        return Ok(false);
    }
    let end = rest
        .iter()
        .position(|w| w.text == "--")
        .ok_or_else(|| Opaque::Runs(format!("{name} exec")))?;
    let (before, command) = rest.split_at(end);
    let (found, operands) = permuted(wrappers::KUBECTL, name, before)?;
    if operands.len() != 1 {
        return Err(Opaque::Runs(format!("{name} exec")));
    }
    asks(walk, name, &found, ctx);
    walk.moved = true;
    let mut under = ctx.under(name);
    // They count before the verb, too.
    let given = |letter: &str, long: &str| {
        let mut options = found.iter().chain(&global.options);
        options.any(|(n, _)| n == letter || n == long)
    };
    if !given("i", "stdin") {
        under.stdin = Stdin::Empty;
    } else if ctx.stdin == Stdin::Session {
        walk.taken(name);
    }
    if given("t", "tty") {
        walk.terminal();
    }
    walk.command(command.get(1..).unwrap_or_default().to_vec(), &under);
    Ok(true)
}

/// `ip netns exec`, `ip vrf exec`, and what stands in a file of such commands. Words can be cut short.
pub(crate) fn network_runs(args: &[Word]) -> bool {
    let short = |word: &Word, long: &str, least: usize| {
        word.text.len() >= least && long.starts_with(word.text.as_str())
    };
    let spaces = args
        .iter()
        .any(|w| short(w, "netns", 1) || short(w, "vrf", 1));
    args.iter()
        .any(|w| short(w, "exec", 1) || short(w, "-batch", 2) || spaces && !w.is_literal())
}

/// Whom it asks, as whom, and with which configuration.
fn asks(walk: &mut Walk<'_>, name: &str, options: &[Given], ctx: &Ctx) {
    const DOCKER: &[&str] = &["D", "debug", "l", "log-level"];
    const KUBECTL: &[&str] = &[
        "c",
        "container",
        "i",
        "n",
        "namespace",
        "pod-running-timeout",
        "q",
        "quiet",
        "request-timeout",
        "stdin",
        "t",
        "tty",
    ];
    let kubectl = matches!(name, "kubectl" | "oc");
    for (option, _) in options {
        let option = option.as_str();
        match kubectl {
            true if option == "kubeconfig" => configured(walk, name, ctx),
            // A host may be one that `ssh` reaches, and so may that of a context.
            false if matches!(option, "H" | "host" | "c" | "context" | "config") => {
                configured(walk, name, ctx);
            }
            true if KUBECTL.contains(&option) => {}
            false if DOCKER.contains(&option) => {}
            _ => {
                walk.out.only_reads = false;
                walk.hazard(
                    "network",
                    name,
                    format!("{option}: whom it asks, or as whom"),
                );
            }
        }
    }
}

/// A configuration names programs, which the client runs for it. Both it and they may read what the session sends.
fn configured(walk: &mut Walk<'_>, name: &str, ctx: &Ctx) {
    walk.code(
        name,
        "what it is told to use may run programs, or be elsewhere",
    );
    if ctx.stdin == Stdin::Session {
        walk.taken(name);
    }
}

/// What the program in the container gets; without a value, of this environment, in which it may be anything.
fn variables(walk: &mut Walk<'_>, name: &str, options: &[Given]) -> Result<(), Opaque> {
    for (option, value) in options {
        match (option.as_str(), value) {
            ("e" | "env", Some(value)) => {
                let (variable, text) = match value.text.split_once('=') {
                    Some((variable, text)) => (variable, Word::literal(text)),
                    None => (value.text.as_str(), Word::anything()),
                };
                if !value.is_literal() || !is_name(variable) {
                    return Err(Opaque::Environment(format!("{name} exec -{option}")));
                }
                walk.set(variable, &text);
            }
            ("env-file", _) => return Err(Opaque::Environment(format!("{name} exec --{option}"))),
            _ => {}
        }
    }
    Ok(())
}
