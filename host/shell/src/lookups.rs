//! Programs that tell about this host, and ask a name server when a word of theirs is a name: what stands in the
//! name goes out with it.

use crate::reading::Word;

/// What `getent` finds in files of the host, as far as its words go.
const LOCAL: &[&str] = &[
    "aliases",
    "ethers",
    "group",
    "gshadow",
    "initgroups",
    "netgroup",
    "passwd",
    "protocols",
    "rpc",
    "services",
    "shadow",
];

/// Words of the filters of `ss`, and values of its options.
const FILTER: &[&str] = &[
    "!",
    "!=",
    "&",
    "&&",
    "(",
    ")",
    "<",
    "<=",
    "=",
    "==",
    ">",
    ">=",
    "|",
    "||",
    "all",
    "and",
    "bound",
    "big",
    "bucket",
    "close-wait",
    "closed",
    "closing",
    "connected",
    "dport",
    "dst",
    "eq",
    "established",
    "exclude",
    "fin-wait-1",
    "fin-wait-2",
    "ge",
    "gt",
    "inet",
    "inet6",
    "last-ack",
    "le",
    "link",
    "listen",
    "listening",
    "lt",
    "ne",
    "neq",
    "netlink",
    "not",
    "or",
    "packet",
    "raw",
    "sport",
    "src",
    "state",
    "syn-recv",
    "syn-sent",
    "synchronized",
    "tcp",
    "time-wait",
    "udp",
    "unconnected",
    "unix",
    "vsock",
];

/// It asks a name server, or runs the code of a service that a word names.
pub(crate) fn asks(name: &str, args: &[Word]) -> bool {
    match name {
        "getent" => !local(args),
        "lsof" => args.iter().any(|w| !w.is_literal() || w.text.contains('@')),
        "ss" => !args.iter().all(filters),
        _ => false,
    }
}

/// `-s` names a service, whose library is loaded by that name.
fn local(args: &[Word]) -> bool {
    let mut words = args
        .iter()
        .filter(|w| !(w.is_literal() && matches!(w.text.as_str(), "-i" | "--no-idn")));
    let database = words.next();
    database.is_some_and(|w| w.is_literal() && LOCAL.contains(&w.text.as_str()))
        && words.all(|w| !w.text.starts_with('-') && !w.leads && !w.splits)
}

fn filters(word: &Word) -> bool {
    if !word.is_literal() {
        return false;
    }
    if word.text.starts_with('-') {
        // A name space, and a file in which a filter stands.
        return !crate::reads::is_option(&word.text, "FN", &["--filter", "--net"]);
    }
    word.text.split_ascii_whitespace().all(|token| {
        let token = token.trim_start_matches(['(', '!']).trim_end_matches(')');
        token.is_empty() || FILTER.contains(&token) || is_address(token)
    })
}

/// Numbers, `[::1]:22`, `10.0.0.1:ssh`, `:http`, `*:443`.
fn is_address(token: &str) -> bool {
    let (host, port) = token.rsplit_once(':').unwrap_or((token, ""));
    let port = port
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_*".contains(c));
    let v6 = host.contains(':')
        && host
            .chars()
            .all(|c| c.is_ascii_hexdigit() || ":.[]/%".contains(c));
    let v4 = host
        .chars()
        .all(|c| c.is_ascii_digit() || "./*".contains(c));
    port && (v6 || v4)
}
