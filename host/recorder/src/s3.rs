//! The client of an S3-compatible store.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::{BackoffConfig, ClientOptions, Error, HeaderMap, RetryConfig};

use crate::options::S3Config;

/// Attempts of the store's client within one of ours; the uploader retries above it.
const CLIENT_RETRIES: usize = 2;
const CLIENT_RETRY_TIME: Duration = Duration::from_secs(20);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How its connections are made.
pub fn connection(s3: &S3Config) -> ClientOptions {
    ClientOptions::new()
        .with_timeout(CLIENT_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(s3.allow_http)
}

/// `headers` go with every request of this client, and are signed.
pub fn client(s3: &S3Config, headers: HeaderMap) -> Result<Arc<AmazonS3>, Error> {
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: CLIENT_RETRIES,
        retry_timeout: CLIENT_RETRY_TIME,
    };
    let region = if s3.region.is_empty() {
        "us-east-1"
    } else {
        &s3.region
    };
    // Only without credentials in the configuration may the environment be asked.
    let mut builder = match &s3.credentials {
        None => AmazonS3Builder::from_env(),
        Some(c) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(&c.access_key_id)
                .with_secret_access_key(&c.secret_access_key);
            match &c.session_token {
                None => builder,
                Some(token) => builder.with_token(token),
            }
        }
    };
    builder = builder
        .with_bucket_name(&s3.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(s3.virtual_hosted_style)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_client_options(connection(s3).with_default_headers(headers))
        .with_allow_http(s3.allow_http)
        .with_retry(retry);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.build()?))
}
