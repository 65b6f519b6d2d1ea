//! Clients of containers, by which programs run in one.

use crate::peel::permuted;
use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::wrappers;

pub(crate) fn docker(
    walk: &mut Walk<'_>,
    name: &str,
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let global = wrappers::DOCKER.read(name, args)?;
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
    elsewhere(walk, name, &global.options, ctx);
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
    for (_, value) in found
        .options
        .iter()
        .filter(|(n, _)| matches!(n.as_str(), "e" | "env"))
    {
        if let Some((variable, text)) = value.as_ref().and_then(|v| v.text.split_once('=')) {
            walk.set(variable, &Word::literal(text));
        }
    }
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
    elsewhere(walk, name, &global.options, ctx);
    elsewhere(walk, name, &found, ctx);
    let mut under = ctx.under(name);
    let given = |letter: &str, long: &str| found.iter().any(|(n, _)| n == letter || n == long);
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

/// What runs in a container stands in a directory of the container's. Which one is reached, and by what: a
/// configuration names programs that are run for it, and a host one to which credentials are sent.
fn elsewhere(walk: &mut Walk<'_>, name: &str, options: &[(String, Option<Word>)], ctx: &Ctx) {
    const PLAIN: &[&str] = &[
        "D",
        "c",
        "container",
        "debug",
        "i",
        "log-level",
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
    walk.moved = true;
    for (option, _) in options {
        let told = match option.as_str() {
            "config" | "context" | "H" | "host" => !kubectl,
            "c" => !kubectl,
            "kubeconfig" => true,
            _ => false,
        };
        if told {
            walk.code(
                name,
                "what it is told to use may run programs, or be another host",
            );
            // It may stand on standard input.
            if ctx.stdin == Stdin::Session {
                walk.taken(name);
            }
        } else if !PLAIN.contains(&option.trim_end_matches('=')) {
            walk.out.only_reads = false;
            walk.hazard(
                "network",
                name,
                format!("{option}: whom it asks, or as whom"),
            );
        }
    }
}
