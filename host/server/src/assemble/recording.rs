//! Where is recorded, under which keys, and how that is read again.

use std::sync::Arc;

use anyhow::{Context, bail};
use recorder::objects::Objects;
use recorder::{
    Encryption, LocalKeys, LogOptions, RecorderOptions, Retention, RetentionMode, S3Config,
    S3Credentials, Store, StoreConfig, TrustedKey, VaultConfig,
};

use crate::config::{Config, Recording, RecordingStore, Secret, Vault};

/// Where recordings are kept, for the recorder and for whoever reads them.
pub(crate) fn store_config(store: &RecordingStore) -> anyhow::Result<StoreConfig> {
    Ok(match store {
        RecordingStore::Dir(dir) => StoreConfig::Directory(dir.clone()),
        RecordingStore::S3 {
            bucket,
            prefix,
            endpoint,
            region,
            access_key_id,
            secret_access_key,
            allow_http,
        } => {
            let expose = |s: &Secret| s.expose().to_owned();
            let credentials = match (access_key_id, secret_access_key) {
                (None, None) => None,
                (Some(id), Some(secret)) => Some(S3Credentials {
                    access_key_id: expose(id),
                    secret_access_key: expose(secret),
                    session_token: None,
                }),
                _ => bail!(
                    "the bucket {bucket} of [recording]: name both access_key_id and secret_access_key"
                ),
            };
            StoreConfig::S3(S3Config {
                bucket: bucket.clone(),
                region: region.clone(),
                endpoint: endpoint.clone(),
                prefix: prefix.clone(),
                credentials,
                allow_http: *allow_http,
                virtual_hosted_style: false,
            })
        }
    })
}

/// The vault beside it, if there is one.
pub(crate) fn vault_config(vault: Option<&Vault>) -> anyhow::Result<Option<VaultConfig>> {
    let Some(vault) = vault else {
        return Ok(None);
    };
    let mode = |compliance| match compliance {
        true => RetentionMode::Compliance,
        false => RetentionMode::Governance,
    };
    Ok(Some(VaultConfig {
        store: store_config(&vault.store)?,
        retention: vault.retention.map(|retention| Retention {
            mode: mode(retention.compliance),
            days: retention.days,
        }),
    }))
}

/// For how many days the vault locks everything, if it does.
pub(super) fn vault_days(config: &Config) -> Option<u32> {
    let vault = config.recording.vault.as_ref()?;
    vault.retention.map(|retention| retention.days)
}

/// The transparency log of the recordings, for the recorder and for whoever checks it.
pub(crate) fn log_options(recording: &Recording) -> LogOptions {
    LogOptions {
        name: recording.log_name.clone(),
        key: None,
        key_dir: recording.key_dir.clone(),
        witnesses: recording.witnesses.clone(),
    }
}

/// The keys whose logs are believed: its own, if there is one yet, and those that are named.
pub(crate) fn log_keys(recording: &Recording) -> anyhow::Result<Vec<TrustedKey>> {
    let own = recorder::own_key(&log_options(recording))?;
    Ok(own
        .into_iter()
        .chain(recording.trusted_log_keys.clone())
        .collect())
}

/// What is stored, for the index to be made anew from, and for packages.
pub(super) fn stored_records(recording: &Recording) -> anyhow::Result<Store> {
    let vault = vault_config(recording.vault.as_ref())?;
    let store = Store::new(Objects::open_both(
        &store_config(&recording.store)?,
        vault.as_ref(),
    )?);
    let wrap = encryption(recording)?.own(&log_options(recording))?;
    let store = store.with_keys(wrap, Some(recording.spool_dir.clone()));
    Ok(store.trusting(log_keys(recording)?))
}

/// What wraps the keys of recordings, for the recorder and for whoever reads them.
pub(crate) fn encryption(recording: &Recording) -> anyhow::Result<Encryption> {
    let keys = &recording.wrap_keys;
    if keys.is_empty() {
        return Ok(Encryption::default());
    }
    let keys = LocalKeys::parse(keys.iter().map(Secret::expose)).context("recording.wrap_keys")?;
    Ok(Encryption {
        wrap: Some(Arc::new(keys)),
    })
}

pub(super) fn recorder_options(config: &Config) -> anyhow::Result<RecorderOptions> {
    let recording = &config.recording;
    let mut options = RecorderOptions::new(&recording.spool_dir, store_config(&recording.store)?);
    options.vault = vault_config(recording.vault.as_ref())?;
    options.log = log_options(recording);
    options.encryption = encryption(recording)?;
    options.limits.spool_bytes = recording.spool_limit;
    options.limits.segment_bytes = recording.segment_bytes;
    options.limits.segment_age = recording.segment_age;
    options.limits.wal_file_bytes = options.limits.wal_file_bytes.min(recording.spool_limit / 4);
    options.limits.unsealed_bytes = options.limits.unsealed_bytes.max(recording.segment_bytes);
    Ok(options)
}
