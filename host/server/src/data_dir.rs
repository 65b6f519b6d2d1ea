//! The directory where Weir keeps its state.

use anyhow::{Context, bail};

use crate::config::Config;

/// Makes it when it is not there, and refuses one that anybody can write to.
pub(crate) fn prepare(config: &Config) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let dir = &config.data_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("server.data_dir: {} cannot be made", dir.display()))?;
    // What lies in it is private file by file; what it is called is not.
    let mode = std::fs::metadata(dir)
        .with_context(|| format!("server.data_dir: {} cannot be read", dir.display()))?
        .permissions()
        .mode();
    if mode & 0o002 != 0 {
        bail!(
            "server.data_dir: everybody can write to {0}, and could put keys and state there; run: \
             chmod o-w {0}",
            dir.display()
        );
    }
    Ok(())
}

/// State that was there once holds what people decided: bundles and plugins that may be stricter
/// than those of the configuration.
pub(crate) fn warn_of_lost_state(config: &Config) {
    let state = config.data_dir.join("state.sqlite");
    let empty = std::fs::metadata(&state).map_or(true, |m| m.len() == 0);
    if empty && config.recording.spool_dir.exists() {
        tracing::warn!(
            state = %state.display(),
            "this is not a new installation, but the state is gone: bundles and plugins that people \
             activated are not in force, only those of the configuration"
        );
    }
}
