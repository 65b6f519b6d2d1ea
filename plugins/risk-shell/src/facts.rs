//! What Weir says about an operation, taken from its attributes: `wit/README.md` lists them.

use weir_plugin::SshOp;

pub const SEPARATOR: char = '\u{1f}';

#[derive(Debug, Default)]
pub struct Facts<'a> {
    pub kind: &'a str,
    pub text: &'a str,
    pub parsed: bool,
    pub opaque: Vec<&'a str>,
    pub commands: Vec<Vec<&'a str>>,
    pub by: Vec<&'a str>,
    pub users: Vec<&'a str>,
    /// Code, program, and the rest.
    pub hazards: Vec<(&'a str, &'a str, &'a str)>,
    pub reads: Vec<&'a str>,
    pub writes: Vec<&'a str>,
    pub code: bool,
    pub only_reads: bool,
    pub stdin: &'a str,
}

impl<'a> Facts<'a> {
    pub fn of(op: &'a SshOp) -> Self {
        let mut facts = Self {
            kind: &op.channel,
            text: op.command.as_deref().unwrap_or_default(),
            ..Self::default()
        };
        for (key, value) in &op.attrs {
            let value = value.as_str();
            match key.as_str() {
                "parsed" => facts.parsed = value == "true",
                "opaque" => facts.opaque.push(value),
                "command" => facts.commands.push(value.split(SEPARATOR).collect()),
                "by" => facts.by.push(value),
                "as-user" => facts.users.push(value),
                "hazard" => {
                    let mut parts = value.splitn(3, SEPARATOR);
                    let mut next = || parts.next().unwrap_or_default();
                    facts.hazards.push((next(), next(), next()));
                }
                "reads" => facts.reads.push(value),
                "writes" => facts.writes.push(value),
                "code" => facts.code = value == "true",
                "only-reads" => facts.only_reads = value == "true",
                "stdin" => facts.stdin = value,
                // Weir may come to say more.
                _ => {}
            }
        }
        if facts.commands.is_empty() && !op.argv.is_empty() {
            facts
                .commands
                .push(op.argv.iter().map(String::as_str).collect());
        }
        facts
    }

    /// Name of the program, without its directory, and its other words.
    pub fn programs(&self) -> impl Iterator<Item = (&'a str, &[&'a str])> {
        self.commands.iter().filter_map(|words| {
            let (head, args) = words.split_first()?;
            Some((head.rsplit('/').next().unwrap_or(head), args))
        })
    }

    pub fn hazard(&self, code: &str) -> Option<&(&'a str, &'a str, &'a str)> {
        self.hazards.iter().find(|(c, ..)| *c == code)
    }
}

/// One of the letters is in a cluster of short options, or one of the names is a long option.
pub fn has(args: &[&str], letters: &str, names: &[&str]) -> bool {
    args.iter().any(|arg| match arg.strip_prefix("--") {
        Some(long) => names.contains(&long.split('=').next().unwrap_or(long)),
        None => arg
            .strip_prefix('-')
            .is_some_and(|cluster| cluster.chars().any(|c| letters.contains(c))),
    })
}

/// Words that are no options.
pub fn operands<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    args.iter().copied().filter(|arg| !arg.starts_with('-'))
}
