//! The upstream of the tests: it has done whatever it is sent.

use pipeline::{OutcomeKind, Permitted, Session};

/// Sends it, and records how it ended. Gives the columns that stay masked.
pub async fn send(session: &Session, permitted: Permitted<()>) -> Vec<String> {
    let ((), receipt) = permitted.release();
    let masked = receipt.obligations().masked.iter();
    let masked = masked.map(|c| c.column.to_string()).collect();
    let done = session.outcome(receipt, OutcomeKind::Done, "SELECT 1", 1, 9);
    done.await.unwrap();
    masked
}
