//! The index of the record: its file, and what it is fed with.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use control::index::{Index, IndexLimits};
use recorder::{Following, RecorderOptions};

use crate::adapters::Feed;
use crate::config::Config;

/// Where it is.
pub(crate) fn index_path(config: &Config) -> PathBuf {
    config.data_dir.join("audit-index.sqlite")
}

/// Opens it and lets it follow the recorder. None: it is turned off.
pub(super) async fn index(
    config: &Config,
    recording: &mut RecorderOptions,
) -> anyhow::Result<Option<Index>> {
    let Some(audit) = config.audit else {
        return Ok(None);
    };
    let limits = IndexLimits {
        age: audit.keep,
        bytes: audit.max_bytes,
    };
    let path = index_path(config);
    let index = tokio::task::spawn_blocking(move || Index::open(&path, limits))
        .await
        .context("opening the index was interrupted")?
        .with_context(|| format!("the index of the record {}", index_path(config).display()))?;
    recording.follower = Some(Following(Arc::new(Feed::new(index.clone()))));
    Ok(Some(index))
}
