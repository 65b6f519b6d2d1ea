//! Certificates, good and bad.

use std::path::{Path, PathBuf};

use net::{ClientAuth, ClientAuthority, ServerTlsOptions, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority, in a directory.
pub struct Ca {
    dir: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let this = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
        };
        std::fs::write(this.pem(), pem).unwrap();
        this
    }

    pub fn pem(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// A certificate and its key for this name, good up to a year.
    pub fn issue(&self, name: &str, until: i32) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let stem = self.dir.join(format!("{}-{name}-{until}", self.name));
        let (cert, private) = (stem.with_extension("crt"), stem.with_extension("key"));
        std::fs::write(&cert, pem).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (cert, private)
    }

    /// A server with such a certificate, which asks clients for one of the other authority.
    pub fn server(&self, name: &str, until: i32, clients: Option<&Ca>) -> Tls {
        let (cert, key) = self.issue(name, until);
        let mut options = ServerTlsOptions::new(cert, key);
        if let Some(clients) = clients {
            let (ca, crl) = (clients.pem(), None);
            options.client_auth = ClientAuth::Required(ClientAuthority { ca, crl });
        }
        Tls::load(options).unwrap()
    }
}
