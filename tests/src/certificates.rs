//! Client certificates, made by openssl as an operator would make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::postgres::run;

/// A certificate authority in a directory.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    name: String,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        let this = Self {
            dir: dir.to_path_buf(),
            name: name.to_owned(),
        };
        run(new_key(Command::new("openssl").args(["req", "-x509"]))
            .args(["-days", "30", "-subj", &format!("/CN={name}")])
            .arg("-keyout")
            .arg(this.file("key"))
            .arg("-out")
            .arg(this.certificate()))?;
        let database = this.file("index");
        std::fs::write(&database, "")?;
        let number = this.file("number");
        std::fs::write(&number, "01")?;
        let config = format!(
            "[ca]\ndefault_ca = us\n[us]\ndatabase = {}\ncrlnumber = {}\n\
             default_md = sha256\ndefault_crl_days = 30\n",
            database.display(),
            number.display()
        );
        std::fs::write(this.file("cnf"), config)?;
        Ok(this)
    }

    pub fn certificate(&self) -> PathBuf {
        self.file("crt")
    }

    /// A certificate with a common name and, when there are any, alternative names as openssl
    /// writes them: `URI:…,email:…`.
    pub fn issue(&self, common: &str, names: &str) -> Result<Issued> {
        let stem = self.dir.join(format!("{}-{common}", self.name));
        let issued = Issued {
            cert: stem.with_extension("crt"),
            key: stem.with_extension("key"),
        };
        let (request, extensions) = (stem.with_extension("csr"), stem.with_extension("ext"));
        let mut text = "basicConstraints = critical,CA:FALSE\n\
                        extendedKeyUsage = clientAuth\n"
            .to_owned();
        if !names.is_empty() {
            text += &format!("subjectAltName = {names}\n");
        }
        std::fs::write(&extensions, text)?;
        run(new_key(Command::new("openssl").arg("req"))
            .args(["-subj", &format!("/CN={common}")])
            .arg("-keyout")
            .arg(&issued.key)
            .arg("-out")
            .arg(&request))?;
        run(Command::new("openssl")
            .args(["x509", "-req", "-days", "2", "-CAcreateserial"])
            .arg("-in")
            .arg(&request)
            .arg("-CA")
            .arg(self.certificate())
            .arg("-CAkey")
            .arg(self.file("key"))
            .arg("-extfile")
            .arg(&extensions)
            .arg("-out")
            .arg(&issued.cert))?;
        // libpq takes no key that others may read.
        run(Command::new("chmod").arg("600").arg(&issued.key))?;
        Ok(issued)
    }

    /// Revokes, and writes the list anew; where it is.
    pub fn revoke(&self, issued: &[&Issued]) -> Result<PathBuf> {
        for one in issued {
            run(self.ca().arg("-revoke").arg(&one.cert))?;
        }
        let list = self.file("crl");
        run(self.ca().arg("-gencrl").arg("-out").arg(&list))?;
        Ok(list)
    }

    fn ca(&self) -> Command {
        let mut command = Command::new("openssl");
        command
            .args(["ca", "-batch", "-config"])
            .arg(self.file("cnf"))
            .arg("-cert")
            .arg(self.certificate())
            .arg("-keyfile")
            .arg(self.file("key"));
        command
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.name))
    }
}

fn new_key(command: &mut Command) -> &mut Command {
    command
        .args(["-newkey", "ec", "-nodes"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
}
