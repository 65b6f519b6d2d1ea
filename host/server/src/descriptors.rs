//! How many files and sockets the process may have open, and how many it may come to need.

use anyhow::bail;
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
    let needed = connections(config).saturating_add(RESERVE);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "the process may have {limit} files and sockets open, but with every connection that \
         max_connections allows it needs {needed}; so Weir accepts fewer. Raise the limit (ulimit -n, \
         LimitNOFILE=), or lower max_connections"
    ))
}

/// Lowers every `max_connections` so far that what they allow fits. Otherwise strangers could use up
/// the descriptors, and nothing could be recorded.
pub(crate) fn fit(config: &mut Config, limit: Option<u64>) -> anyhow::Result<()> {
    let Some(limit) = limit else {
        return Ok(());
    };
    let Some(room) = limit.checked_sub(RESERVE).filter(|room| *room >= RESERVE) else {
        bail!(
            "the process may have only {limit} files and sockets open; Weir needs at least {}: raise the \
             limit (ulimit -n, LimitNOFILE=)",
            2 * RESERVE
        );
    };
    let wanted = connections(config);
    if wanted <= room {
        return Ok(());
    }
    let share = |most: usize| {
        let part = (most as u128) * u128::from(room) / u128::from(wanted);
        usize::try_from(part).unwrap_or(most).max(1)
    };
    for listener in &mut config.postgres.listeners {
        listener.max_connections = share(listener.max_connections);
    }
    config.api.max_connections = share(config.api.max_connections);
    Ok(())
}

/// Sockets, if everybody comes. A session has two ends.
fn connections(config: &Config) -> u64 {
    let listeners = config.postgres.listeners.iter();
    let sessions = listeners.map(|l| (l.max_connections as u64).saturating_mul(2));
    sessions.fold(config.api.max_connections as u64, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn maxima(config: &Config) -> (usize, usize, usize) {
        let of = |n: usize| config.postgres.listeners[n].max_connections;
        (of(0), of(1), config.api.max_connections)
    }

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
        for (limit, expect) in [(None, (100, 50, 10)), (Some(566), (100, 50, 10))] {
            let mut config = config(second);
            fit(&mut config, limit).unwrap();
            assert_eq!(maxima(&config), expect);
        }
        for limit in [20_000, 1024, 512] {
            let mut config = config("");
            config.postgres.listeners[0].max_connections = 10_000;
            fit(&mut config, Some(limit)).unwrap();
            assert_eq!(warning(&config, Some(limit)), None, "{limit}");
            assert!(config.postgres.listeners[0].max_connections as u64 > limit / 5);
            assert!(config.api.max_connections > 0);
        }
        assert!(fit(&mut config(""), Some(511)).is_err());
    }

    #[test]
    fn the_limit_is_raised() {
        raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit(), now.maximum);
    }
}
