//! How long a record will be, before it is made: memory for it is asked for first.

use pipeline::{
    Access, Basis, Demand, Facts, HoldRecord, Intent, Parameter, RefusalRecord, Relation, Resource,
    Risk, SshCommand, SshFacts,
};

/// A longer parameter is recorded by its hash, its length and how it begins.
pub const MAX_PARAMETER: usize = 1 << 20;
/// Of it, this much.
pub const PARAMETER_START: usize = 1 << 10;

/// Field names, numbers, times, digests: whatever does not grow.
const FIXED: usize = 4 << 10;
const PER_ITEM: usize = 64;
/// Names of an access's resource, its labels and flags.
const PER_ACCESS: usize = 1 << 10;
const DIGEST: usize = 256;

/// Bytes of an intent's JSON: never fewer than its texts and parameters take, and about what the rest
/// takes.
pub fn intent(i: &Intent) -> usize {
    let approval = i.approval.as_ref().map_or(0, |a| {
        each(&a.rules, |r| r.len())
            + each(&a.approvers, |a| escaped(a))
            + each(&a.shown, |l| escaped(l))
    });
    FIXED
        + action(&i.facts, &i.accesses, &i.risk)
        + each(&i.policies, |p| p.len())
        + approval
        + each(&i.parameters, parameter)
        + each(&i.masked, |m| escaped(m))
        + basis(&i.basis)
}

pub fn refused(r: &RefusalRecord) -> usize {
    FIXED
        + action(&r.facts, &r.accesses, &r.risk)
        + each(&r.policies, |p| p.len())
        + escaped(&r.reason)
        + each(&r.parameters, parameter)
        + each(&r.shown, |l| escaped(l))
        + basis(&r.basis)
}

pub fn held(h: &HoldRecord) -> usize {
    FIXED
        + action(&h.facts, &h.accesses, &h.risk)
        + each(&h.policies, |p| p.len())
        + escaped(&h.reason)
        + each(&h.parameters, parameter)
        + each(&h.shown, |l| escaped(l))
        + basis(&h.basis)
}

fn basis(b: &Basis) -> usize {
    let column = |c: &pipeline::Column| {
        // By name, and in parts.
        let name = escaped(&c.schema) + escaped(&c.table) + escaped(&c.column);
        2 * name + PER_ITEM + each(c.labels.iter(), |l| escaped(l))
    };
    each(&b.labelled, column) + each(&b.rules, |r| escaped(r)) + b.unmaskable.map_or(0, escaped)
}

fn action(facts: &Facts, accesses: &[Access], risk: &Risk) -> usize {
    let facts = match facts {
        Facts::Connect { scope, .. } => escaped(scope),
        Facts::Sql(s) => {
            escaped(&s.text)
                + each(&s.runs, |n| {
                    let bound = each(n.parameters.iter(), parameter);
                    escaped(&n.name) + escaped(&n.text) + bound
                })
                + each(&s.reads, relation)
                + each(&s.writes_to, relation)
                + each(&s.functions, |f| escaped(f))
        }
        Facts::Ssh(s) => ssh(s),
    };
    let risk = each(&risk.findings, |f| escaped(&f.code) + escaped(&f.message))
        + each(&risk.labels, |l| escaped(l))
        + each(&risk.plugins, |_| DIGEST)
        + each(&risk.demands, |d| match d {
            Demand::None => 0,
            Demand::Escalate(rule) => escaped(rule),
            Demand::Refuse(reason) => escaped(reason),
        });
    facts + risk + each(accesses, |a| PER_ACCESS + access(a))
}

fn ssh(s: &SshFacts) -> usize {
    let command = |c: &SshCommand| {
        each(&c.argv, |word| escaped(word))
            + each(&c.by, |name| escaped(name))
            + c.as_user.as_deref().map_or(0, escaped)
    };
    escaped(&s.login)
        + escaped(&s.text)
        + each(&s.opaque, |why| escaped(why))
        + each(&s.opaque_codes, |code| escaped(code))
        + each(&s.commands, command)
        + each(&s.hazards, |h| {
            escaped(&h.code) + escaped(&h.program) + escaped(&h.why)
        })
        + s.stdin.as_ref().map_or(0, |i| DIGEST + escaped(&i.text))
        + each(&s.paths, |p| escaped(&p.path))
        + each(&s.env, |(name, value)| escaped(name) + escaped(value))
}

/// Names that a client makes as long as it likes: joined, and in parts.
fn access(a: &Access) -> usize {
    let name = match &a.resource {
        Resource::SshAccount { login } => escaped(login),
        Resource::SshProgram {
            login, name, path, ..
        } => escaped(login) + escaped(name) + escaped(path),
        Resource::SshFile { login, path, .. } => escaped(login) + escaped(path),
        Resource::SshEndpoint { host, .. } => escaped(host),
        Resource::SshVariable { login, name, value } => {
            escaped(login) + escaped(name) + escaped(value)
        }
        Resource::SshSubsystem { login, name } => escaped(login) + escaped(name),
        _ => 0,
    };
    2 * name
}

fn relation(r: &Relation) -> usize {
    2 * (escaped(&r.schema) + escaped(&r.name)) + PER_ITEM + each(r.labels.iter(), |l| escaped(l))
}

fn each<T>(items: impl IntoIterator<Item = T>, len: impl Fn(T) -> usize) -> usize {
    items.into_iter().map(|i| PER_ITEM + len(i)).sum()
}

fn parameter(parameter: &Parameter) -> usize {
    let about = match parameter {
        Parameter::Binary(v) => {
            let of = v.of.as_deref().map_or(0, escaped);
            PER_ITEM + of + v.text.as_deref().map_or(0, escaped)
        }
        Parameter::Null | Parameter::Text(_) => 0,
    };
    let bytes = match (parameter, parameter.bytes()) {
        (_, None) => 0,
        (_, Some(bytes)) if bytes.len() > MAX_PARAMETER => DIGEST + 6 * PARAMETER_START,
        (Parameter::Binary(_), Some(bytes)) => 2 * bytes.len(),
        (_, Some(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => escaped(text),
            Err(_) => 2 * bytes.len(),
        },
    };
    about + bytes
}

/// What `text` takes as a JSON string, without its quotes.
fn escaped(text: &str) -> usize {
    let of = |b: u8| match b {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support;

    /// The permit that is taken must cover what is made.
    #[test]
    fn nothing_is_longer_than_was_asked_for() {
        let bytes: Vec<u8> = (0..=255).collect();
        let hard: String = (0..0x250u32).filter_map(char::from_u32).collect();
        let long = |b: &[u8], len| b.iter().copied().cycle().take(len).collect::<Vec<u8>>();
        let big = |b: &[u8], len| Parameter::Text(long(b, len));
        let binary = |len, text| {
            Parameter::Binary(pipeline::BinaryValue {
                bytes: long(&bytes, len),
                of: Some(hard.as_str().into()),
                text,
            })
        };
        for text in ["select 1", &hard, &"\u{1}".repeat(10_000)] {
            for parameter in [
                Parameter::Null,
                Parameter::Text(hard.clone().into_bytes()),
                big(&bytes, 3000),
                big(b"\x01", MAX_PARAMETER),
                big(b"\x01", MAX_PARAMETER + 1),
                big(&bytes, MAX_PARAMETER + 1),
                binary(3000, Some("\u{1}".repeat(3000))),
                binary(MAX_PARAMETER, None),
                binary(MAX_PARAMETER + 1, Some(hard.clone())),
            ] {
                let mut i = support::intent(0, text);
                i.parameters = vec![parameter.clone(); 3];
                let made = crate::convert::json(&crate::convert::intent(&i)).unwrap();
                assert!(made.len() <= intent(&i), "{} {text:?}", made.len());
                let mut r = support::refusal(0, text);
                let mut h = support::held(0, text);
                h.parameters = vec![parameter.clone(); 3];
                let made = crate::convert::json(&crate::convert::held(&h)).unwrap();
                assert!(made.len() <= held(&h));
                r.parameters = vec![parameter; 3];
                let made = crate::convert::json(&crate::convert::refused(&r)).unwrap();
                assert!(made.len() <= refused(&r));
            }
            let mut r = support::refusal(0, text);
            let made = crate::convert::json(&crate::convert::refused(&r)).unwrap();
            assert!(made.len() <= refused(&r));
            // With dots, the parts of names are there twice.
            r.facts = support::on_host(text);
            r.accesses = support::of_host(&format!("{text}."));
            r.parameters = Vec::new();
            let made = crate::convert::json(&crate::convert::refused(&r)).unwrap();
            assert!(made.len() <= refused(&r), "{} {text:?}", made.len());
        }
    }
}
