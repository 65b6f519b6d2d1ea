//! How many files and sockets the process may have open, and how many it may come to need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Listeners, the state's database, the log, segments on their way, the store's connections, issuers,
/// webhooks, the runtime itself.
const RESERVE: u64 = 256;

/// What `serve` may have at most; none if there is no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Raises the limit as far as it goes without privileges. Services are often started with a low one,
/// for programs that use `select`; Weir does not.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => tracing::debug!(
            from = current,
            to = maximum,
            "the limit of open files is raised"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// What is wrong if every connection that the configuration allows is there, if anything.
pub(crate) fn warning(config: &Config, limit: Option<u64>) -> Option<String> {
    // A session has two ends.
    let sessions = config.postgres.listeners.iter();
    let sessions = sessions.map(|l| (l.max_connections as u64).saturating_mul(2));
    let needed = sessions
        .fold(RESERVE, u64::saturating_add)
        .saturating_add(config.api.max_connections as u64);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "the process may have {limit} files and sockets open, but with every connection that \
         max_connections allows it needs {needed}: when they are used up, nobody gets in, and what \
         cannot be recorded for long ends Weir. Raise the limit (ulimit -n, LimitNOFILE=), or lower \
         max_connections"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_may_be_needed_is_compared_with_what_there_is() {
        let config = |more: &str| {
            let text = format!(
                "[server]\ndata_dir = \"d\"\nbase_url = \"http://127.0.0.1:8443\"\n[api]\nlisten = \
                 \"127.0.0.1:8443\"\nmax_connections = 10\n[[postgres.listener]]\nlisten = \
                 \"127.0.0.1:5432\"\nmax_connections = 100\n{more}[[target]]\nname = \"o\"\n\
                 protocol = \"postgres\"\nenv = \"prod\"\nhost = \"127.0.0.1\"\nuser = \"w\"\ntls = \
                 \"disable\"\n[identity.dev]\nenabled = true\n"
            );
            Config::parse(Path::new("weir.toml"), &text, Path::new("/")).unwrap()
        };
        let second = "[[postgres.listener]]\nlisten = \"127.0.0.1:5433\"\nmax_connections = 50\n";
        for (more, needed) in [("", 466), (second, 566)] {
            let config = config(more);
            assert_eq!(warning(&config, None), None);
            assert_eq!(warning(&config, Some(needed)), None);
            let said = warning(&config, Some(needed - 1)).unwrap();
            assert!(said.contains(&format!("it needs {needed}")), "{said}");
        }
    }

    #[test]
    fn the_limit_is_raised() {
        raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit(), now.maximum);
    }
}
