//! TLS towards clients: certificate and key from files, replaced while connections go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{TlsError, files};

/// Are clients asked for a certificate, and whose?
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    #[default]
    None,
    /// Asked for; a client without one may go on, one with a wrong one may not.
    Optional {
        ca: PathBuf,
    },
    Required {
        ca: PathBuf,
    },
}

impl ClientAuth {
    fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Optional { ca } | Self::Required { ca } => Some(ca),
        }
    }
}

#[derive(Debug, Clone)]
pub struct ServerTlsOptions {
    /// The chain, leaf first, PEM.
    pub cert: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1, PEM, not encrypted.
    pub key: PathBuf,
    /// Protocols in the order of our preference. With a non-empty list, a client that offers only
    /// others is refused; with an empty one, ALPN is not spoken.
    pub alpn: Vec<Vec<u8>>,
    pub client_auth: ClientAuth,
    /// TLS 1.2 is refused.
    pub only_tls13: bool,
}

impl ServerTlsOptions {
    pub fn new(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            cert: cert.into(),
            key: key.into(),
            alpn: Vec::new(),
            client_auth: ClientAuth::None,
            only_tls13: false,
        }
    }

    pub fn alpn(mut self, protocols: &[&[u8]]) -> Self {
        self.alpn = protocols.iter().map(|p| p.to_vec()).collect();
        self
    }
}

/// What the files held when they were last read.
#[derive(PartialEq, Eq)]
struct Material {
    cert: Vec<u8>,
    key: Vec<u8>,
    ca: Option<Vec<u8>>,
}

struct Loaded {
    material: Material,
    config: Arc<ServerConfig>,
}

/// A server's TLS. Cheap to clone; all clones see a reload.
#[derive(Clone)]
pub struct Tls {
    options: Arc<ServerTlsOptions>,
    loaded: Arc<ArcSwap<Loaded>>,
}

impl Tls {
    /// Reads the files. Blocks for as long as that takes.
    pub fn load(options: ServerTlsOptions) -> Result<Self, TlsError> {
        let loaded = load(&options)?;
        Ok(Self {
            options: Arc::new(options),
            loaded: Arc::new(ArcSwap::from_pointee(loaded)),
        })
    }

    /// Reads the files again. `Ok(true)`: they changed, and new connections use them from now on.
    /// On an error what was active stays active. Existing connections are never touched. Blocks.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let material = read_material(&self.options)?;
        if material == self.loaded.load().material {
            return Ok(false);
        }
        let config = build(&self.options, &material)?;
        self.loaded.store(Arc::new(Loaded { material, config }));
        Ok(true)
    }

    /// Looks at the files on an interval until `shutdown`. A file that cannot be used is logged
    /// once per distinct problem and looked at again: certificate and key are rarely replaced in
    /// the same instant.
    pub async fn watch(self, every: Duration, shutdown: CancellationToken) {
        let mut told = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let this = self.clone();
            let result = tokio::task::spawn_blocking(move || this.reload()).await;
            match result {
                Ok(Ok(changed)) => {
                    told = None;
                    if changed {
                        tracing::info!(cert = %self.options.cert.display(), "TLS certificate reloaded");
                    }
                }
                Ok(Err(e)) => {
                    let problem = e.chain();
                    if told.as_ref() != Some(&problem) {
                        tracing::error!(error = %problem, "TLS files not usable, keeping the certificate in use");
                        told = Some(problem);
                    }
                }
                Err(e) => tracing::error!(error = %e, "reading the TLS files failed"),
            }
        }
    }

    /// The configuration for the next connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.loaded.load().config.clone()
    }

    /// The server's side of a handshake, within `limit`.
    ///
    /// Not cancel safe: when dropped, the stream is gone with the handshake.
    pub async fn accept<S>(
        &self,
        stream: S,
        limit: Duration,
    ) -> Result<crate::ServerTlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.current());
        match tokio::time::timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(TlsError::Handshake(e)),
            Err(_) => Err(TlsError::Timeout(limit)),
        }
    }
}

fn load(options: &ServerTlsOptions) -> Result<Loaded, TlsError> {
    let material = read_material(options)?;
    let config = build(options, &material)?;
    Ok(Loaded { material, config })
}

fn read_material(options: &ServerTlsOptions) -> Result<Material, TlsError> {
    Ok(Material {
        cert: files::read(&options.cert)?,
        key: files::read(&options.key)?,
        ca: options
            .client_auth
            .ca()
            .map(|p| files::read(p))
            .transpose()?,
    })
}

fn build(options: &ServerTlsOptions, material: &Material) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&material.cert, &options.cert.display().to_string())?;
    let key = private_key(&material.key, &options.key.display().to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = if options.only_tls13 {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS13, &rustls::version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?;
    let builder = match (&options.client_auth, &material.ca) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (auth @ (ClientAuth::Optional { ca } | ClientAuth::Required { ca }), Some(pem)) => {
            let path = ca.display().to_string();
            let roots = Arc::new(authorities(pem, &path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match auth {
                ClientAuth::Required { .. } => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|e| TlsError::Authorities {
                path,
                reason: e.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Pair {
            path: options.cert.display().to_string(),
            source,
        })?;
    config.alpn_protocols.clone_from(&options.alpn);
    Ok(Arc::new(config))
}

/// All certificates of a PEM file; at least one.
pub(crate) fn certificates(
    pem: &[u8],
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(TlsError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}

pub(crate) fn private_key(pem: &[u8], path: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::NoKey {
        path: path.to_owned(),
    })
}

/// Every certificate of a PEM file as a trust anchor; one that cannot be used is an error.
pub(crate) fn authorities(pem: &[u8], path: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in certificates(pem, path)? {
        roots.add(der).map_err(|e| TlsError::Authorities {
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
