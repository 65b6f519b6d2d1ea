//! Packages of evidence: a zip about a window of time, for auditors.

use reqwest::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::client::ClientError;

/// What a package is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRequest {
    /// Where the window begins.
    pub from: Timestamp,
    /// Where it ends, not included. Now, unless it is given and earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only these targets, and what concerns all targets; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// How many requests are drawn whose records are put in, with the text of their statements and the names
    /// of those who acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u32>,
    /// Also the records that say who everybody is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names: bool,
}

/// The header that names a package: the SHA-256 of its manifest, as the record has it.
pub const PACKAGE_HEADER: &str = "weir-package";

/// The most bytes that are taken: more than Weir sends.
const MOST: u64 = 8 << 30;

/// A package on its way. That it is, is on record.
#[derive(Debug)]
pub struct PackageDownload {
    response: Response,
    digest: String,
    left: u64,
}

impl PackageDownload {
    pub(crate) fn new(response: Response) -> Result<Self, ClientError> {
        let digest = response.headers().get(PACKAGE_HEADER);
        let digest = digest.and_then(|value| value.to_str().ok());
        match (digest, response.content_length()) {
            (Some(digest), Some(left)) if left <= MOST => Ok(Self {
                digest: digest.to_owned(),
                left,
                response,
            }),
            _ => Err(ClientError::Package),
        }
    }

    /// The SHA-256 of its manifest, as the record has it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The next bytes; none when all have come.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let chunk = self.response.chunk().await;
        let Some(chunk) = chunk.map_err(ClientError::Transport)? else {
            return match self.left {
                0 => Ok(None),
                _ => Err(ClientError::Package),
            };
        };
        let left = self.left.checked_sub(chunk.len() as u64);
        self.left = left.ok_or(ClientError::Package)?;
        Ok(Some(chunk.to_vec()))
    }
}
