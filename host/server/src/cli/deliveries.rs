//! `weir deliveries`: how far the receivers of the record are.

use std::process::ExitCode;

use clap::Args;
use weir_client::DeliveryInfo;

use super::remote::{Remote, explain, shown};

#[derive(Args)]
pub(super) struct DeliveriesArgs {
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(args: DeliveriesArgs) -> anyhow::Result<ExitCode> {
    let page = args.remote.client()?.deliveries().await.map_err(explain)?;
    args.remote
        .print(&page, |page| page.items.iter().for_each(line))?;
    Ok(ExitCode::SUCCESS)
}

fn line(d: &DeliveryInfo) {
    let lag = match (d.lag_leaves, d.lag_seconds) {
        (None, _) => "lag not known yet".to_owned(),
        (Some(leaves), None) => format!("lag {leaves} leaves"),
        (Some(leaves), Some(seconds)) => format!("lag {leaves} leaves, {seconds} s"),
    };
    println!(
        "{}  {}  {:?}  {lag}  {} delivered, {} set aside",
        shown(&d.name),
        d.kind,
        d.state,
        d.delivered,
        d.set_aside
    );
    if d.trusts_unclean_end {
        println!("  trust_unclean_end: ends that anybody on the wire can make count as taken");
    }
    if let Some(log) = &d.first_log {
        println!("  since log {}", shown(log));
    }
    if let (Some(error), Some(at)) = (&d.last_error, &d.last_error_at) {
        println!("  last error, {at}: {}", shown(error));
    }
}
