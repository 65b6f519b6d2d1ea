//! From a raw socket to an authenticated client, one state after the other.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::Principal;

/// Turns a token into who holds it. The server wires `identity` in here.
#[async_trait]
pub trait Authenticate: Send + Sync {
    async fn authenticate(
        &self,
        token: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, AuthRefused>;
}

/// Why a token is not accepted; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{client_text}")]
pub struct AuthRefused {
    pub client_text: String,
}
