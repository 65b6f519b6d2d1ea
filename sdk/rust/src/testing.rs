//! Stands in for the host when a plugin runs natively, in its own unit tests. State is per thread,
//! so tests do not see one another's.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::host::Level;
use crate::host::kv::Error;
use crate::{Operation, Principal, Protocol, Session, SqlFacts, SqlKind, SqlOp, SshOp};

#[derive(Default)]
struct Fake {
    config: BTreeMap<String, String>,
    kv: BTreeMap<String, Vec<u8>>,
    now: u64,
    logs: Vec<(Level, String)>,
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::default();
}

/// Replaces the configuration.
pub fn set_config(entries: &[(&str, &str)]) {
    let config = entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    FAKE.with_borrow_mut(|f| f.config = config);
}

/// Sets the clock.
pub fn set_now(unix: u64) {
    FAKE.with_borrow_mut(|f| f.now = unix);
}

/// Takes what was logged so far.
pub fn take_logs() -> Vec<(Level, String)> {
    FAKE.with_borrow_mut(|f| std::mem::take(&mut f.logs))
}

/// A session of the user `alice` on the target `db`.
pub fn session() -> Session {
    Session {
        id: "0190b7a0-0000-7000-8000-000000000000".into(),
        protocol: Protocol::Postgres,
        principal: Principal {
            kind: "User".into(),
            subject: "alice".into(),
            groups: Vec::new(),
            chain: Vec::new(),
            attrs: Vec::new(),
        },
        target: "db".into(),
        attrs: Vec::new(),
    }
}

/// A SELECT without any relation, to be changed as a test needs it.
pub fn sql(text: &str) -> SqlOp {
    SqlOp {
        text: text.into(),
        kind: SqlKind::Select,
        facts: SqlFacts::HAS_WHERE,
        limit: None,
        reads: Vec::new(),
        writes: Vec::new(),
        functions: Vec::new(),
        attrs: Vec::new(),
    }
}

/// A session of the user `alice` on the SSH host `web`, logged in as `app`.
pub fn ssh_session() -> Session {
    Session {
        protocol: Protocol::Ssh,
        target: "web".into(),
        attrs: vec![("login".into(), "app".into())],
        ..session()
    }
}

/// A command that is understood in full and changes something, to be changed as a test needs it.
pub fn ssh(argv: &[&str]) -> SshOp {
    let says = [
        ("login", "app"),
        ("parsed", "true"),
        ("code", "false"),
        ("dynamic", "false"),
        ("only-reads", "false"),
        ("pty", "false"),
    ];
    SshOp {
        channel: "exec".into(),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        command: Some(argv.join(" ")),
        env: Vec::new(),
        attrs: says
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

impl From<SshOp> for Operation {
    fn from(op: SshOp) -> Self {
        Self::Ssh(op)
    }
}

impl From<SqlOp> for Operation {
    fn from(op: SqlOp) -> Self {
        Self::Sql(op)
    }
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn log(level: Level, message: &str, _fields: &[(&str, &str)]) {
    FAKE.with_borrow_mut(|f| f.logs.push((level, message.to_owned())));
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn config_get(key: &str) -> Option<String> {
    FAKE.with_borrow(|f| f.config.get(key).cloned())
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn config_all() -> Vec<(String, String)> {
    FAKE.with_borrow(|f| f.config.clone().into_iter().collect())
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn kv_get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    Ok(FAKE.with_borrow(|f| f.kv.get(key).cloned()))
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn kv_set(key: &str, value: &[u8], _ttl: Option<u32>) -> Result<(), Error> {
    FAKE.with_borrow_mut(|f| f.kv.insert(key.to_owned(), value.to_vec()));
    Ok(())
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn kv_delete(key: &str) -> Result<(), Error> {
    FAKE.with_borrow_mut(|f| f.kv.remove(key));
    Ok(())
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn kv_increment(key: &str, delta: i64, ttl: Option<u32>) -> Result<i64, Error> {
    let old = kv_get(key)?
        .and_then(|v| <[u8; 8]>::try_from(v.as_slice()).ok())
        .map_or(0, i64::from_le_bytes);
    let new = old.saturating_add(delta);
    kv_set(key, &new.to_le_bytes(), ttl)?;
    Ok(new)
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) fn now_unix() -> u64 {
    FAKE.with_borrow(|f| f.now)
}

#[cfg(test)]
mod tests {
    use crate::host;

    #[test]
    fn stands_in_for_the_host() {
        super::set_config(&[("n", " 3 "), ("list", "a, b,,c"), ("bad", "x")]);
        super::set_now(7);
        assert_eq!(host::config::parse("n", 1), Ok(3));
        assert_eq!(host::config::parse("none", 1), Ok(1));
        assert!(host::config::parse("bad", 1).is_err());
        assert_eq!(
            host::config::list("list"),
            Some(vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!(host::now_unix(), 7);
        assert_eq!(host::kv::increment("k", 2, None), Ok(2));
        assert_eq!(host::kv::increment("k", i64::MAX, None), Ok(i64::MAX));
        host::kv::set("k", b"text", None).unwrap();
        assert_eq!(host::kv::increment("k", 1, None), Ok(1));
        host::kv::delete("k").unwrap();
        assert_eq!(host::kv::get("k"), Ok(None));
        host::log(host::Level::Info, "hello", &[]);
        assert_eq!(super::take_logs().len(), 1);
    }
}
