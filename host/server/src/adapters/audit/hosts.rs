//! What the index keeps of what is done on hosts. Everything there is called something by a client: a password
//! that was typed in the wrong place is the first word of a command line, and looks like a program's name. So
//! until the host has carried it out, only names that everybody knows are kept; and of arguments never more
//! than paths.

use control::index::IndexText;
use recorder::doc::{AccessDoc, ActionDoc, FactsDoc, SshDoc};
use recorder::hosts;

/// The longest path that is kept.
const LONGEST_PATH: usize = 200;
const UNKNOWN: &str = "(unknown)";

pub(super) fn is_on_host(doc: &ActionDoc) -> bool {
    matches!(doc.facts, FactsDoc::Ssh(_)) || doc.accesses.iter().any(|a| a.kind.starts_with("Ssh"))
}

/// With the whole line done, and nothing but one program in it, the host has shown that there is one.
fn is_one(doc: &ActionDoc) -> bool {
    let programs = doc.accesses.iter().filter(|a| a.kind == "SshProgram");
    programs.count() == 1
}

/// None: it is not of a host.
pub(super) fn resource(access: &AccessDoc, doc: &ActionDoc, is_carried: bool) -> Option<String> {
    let kind = &*access.kind;
    if !kind.starts_with("Ssh") {
        return None;
    }
    let parts = parts(access);
    let has = |flag: &str| access.flags.iter().any(|f| f == flag);
    let at = |at: usize| parts.get(at).copied().unwrap_or_default();
    let shown = match kind {
        _ if !is_carried || has("unknown") => None,
        "SshAccount" => Some(at(0).to_owned()),
        "SshProgram" => Some(at(1).to_owned()).filter(|_| is_one(doc)),
        "SshFile" => path(at(1)).map(str::to_owned),
        "SshEndpoint" => Some(format!("{}:{}", at(0), at(1))),
        "SshVariable" | "SshSubsystem" => Some(at(1).to_owned()),
        _ => None,
    };
    if let Some(shown) = shown {
        return Some(format!("{kind}::{shown}"));
    }
    let plain = hosts::resource(kind, &parts, has("loopback"), |_| "?".into());
    let plain = plain.unwrap_or_else(|| format!("{kind}::?"));
    Some(match plain.strip_suffix("::?") {
        Some(kind) => format!("{kind}::{UNKNOWN}"),
        None => plain,
    })
}

/// Programs, and when it was carried out, paths.
pub(super) fn text(ssh: &SshDoc, doc: &ActionDoc) -> Result<IndexText, &'static str> {
    if !ssh.parsed {
        return Err("it was not understood in full");
    }
    let mut known = vec![ssh.kind.clone()];
    let mut carried = known.clone();
    let is_one = is_one(doc) && ssh.commands.len() == 1;
    for command in &ssh.commands {
        let program = command.argv.first().map_or("", String::as_str);
        for word in command.by.iter().map(String::as_str).chain([program]) {
            let name = word.rsplit('/').next().unwrap_or(word);
            let plain = hosts::program(name).unwrap_or("?");
            known.push(plain.to_owned());
            let is_shown = is_one && word == program && !command.dynamic;
            carried.push(if is_shown { name } else { plain }.to_owned());
        }
    }
    // What several programs do with it, no status tells.
    if is_one || ssh.commands.is_empty() {
        let files = doc.accesses.iter().filter(|a| a.kind == "SshFile");
        let files = files.filter_map(|a| parts(a).get(1).copied());
        let paths = ssh.paths.iter().map(|p| p.path.as_str());
        let mut paths: Vec<&str> = files.chain(paths).filter_map(path).collect();
        paths.dedup();
        carried.extend(paths.into_iter().map(str::to_owned));
    }
    Ok(IndexText {
        carried: carried.join(" "),
        known: known.join(" "),
    })
}

/// The parts of the name.
fn parts(access: &AccessDoc) -> Vec<&str> {
    match (&*access.path, &*access.kind) {
        ([], "SshAccount") => vec![&access.resource],
        ([], _) => access.resource.split('.').collect(),
        (path, _) => path.iter().map(String::as_str).collect(),
    }
}

/// A path from the root without anything that only a text has.
fn path(path: &str) -> Option<&str> {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@".contains(c);
    let is_plain = path.starts_with('/') && path.len() <= LONGEST_PATH && path.chars().all(plain);
    is_plain.then_some(path)
}
