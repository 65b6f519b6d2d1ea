//! TLS towards clients: certificate and key from files, replaced while connections go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
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
    Optional(ClientAuthority),
    Required(ClientAuthority),
}

/// Who vouches for clients.
#[derive(Debug, Clone)]
pub struct ClientAuthority {
    /// Trust anchors, PEM.
    pub ca: PathBuf,
    /// Revocation lists, PEM: one of every authority in a client's chain. When given, a certificate
    /// whose authority has no list, or an outdated one, is refused.
    pub crl: Option<PathBuf>,
}

impl ClientAuth {
    fn authority(&self) -> Option<&ClientAuthority> {
        match self {
            Self::None => None,
            Self::Optional(authority) | Self::Required(authority) => Some(authority),
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
    crl: Option<Vec<u8>>,
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
    let authority = options.client_auth.authority();
    let crl = authority.and_then(|a| a.crl.as_ref());
    Ok(Material {
        cert: files::read(&options.cert)?,
        key: files::read(&options.key)?,
        ca: authority.map(|a| files::read(&a.ca)).transpose()?,
        crl: crl.map(|path| files::read(path)).transpose()?,
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
    let verifier = client_verifier(&options.client_auth, material, provider)?;
    let asks = verifier.is_some();
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Pair {
            path: options.cert.display().to_string(),
            source,
        })?;
    config.alpn_protocols.clone_from(&options.alpn);
    if asks {
        // A resumed session brings its certificate along and does not verify it again: it could have
        // been revoked meanwhile.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// None: clients are not asked.
fn client_verifier(
    auth: &ClientAuth,
    material: &Material,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (Some(authority), Some(pem)) = (auth.authority(), &material.ca) else {
        return Ok(None);
    };
    let path = authority.ca.display().to_string();
    let roots = Arc::new(authorities(pem, &path)?);
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if let (Some(path), Some(pem)) = (&authority.crl, &material.crl) {
        let lists = revocation_lists(pem, &path.display().to_string())?;
        verifier = verifier.with_crls(lists).enforce_revocation_expiration();
    }
    if let ClientAuth::Optional(_) = auth {
        verifier = verifier.allow_unauthenticated();
    }
    match (verifier.build(), &authority.crl) {
        (Ok(verifier), _) => Ok(Some(verifier)),
        (Err(e @ VerifierBuilderError::InvalidCrl(_)), Some(path)) => {
            Err(TlsError::RevocationLists {
                path: path.display().to_string(),
                reason: e.to_string(),
            })
        }
        (Err(e), _) => Err(TlsError::Authorities {
            path,
            reason: e.to_string(),
        }),
    }
}

/// All revocation lists of a PEM file; at least one.
fn revocation_lists(
    pem: &[u8],
    path: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(TlsError::NoRevocationList {
            path: path.to_owned(),
        }),
    }
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
