//! Tokens and certificates → principals, for the wires and for the API.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use identity::{AuthError, Verifier};
use pipeline::{Fault, Principal};

/// Verifies tokens; says in the log why one was refused, and to the client only what may be said.
#[derive(Clone)]
pub(crate) struct Tokens(pub(crate) Verifier);

impl Tokens {
    pub(super) async fn verify(
        &self,
        token: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, AuthError> {
        let result = self.0.verify(token).await;
        if let Err(error) = &result {
            tracing::warn!(%source, code = error.code(), reason = %error.chain(), "token refused");
        }
        result
    }
}

#[async_trait]
impl proto_pg::Authenticate for Tokens {
    async fn authenticate(
        &self,
        token: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, proto_pg::AuthRefused> {
        self.verify(token, source)
            .await
            .map_err(|e| proto_pg::AuthRefused {
                client_text: e.client_message().to_owned(),
            })
    }

    fn certificate(
        &self,
        authority: &str,
        certificate: &[u8],
        source: IpAddr,
    ) -> Result<Arc<Principal>, proto_pg::AuthRefused> {
        self.0.certificate(authority, certificate).map_err(|error| {
            tracing::warn!(%source, authority, code = error.code(), reason = %error.chain(),
                "client certificate refused");
            proto_pg::AuthRefused {
                client_text: error.client_message().to_owned(),
            }
        })
    }
}

#[async_trait]
impl control::Authenticate for Tokens {
    async fn authenticate(
        &self,
        bearer: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, control::ApiError> {
        self.verify(bearer, source)
            .await
            .map_err(|e| match e.fault() {
                Fault::Client | Fault::Policy => {
                    control::ApiError::unauthorized(e.client_message())
                }
                _ => control::ApiError::unavailable(e.client_message()),
            })
    }
}
