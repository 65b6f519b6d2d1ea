//! Settings that are pinned for a session: changing them would change what texts mean, who asks, or
//! what the client is told.

/// Why a setting may not get this value; none when it may. `value` is none when it is not known
/// before execution.
pub(crate) fn refuse(name: &str, value: Option<&str>) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let allowed: &[&str] = match name.as_str() {
        "client_encoding" => &["utf8", "utf-8", "unicode"],
        "standard_conforming_strings" => &["on", "true", "yes", "1", "t", "y"],
        "session_replication_role" => &["origin"],
        "role" => &["none"],
        "session_authorization" => &["default"],
        "client_min_messages" => &["notice", "warning", "error"],
        _ => return None,
    };
    let lower = value.map(str::to_ascii_lowercase);
    match lower {
        Some(value) if allowed.contains(&value.as_str()) => None,
        _ => Some(format!(
            "the setting {name} is pinned by the proxy and cannot be changed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned() {
        for (name, value, refused) in [
            ("client_encoding", Some("UTF8"), false),
            ("client_encoding", Some("SJIS"), true),
            ("Client_Encoding", None, true),
            ("standard_conforming_strings", Some("on"), false),
            ("standard_conforming_strings", Some("off"), true),
            // Off means an error instead of rows that are left out.
            ("row_security", Some("off"), false),
            ("role", Some("postgres"), true),
            ("role", Some("none"), false),
            ("session_replication_role", Some("replica"), true),
            ("client_min_messages", Some("debug5"), true),
            ("client_min_messages", Some("warning"), false),
            ("search_path", Some("x"), false),
            ("my.setting", None, false),
        ] {
            assert_eq!(refuse(name, value).is_some(), refused, "{name} {value:?}");
        }
    }
}
