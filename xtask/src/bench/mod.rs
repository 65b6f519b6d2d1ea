//! bench
pub fn run(_: &[&str]) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
