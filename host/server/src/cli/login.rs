//! `weir login`: a certificate for SSH.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use identity::{DeviceLogin, DeviceOptions};
use weir_client::{Client, SshCertificateRequest};

use super::remote::{Reach, explain, shown};
use super::ssh_files::SshFiles;

#[derive(Args)]
pub(super) struct LoginArgs {
    #[command(flatten)]
    who: Who,
    /// The private key, ~/.ssh/weir if none is named; made when it is not there.
    #[arg(long, short = 'i')]
    key: Option<PathBuf>,
}

/// Where the API is, and how whoever calls it comes by a token.
#[derive(Args)]
pub(super) struct Who {
    #[command(flatten)]
    reach: Reach,
    /// The OpenID provider to log in at, by the name that its tokens carry. Without it, a token is needed.
    #[arg(long, env = "WEIR_ISSUER", requires = "client_id")]
    issuer: Option<String>,
    /// As which of its clients: a public one that may use the device grant.
    #[arg(long, env = "WEIR_CLIENT_ID")]
    client_id: Option<String>,
    /// What to ask for, separated by spaces.
    #[arg(long, default_value = "openid")]
    scope: String,
    /// The service that the token is for, where the provider wants to be told.
    #[arg(long)]
    audience: Option<String>,
    /// The authority of the provider's TLS certificate, as PEM.
    #[arg(long)]
    issuer_ca: Option<PathBuf>,
}

pub(super) async fn run(args: LoginArgs) -> anyhow::Result<ExitCode> {
    args.who.demand_tls()?;
    let files = SshFiles::at(args.key.clone())?;
    let key = files.private_key()?;
    let client = args.who.client().await?;
    let request = SshCertificateRequest {
        public_key: key.public().to_openssh(""),
    };
    let answer = client.ssh_certificate(&request).await.map_err(explain)?;
    let certificate = files.keep(key.public(), &answer.certificate, &answer.authority)?;
    println!(
        "{}: {}, serial {:016x}",
        files.certificate().display(),
        shown(&certificate.key_id),
        certificate.serial,
    );
    let from = match &answer.source {
        None => String::new(),
        Some(source) => format!(", from {}", shown(source)),
    };
    println!("valid until {}{from}", answer.valid_before);
    Ok(ExitCode::SUCCESS)
}

impl Who {
    /// For answers that are believed later on, see [`Reach::demand_tls`].
    pub(super) fn demand_tls(&self) -> anyhow::Result<()> {
        self.reach.demand_tls()
    }

    /// With the token that somebody has, or with one that they get now.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        let (Some(issuer), Some(client_id)) = (&self.issuer, &self.client_id) else {
            return self.reach.client();
        };
        if self.reach.has_token_file() {
            return self.reach.client();
        }
        let options = DeviceOptions {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: None,
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            ca_file: self.issuer_ca.clone(),
        };
        let login = DeviceLogin::begin(&options).await?;
        // On stderr: what is on stdout is for whoever reads the result.
        match &login.verification_uri_complete {
            Some(place) => {
                eprintln!("Open {}", shown(place));
                eprintln!("and see that it shows the code {}", shown(&login.user_code));
            }
            None => {
                eprintln!("Open {}", shown(&login.verification_uri));
                eprintln!("and type the code {}", shown(&login.user_code));
            }
        }
        let token = login.finish().await?;
        self.reach.client_with(&token)
    }
}
