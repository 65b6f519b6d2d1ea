//! SSH by russh, in both roles: what stands on either side of Weir, or of nothing, in the tests of SSH.
//!
//! Place in the flow: outside. Weir's transport and connection layer are its own; this is how somebody else read the
//! same documents, with other cryptography.
//!
//! Architecture invariants:
//! - It shares no code with Weir, and no lock file: Weir's lists nothing that only this needs.
//! - It says what it saw and hides nothing: a step that fails or takes too long ends it, and is named.

mod client;
mod server;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
russh-peer client   what a client does on the host that $HOST, $PORT, $LOGIN, $KEY, $KNOWN and $PASSWORD tell
russh-peer server PORT DIR
                    a host on 127.0.0.1 with the files that an sshd of the tests has in its directory";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("russh-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[&str]) -> Result<()> {
    match args {
        ["client"] => client::run().await,
        ["server", port, dir] => {
            let port = port.parse().context("the port is no number")?;
            server::run(port, dir.as_ref()).await
        }
        _ => bail!("{USAGE}"),
    }
}
