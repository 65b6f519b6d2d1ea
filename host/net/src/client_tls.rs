//! TLS towards upstreams, with libpq's meaning of the modes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::server_tls::{authorities, certificates, private_key};
use crate::{TlsError, files};

/// The words of libpq's `sslmode`, without `allow`, which protects from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTlsMode {
    Disable,
    /// TLS if the server has it, plain if not: no protection from anybody on the path.
    Prefer,
    /// TLS or nothing; the certificate is looked at only when authorities are given.
    Require,
    /// The certificate comes from the given authorities; the name is not compared.
    VerifyCa,
    VerifyFull,
}

impl ClientTlsMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for ClientTlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a TLS mode; use disable, prefer, require, verify-ca or verify-full")]
pub struct UnknownMode(pub String);

impl FromStr for ClientTlsMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        [
            Self::Disable,
            Self::Prefer,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ]
        .into_iter()
        .find(|m| m.as_str() == text)
        .ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// Whom a certificate must come from.
#[derive(Debug, Clone)]
pub enum Roots {
    /// The operating system's list.
    System,
    /// Mozilla's list as it was when Weir was built.
    WebPki,
    File(PathBuf),
    Pem(Vec<u8>),
}

#[derive(Debug, Clone)]
pub struct ClientTlsOptions {
    pub mode: ClientTlsMode,
    /// None: `verify-full` uses the system's list, `require` looks at no certificate.
    pub roots: Option<Roots>,
    /// The name in the certificate, where it is not the host that is dialled.
    pub server_name: Option<String>,
    pub alpn: Vec<Vec<u8>>,
    /// Certificate chain and key with which we show who we are.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTlsOptions {
    pub fn new(mode: ClientTlsMode) -> Self {
        Self {
            mode,
            roots: None,
            server_name: None,
            alpn: Vec::new(),
            identity: None,
        }
    }
}

/// A client's TLS. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    mode: ClientTlsMode,
    server_name: Option<String>,
    config: Option<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Reads the files it needs. Blocks for as long as that takes.
    pub fn build(options: ClientTlsOptions) -> Result<Self, TlsError> {
        let config = match options.mode {
            ClientTlsMode::Disable => None,
            _ => Some(Arc::new(config(&options)?)),
        };
        Ok(Self {
            mode: options.mode,
            server_name: options.server_name,
            config,
        })
    }

    /// No TLS.
    pub fn disabled() -> Self {
        Self {
            mode: ClientTlsMode::Disable,
            server_name: None,
            config: None,
        }
    }

    pub fn mode(&self) -> ClientTlsMode {
        self.mode
    }

    /// Is the server asked for TLS?
    pub fn is_wanted(&self) -> bool {
        self.config.is_some()
    }

    /// Must the connection be given up when the server has no TLS?
    pub fn is_required(&self) -> bool {
        !matches!(self.mode, ClientTlsMode::Disable | ClientTlsMode::Prefer)
    }

    /// The client's side of a handshake, within `limit`. `host` is what was dialled.
    ///
    /// Not cancel safe: when dropped, the stream is gone with the handshake.
    pub async fn connect<S>(
        &self,
        host: &str,
        stream: S,
        limit: Duration,
    ) -> Result<crate::ClientTlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config.clone().ok_or(TlsError::Disabled)?;
        let name = server_name(self.server_name.as_deref().unwrap_or(host))?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        match tokio::time::timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(TlsError::Handshake(e)),
            Err(_) => Err(TlsError::Timeout(limit)),
        }
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}

fn config(options: &ClientTlsOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match trust(options)? {
        Trust::Public(roots) => builder.with_root_certificates(roots),
        Trust::Own(checks) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnVerifier { checks, provider })),
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let path = cert.display().to_string();
            let chain = certificates(&files::read(cert)?, &path)?;
            let key = private_key(&files::read(key)?, &key.display().to_string())?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| TlsError::Pair { path, source })?
        }
    };
    config.alpn_protocols.clone_from(&options.alpn);
    Ok(config)
}

/// How a server's certificate is checked.
enum Trust {
    /// As a browser does.
    Public(RootCertStore),
    Own(Checks),
}

#[derive(Debug)]
enum Checks {
    /// Only that the server holds the certificate's key.
    Key,
    Chain(Authorities),
    ChainAndName(Authorities),
}

/// A CA file of the operator's.
#[derive(Debug)]
struct Authorities {
    roots: RootCertStore,
    /// The same certificates as they are in the file.
    listed: Vec<CertificateDer<'static>>,
}

fn trust(options: &ClientTlsOptions) -> Result<Trust, TlsError> {
    use ClientTlsMode as M;
    let own = |pem: &[u8], path: &str| -> Result<Authorities, TlsError> {
        Ok(Authorities {
            roots: authorities(pem, path)?,
            listed: certificates(pem, path)?,
        })
    };
    let authorities = match &options.roots {
        Some(Roots::File(path)) => Some(own(&files::read(path)?, &path.display().to_string())?),
        Some(Roots::Pem(pem)) => Some(own(pem, "the given PEM text")?),
        Some(Roots::System | Roots::WebPki) | None => None,
    };
    Ok(match (options.mode, authorities, &options.roots) {
        (M::Prefer | M::Disable, _, Some(_)) => {
            return Err(TlsError::Contradiction(
                "certificate authorities are of no use with this TLS mode; use verify-full",
            ));
        }
        (M::Require | M::Prefer | M::Disable, _, None) => Trust::Own(Checks::Key),
        (M::VerifyCa, _, None) => {
            return Err(TlsError::Contradiction(
                "verify-ca needs a CA file to verify with",
            ));
        }
        (M::VerifyFull, Some(own), _) => Trust::Own(Checks::ChainAndName(own)),
        // As libpq: with authorities at hand, `require` verifies them.
        (M::VerifyCa | M::Require, Some(own), _) => Trust::Own(Checks::Chain(own)),
        (M::VerifyFull, None, Some(Roots::WebPki)) => Trust::Public(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        }),
        (M::VerifyFull, None, _) => Trust::Public(system_roots()?),
        (M::VerifyCa | M::Require, None, Some(_)) => {
            return Err(TlsError::Contradiction(
                "anybody can get a certificate from a public authority: without comparing the \
                 name it proves nothing; use verify-full",
            ));
        }
    })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // A system's list may hold old certificates that webpki cannot read; those are skipped.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        Err(TlsError::NoSystemRoots)
    } else {
        Ok(store)
    }
}

/// Verifies with the operator's own CA file, or with none. That the server holds the certificate's
/// key is verified in every case.
#[derive(Debug)]
struct OwnVerifier {
    checks: Checks,
    provider: Arc<CryptoProvider>,
}

impl OwnVerifier {
    fn check_chain(
        &self,
        own: &Authorities,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let result = verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &own.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        );
        match result {
            // A self-signed server certificate as `openssl req -x509` makes it is a CA, too. If
            // the CA file lists exactly this certificate, the operator has named the server itself,
            // as libpq understands it. Its dates have been checked before this error arises.
            Err(e) if is_ca_as_server(&e) && own.listed.iter().any(|c| c == end_entity) => Ok(()),
            other => other,
        }
    }
}

fn is_ca_as_server(e: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(e)) = e else {
        return false;
    };
    matches!(
        e.0.downcast_ref::<webpki::Error>(),
        Some(webpki::Error::CaUsedAsEndEntity)
    )
}

impl ServerCertVerifier for OwnVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.checks {
            Checks::Key => {}
            Checks::Chain(own) => self.check_chain(own, end_entity, intermediates, now)?,
            Checks::ChainAndName(own) => {
                self.check_chain(own, end_entity, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests;
