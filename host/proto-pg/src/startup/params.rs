//! What a client may ask for in its startup packet; everything else is refused by name.

use std::collections::BTreeMap;

use crate::analysis::pinned;
use crate::refusal::Refused;
use crate::wire::startup::{PROTOCOL_3_2, Packet};

/// Settings that are passed on: they change how values look or how long things take, not what a
/// statement means or may do. Compared without case, as the server does.
const ALLOWED: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_min_messages",
    "compute_query_id",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_indexscan",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_seqscan",
    "enable_sort",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "plan_cache_mode",
    "search_path",
    "statement_timeout",
    "timezone",
    "tcp_user_timeout",
    "transaction_timeout",
    "work_mem",
    "xmloption",
];

const MAX_VALUE: usize = 1_024;

/// A startup packet, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the client calls itself; says nothing about who it is.
    pub user: String,
    pub database: Option<String>,
    /// For the upstream's startup packet, pinned settings included.
    pub settings: Vec<(String, String)>,
    /// For the record.
    pub attrs: BTreeMap<String, String>,
    pub version: u32,
    /// `_pq_.` options that nobody here knows.
    pub unknown_options: Vec<Vec<u8>>,
}

impl Wanted {
    /// Must NegotiateProtocolVersion be sent, and with which version?
    pub fn negotiated(&self) -> Option<u32> {
        (self.version > PROTOCOL_3_2 || !self.unknown_options.is_empty())
            .then(|| self.version.min(PROTOCOL_3_2))
    }

    /// The target and the database: the listener's target, or `database=<target>/<database>`.
    /// Nothing here is looked up. `None`: no target is named.
    pub fn route<'a>(&'a self, bound: Option<&'a str>) -> Option<(&'a str, Option<&'a str>)> {
        match (bound, self.database.as_deref()) {
            (Some(target), database) => Some((target, database)),
            (None, Some(text)) => Some(match text.split_once('/') {
                Some((target, database)) => (target, Some(database).filter(|d| !d.is_empty())),
                None => (text, None),
            }),
            (None, None) => None,
        }
    }

    /// Cancel keys may be long.
    pub fn long_keys(&self) -> bool {
        self.version >= PROTOCOL_3_2
    }
}

pub fn wanted(packet: &Packet<'_>) -> Result<Wanted, Refused> {
    let Packet::Startup {
        version,
        parameters,
    } = packet
    else {
        return Err(Refused::new("08P01", "expected a startup packet"));
    };
    let mut user = None;
    let mut database = None;
    let mut unknown_options = Vec::new();
    let mut settings: Vec<(String, String)> = Vec::new();
    let mut from_options = Vec::new();
    for (name, value) in parameters {
        let name = text(name)?;
        let value = text(value)?;
        match name {
            "user" => once(&mut user, name, value)?,
            "database" => once(&mut database, name, value)?,
            "options" => {
                if !from_options.is_empty() {
                    return Err(twice(name));
                }
                from_options = options(value)?;
            }
            "replication" => match value.to_ascii_lowercase().as_str() {
                "false" | "off" | "no" | "0" => {}
                _ => {
                    return Err(Refused::new(
                        "42501",
                        "replication connections are not permitted through Weir",
                    ));
                }
            },
            _ if name.starts_with("_pq_.") => unknown_options.push(name.as_bytes().to_vec()),
            _ => add(&mut settings, name, value, true)?,
        }
    }
    // As on the server, a parameter of the packet wins over one in `options`.
    for (name, value) in &from_options {
        add(&mut settings, name, value, false)?;
    }
    let user = user.filter(|u| !u.is_empty()).ok_or_else(|| {
        Refused::new(
            "28000",
            "no PostgreSQL user name specified in startup packet",
        )
    })?;
    let mut attrs = BTreeMap::from([("pg_user".to_owned(), user.clone())]);
    if let Some((_, name)) = settings.iter().find(|(n, _)| n == "application_name") {
        attrs.insert("application_name".to_owned(), name.clone());
    }
    settings.push(("client_encoding".into(), "UTF8".into()));
    settings.push(("standard_conforming_strings".into(), "on".into()));
    Ok(Wanted {
        user,
        database: database.filter(|d| !d.is_empty()),
        settings,
        attrs,
        version: *version,
        unknown_options,
    })
}

fn text(bytes: &[u8]) -> Result<&str, Refused> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_VALUE => Ok(text),
        Ok(_) => Err(Refused::new(
            "08P01",
            format!("a startup parameter is longer than {MAX_VALUE} bytes"),
        )),
        Err(_) => Err(Refused::new("08P01", "a startup parameter is not UTF-8")),
    }
}

fn once(slot: &mut Option<String>, name: &str, value: &str) -> Result<(), Refused> {
    match slot.replace(value.to_owned()) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

fn twice(name: &str) -> Refused {
    Refused::new(
        "08P01",
        format!("startup parameter \"{name}\" is given twice"),
    )
}

/// Adds one setting if it is allowed. `packet`: it stands in the packet itself, where a second one
/// is a trick.
fn add(
    settings: &mut Vec<(String, String)>,
    name: &str,
    value: &str,
    packet: bool,
) -> Result<(), Refused> {
    let folded = name.to_ascii_lowercase();
    let not_allowed = |why: &str| {
        Refused::new(
            "42501",
            format!("parameter \"{name}\" cannot be set through Weir at connection start{why}"),
        )
    };
    match folded.as_str() {
        // Pinned: other values would make Weir and the server read the same text differently.
        "client_encoding" => {
            let encoding: String = value
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect::<String>()
                .to_ascii_lowercase();
            return match encoding.as_str() {
                "utf8" | "unicode" => Ok(()),
                _ => Err(not_allowed(" to anything but UTF8")),
            };
        }
        "standard_conforming_strings" => {
            return match value.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" => Ok(()),
                _ => Err(not_allowed(" to anything but on")),
            };
        }
        "client_min_messages" if pinned(&folded, Some(value)).is_some() => {
            return Err(not_allowed(" to this level"));
        }
        known if ALLOWED.contains(&known) => {}
        _ => return Err(not_allowed("")),
    }
    if settings.iter().any(|(n, _)| *n == folded) {
        return if packet { Err(twice(name)) } else { Ok(()) };
    }
    settings.push((folded, value.to_owned()));
    Ok(())
}

/// `-c name=value` and `--name=value`, split as `pg_split_opts` does: at white space, a backslash
/// keeps the next character.
fn options(text: &str) -> Result<Vec<(String, String)>, Refused> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if let Some(next) = chars.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);

    let unknown = |word: &str| {
        Refused::new(
            "42501",
            format!("\"{word}\" in startup parameter \"options\" is not permitted through Weir"),
        )
    };
    let mut out: Vec<(String, String)> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or_else(|| unknown(&word))?
        } else if let Some(rest) = word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            rest.to_owned()
        } else {
            return Err(unknown(&word));
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| unknown(&setting))?;
        let name = name.replace('-', "_").to_ascii_lowercase();
        if out.iter().any(|(n, _)| *n == name) {
            return Err(twice(&name));
        }
        out.push((name, value.to_owned()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::startup::PROTOCOL_3_0;

    fn judge(parameters: &[(&str, &str)]) -> Result<Wanted, Refused> {
        let parameters = parameters
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        wanted(&Packet::Startup {
            version: PROTOCOL_3_0,
            parameters,
        })
    }

    fn settings(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = vec![("user", "u")];
        all.extend_from_slice(parameters);
        judge(&all).unwrap().settings
    }

    fn pinned(mut first: Vec<(&str, &str)>) -> Vec<(String, String)> {
        first.push(("client_encoding", "UTF8"));
        first.push(("standard_conforming_strings", "on"));
        first
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn rebuilds_settings() {
        for (given, expect) in [
            (vec![], vec![]),
            (vec![("DateStyle", "ISO")], vec![("datestyle", "ISO")]),
            (
                vec![("client_min_messages", "Warning")],
                vec![("client_min_messages", "Warning")],
            ),
            (vec![("client_encoding", "'utf-8'")], vec![]),
            (vec![("client_encoding", "UNICODE")], vec![]),
            (vec![("replication", "false")], vec![]),
            (vec![("_pq_.new", "1")], vec![]),
            (
                vec![("options", "-c geqo=off -cjit=off --statement-timeout=5s")],
                vec![("geqo", "off"), ("jit", "off"), ("statement_timeout", "5s")],
            ),
            (
                vec![
                    ("options", r"-c search_path=a\ b\\c"),
                    ("application_name", "x"),
                ],
                vec![("application_name", "x"), ("search_path", r"a b\c")],
            ),
            (
                vec![("options", "-c geqo=off"), ("geqo", "on")],
                vec![("geqo", "on")],
            ),
        ] {
            assert_eq!(settings(&given), pinned(expect), "{given:?}");
        }
    }

    #[test]
    fn refuses_by_name() {
        for (given, code, word) in [
            (vec![("user", "v")], "08P01", "twice"),
            (vec![("replication", "database")], "42501", "replication"),
            (vec![("role", "postgres")], "42501", "role"),
            (
                vec![("session_authorization", "x")],
                "42501",
                "session_authorization",
            ),
            (vec![("row_security", "off")], "42501", "row_security"),
            (vec![("client_encoding", "SJIS")], "42501", "UTF8"),
            (vec![("standard_conforming_strings", "off")], "42501", "on"),
            (vec![("client_min_messages", "DEBUG5")], "42501", "level"),
            (vec![("client_min_messages", "log")], "42501", "level"),
            (vec![("client_min_messages", "info")], "42501", "level"),
            (
                vec![("options", "-cclient_min_messages=Log")],
                "42501",
                "level",
            ),
            (vec![("options", "-c role=postgres")], "42501", "role"),
            (vec![("options", "-crole=postgres")], "42501", "role"),
            (vec![("options", "--role=postgres")], "42501", "role"),
            (
                vec![("options", "--session-authorization=x")],
                "42501",
                "session_authorization",
            ),
            (vec![("options", "-d 5")], "42501", "-d"),
            (vec![("options", "-c")], "42501", "-c"),
            (vec![("options", "-c geqo")], "42501", "geqo"),
            (vec![("options", "x")], "42501", "x"),
            (vec![("options", "-c jit=on -c JIT=off")], "08P01", "twice"),
            (vec![("geqo", "on"), ("GEQO", "off")], "08P01", "twice"),
            (
                vec![("options", "-c jit=on"), ("options", "-c geqo=on")],
                "08P01",
                "twice",
            ),
        ] {
            let mut all = vec![("user", "u")];
            all.extend_from_slice(&given);
            let refused = judge(&all).unwrap_err();
            assert_eq!(refused.sqlstate, code, "{given:?}: {}", refused.message);
            assert!(
                refused.message.contains(word),
                "{given:?}: {}",
                refused.message
            );
        }
        assert_eq!(judge(&[("database", "d")]).unwrap_err().sqlstate, "28000");
        let long = "x".repeat(MAX_VALUE + 1);
        assert_eq!(judge(&[("user", &long)]).unwrap_err().sqlstate, "08P01");
    }
}
