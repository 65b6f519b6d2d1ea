//! What approvers read.

use std::fmt::Write;

use weir_plugin::{Demand, Operation, Relation, Risk, Rule, Session};

/// Longer statements are cut; the record and the inbox have them in full.
const MAX_STATEMENT: usize = 6000;
const MAX_NAMES: usize = 20;
const MAX_FINDINGS: usize = 20;
const MAX_NAME: usize = 200;
const MAX_TITLE: usize = 60;

/// One line: who wants what, where, under which rule.
pub fn title(session: &Session, op: &Operation, rule: &Rule) -> String {
    let short = |text: &str| visible(text, MAX_TITLE).replace('\n', " ");
    format!(
        "{}: {} wants to {} on {}",
        short(&rule.name),
        short(&session.principal.subject),
        verb(op),
        short(&session.target)
    )
}

pub fn markdown(session: &Session, op: &Operation, rule: &Rule, risk: &Risk) -> String {
    let mut out = String::new();
    if !rule.description.is_empty() {
        line(&mut out, &format!("> {}", escaped(&rule.description)));
        line(&mut out, "");
    }
    let who = &session.principal;
    line(
        &mut out,
        &format!("- **Who:** {} ({})", code(&who.subject), escaped(&who.kind)),
    );
    if !who.chain.is_empty() {
        let links = who.chain.iter().take(MAX_NAMES).map(|link| code(link));
        let chain: Vec<_> = links.chain([code(&who.subject)]).collect();
        line(
            &mut out,
            &format!("- **On behalf of:** {}", chain.join(" → ")),
        );
    }
    let attr = |key: &str| {
        let found = session.attrs.iter().find(|(k, _)| k == key);
        found.map(|(_, value)| code(value))
    };
    let mut target = code(&session.target);
    if let Some(env) = attr("env") {
        let _ = write!(target, " in {env}");
    }
    if let Some(database) = attr("database") {
        let _ = write!(target, ", database {database}");
    }
    line(&mut out, &format!("- **Target:** {target}"));
    line(&mut out, &format!("- **Rule:** {}", code(&rule.name)));
    operation(&mut out, op);
    findings(&mut out, risk);
    out
}

fn verb(op: &Operation) -> &'static str {
    match op {
        Operation::Sql(_) => "run SQL",
        Operation::Ssh(_) => "run a command",
        Operation::Http(_) => "call an API",
        Operation::Kube(_) => "act on a cluster",
        Operation::Mcp(_) => "call a tool",
        Operation::Other(other) if other.kind == "connect" => "connect",
        Operation::Other(_) => "do something",
    }
}

fn operation(out: &mut String, op: &Operation) {
    match op {
        Operation::Sql(sql) => {
            relations(out, "Reads", &sql.reads);
            relations(out, "Writes", &sql.writes);
            fenced(out, "sql", &sql.text);
        }
        Operation::Ssh(ssh) => match &ssh.command {
            Some(command) => fenced(out, "sh", command),
            None => fenced(out, "", &ssh.argv.join(" ")),
        },
        Operation::Http(http) => {
            let query = if http.query.is_empty() { "" } else { "?" };
            let text = format!(
                "{} {}{}{query}{}",
                http.method, http.authority, http.path, http.query
            );
            fenced(out, "", &text);
        }
        Operation::Kube(kube) => {
            let text = format!(
                "{} {}/{} in {}",
                kube.verb, kube.resource, kube.name, kube.namespace
            );
            fenced(out, "", &text);
        }
        Operation::Mcp(mcp) => {
            let tool = mcp.tool.as_deref().unwrap_or(&mcp.method);
            fenced(out, "json", &format!("{tool} {}", mcp.arguments_json));
        }
        Operation::Other(other) => line(out, &format!("- **What:** {}", code(&other.kind))),
    }
}

fn relations(out: &mut String, title: &str, relations: &[Relation]) {
    if relations.is_empty() {
        return;
    }
    let one = |r: &Relation| {
        let name = code(&format!("{}.{}", r.schema, r.name));
        match r.labels.is_empty() {
            true => name,
            false => format!("{name} ({})", escaped(&r.labels.join(", "))),
        }
    };
    let mut names: Vec<_> = relations.iter().take(MAX_NAMES).map(one).collect();
    if relations.len() > MAX_NAMES {
        names.push(format!("and {} more", relations.len() - MAX_NAMES));
    }
    line(out, &format!("- **{title}:** {}", names.join(", ")));
}

fn findings(out: &mut String, risk: &Risk) {
    line(out, &format!("**Risk {} of 100**", risk.score));
    line(out, "");
    for finding in risk.findings.iter().take(MAX_FINDINGS) {
        line(
            out,
            &format!("- {}: {}", code(&finding.code), escaped(&finding.message)),
        );
    }
    if risk.findings.len() > MAX_FINDINGS {
        line(
            out,
            &format!("- and {} more", risk.findings.len() - MAX_FINDINGS),
        );
    }
    match &risk.demand {
        Demand::None => {}
        Demand::Escalate(rule) => {
            line(
                out,
                &format!("- a classifier demands the rule {}", code(rule)),
            );
        }
        Demand::Refuse(reason) => {
            line(
                out,
                &format!("- a classifier wants it refused: {}", escaped(reason)),
            );
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// A block that its content cannot end: its fence is longer than any run of backticks in it.
fn fenced(out: &mut String, language: &str, text: &str) {
    let shown = visible(text, MAX_STATEMENT);
    let fence = "`".repeat(longest_run(&shown).max(2) + 1);
    line(out, "");
    line(out, &format!("{fence}{language}\n{shown}\n{fence}"));
    if text.len() > MAX_STATEMENT {
        line(out, &format!("(cut: it has {} bytes)", text.len()));
    }
    line(out, "");
}

/// An inline span that its content cannot end.
fn code(text: &str) -> String {
    let shown = visible(text, MAX_NAME).replace('\n', " ");
    let fence = "`".repeat(longest_run(&shown) + 1);
    match shown.starts_with('`') || shown.ends_with('`') || shown.is_empty() {
        true => format!("{fence} {shown} {fence}"),
        false => format!("{fence}{shown}{fence}"),
    }
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}

/// Plain text on one line, without a meaning in Markdown or HTML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text, MAX_NAME * 4).chars() {
        match c {
            '\n' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '~' | '!' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// At most `max` bytes, with everything that would not be seen, or would change the order of what
/// is seen, written out.
fn visible(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= max {
            out.push('…');
            break;
        }
        let hidden = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        match c {
            '\n' => out.push('\n'),
            '\t' => out.push_str("    "),
            c if c.is_control() || hidden => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}
