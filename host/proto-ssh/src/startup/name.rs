//! What a user name says: which login on which target. Who asks is never in it.
//!
//! `login+target` is the form that every client and every way of writing a host can carry; `%`, `@` and `:`
//! are understood for those who come from other gateways.

use crate::config::{check_login, is_name};

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// None: the target's default.
    pub login: Option<String>,
    /// None: no target is named, or not as one could be.
    pub target: Option<String>,
}

/// Reads a user name. A target's name has none of the separators, so the last one counts; of several kinds, the
/// first in this order.
pub(crate) fn wanted(user: &str) -> Wanted {
    for separator in ['+', '%', '@'] {
        if let Some((login, target)) = user.rsplit_once(separator) {
            let login = check_login(login).is_ok().then(|| login.to_owned());
            return match login {
                Some(login) => named(Some(login), target),
                // Half a name is none: nobody gets to a login that was not written.
                None => nothing(),
            };
        }
    }
    // `user:target` names who asks, not a login.
    match user.rsplit_once(':') {
        Some((_, target)) => named(None, target),
        None => named(None, user),
    }
}

fn named(login: Option<String>, target: &str) -> Wanted {
    match is_name(target) {
        true => Wanted {
            login,
            target: Some(target.to_owned()),
        },
        false => nothing(),
    }
}

fn nothing() -> Wanted {
    Wanted {
        login: None,
        target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_and_target_are_told_apart() {
        for (user, login, target) in [
            ("root+web1", Some("root"), Some("web1")),
            ("root%web1", Some("root"), Some("web1")),
            ("root@web1", Some("root"), Some("web1")),
            ("alice:web1", None, Some("web1")),
            ("web1", None, Some("web1")),
            ("web1.corp.example", None, Some("web1.corp.example")),
            // The first kind of separator counts, and the last of its kind.
            (
                "alice@corp.example+web1",
                Some("alice@corp.example"),
                Some("web1"),
            ),
            ("a+b+web1", Some("a+b"), Some("web1")),
            ("svc%x@web1", None, None),
            // OpenSSH would log in root, whatever policy thinks of `root:x`.
            ("root:x+web1", None, None),
            ("root/sysadm_r+web1", None, None),
            ("DOMAIN\\admin+win1", None, None),
            ("-root+web1", None, None),
            // Half a name leads nowhere.
            ("+web1", None, None),
            ("root+", None, None),
            ("+", None, None),
            ("", None, None),
            ("root web+web1", None, None),
            ("a,root+web1", None, None),
            ("root+-oProxyCommand=x", None, None),
            ("root+../web1", None, None),
            ("root+web1\u{202e}", None, None),
        ] {
            let is = wanted(user);
            assert_eq!(is.login.as_deref(), login, "{user:?}");
            assert_eq!(is.target.as_deref(), target, "{user:?}");
        }
        assert_eq!(wanted(&format!("root+{}", "a".repeat(254))).target, None);
        assert_eq!(wanted(&format!("{}+web1", "a".repeat(129))).target, None);
    }
}
