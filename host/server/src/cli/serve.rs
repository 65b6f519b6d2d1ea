//! `weir serve` and `weir check-config`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::{FormatFields, format};

use crate::assemble::{Parts, Purpose};
use crate::config::{Config, Log, LogFormat};
use crate::descriptors;

/// Runs the proxy until SIGTERM or SIGINT, or until nothing can be recorded any more: then with an
/// error, so that a supervisor starts it anew.
pub(super) fn serve(path: &Path) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(path)?;
    start_log(&config.log)?;
    descriptors::raise();
    if let Some(warning) = descriptors::warning(&config, descriptors::limit()) {
        tracing::warn!("{warning}");
    }
    descriptors::fit(&mut config, descriptors::limit())?;
    runtime()?.block_on(async {
        let parts = Parts::build(config, Purpose::Serve).await?;
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop: draining");
            shutdown.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = parts.run(shutdown.clone()) => result,
            () = asked => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says whether `serve` would start, without binding a port or writing anything.
pub(super) fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    // That of whoever checks. The service may have another, so this is no error.
    let warning = descriptors::warning(&config, descriptors::limit());
    let (parts, stored) = runtime()?.block_on(async {
        let parts = Parts::build(config, Purpose::Check).await?;
        let stored = parts.stored().await;
        anyhow::Ok((parts, stored))
    })?;
    println!("{}", parts.describe());
    stored.lines.iter().for_each(|line| println!("{line}"));
    if !stored.problems.is_empty() {
        anyhow::bail!("{}", stored.problems.join("\n"));
    }
    if let Some(warning) = warning {
        println!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")
}

/// Fields as `tracing` writes them, but nothing in them begins a new line or moves the cursor: much of
/// what is logged was written by strangers, as a startup packet's user.
fn one_line() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|out, field, value| {
        match field.name() {
            "message" => {}
            name => write!(out, "{}=", name.trim_start_matches("r#"))?,
        }
        for c in format!("{value:?}").chars() {
            match c {
                c if c.is_control() => write!(out, "{}", c.escape_unicode())?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    })
    .delimited(" ")
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .with_context(|| format!("log.filter {:?} is not a tracing filter", log.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).fmt_fields(one_line()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// Whatever a stranger calls itself, it writes no line of its own into the log.
    #[test]
    fn one_event_is_one_line() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .fmt_fields(one_line())
            .with_writer(move || Copy(to.clone()))
            .finish();
        let user = "eve\r\n2026-01-01T00:00:00Z ERROR all is lost\u{1b}[2K\u{85}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(%user, quoted = user, n = 7, "login of {user} failed");
        });
        let text = String::from_utf8(written.lock().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text}");
        for part in [
            "login of eve",
            "user=eve",
            "quoted=\"eve",
            "n=7",
            "all is lost",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    struct Copy(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Copy {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
