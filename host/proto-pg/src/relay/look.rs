//! What one text does, by everything that is known in this session now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pipeline::EndReason;
use pipeline::ports::Policy;

use super::End;
use super::client::FromClient;
use super::texts::Under;
use crate::analysis::{Ctx, analyse, unread};
use crate::statements::Judged;
use crate::wire::backend::TxStatus;

/// Could the text run a prepared statement or read a cursor? A word too many costs an analysis.
fn mentions_names(sql: &[u8]) -> bool {
    [&b"execute"[..], b"fetch", b"move"].iter().any(|word| {
        sql.windows(word.len())
            .any(|w| w.eq_ignore_ascii_case(word))
    })
}

impl FromClient {
    /// What a text does. A large one takes its time, and this thread serves others: it goes on
    /// elsewhere, few at once.
    pub(super) async fn look(&mut self, sql: &[u8]) -> Result<Judged, End> {
        let policy = self.link.session.pin();
        self.judge.goes_by(&policy);
        let judged = self.look_under(sql, policy).await?;
        if judged.indifferent {
            self.link.strayed.store(true, Ordering::SeqCst);
            // Another bundle can have become active since it was asked for: who waits for that must
            // have seen this, or it is seen here.
            self.may_go_on()?;
        }
        Ok(judged)
    }

    async fn look_under(&mut self, sql: &[u8], policy: Arc<dyn Policy>) -> Result<Judged, End> {
        let large = sql.len() > self.link.limits.inline_text;
        self.large_texts |= large;
        // EXECUTE reads again what was prepared, which can be large.
        let aside = large || (self.large_texts && mentions_names(sql));
        if !aside {
            return Ok(self.look_at(sql, policy));
        }
        self.flush().await?;
        let analysts = self.link.analysts.clone();
        let _turn = tokio::select! {
            biased;
            turn = analysts.acquire() => turn,
            () = self.reader.watch() => return Err(End(EndReason::ClientClosed)),
        };
        use tokio::runtime::{Handle, RuntimeFlavor};
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(self.look_at(sql, policy));
        }
        Ok(tokio::task::block_in_place(|| self.look_at(sql, policy)))
    }

    fn look_at(&self, sql: &[u8], policy: Arc<dyn Policy>) -> Judged {
        let link = &self.link;
        let info = link.session.info();
        let moves = link.catalog.moves().clone();
        let moved = moves.count();
        let (settled, tx) = {
            let flow = link.flow.lock();
            (flow.is_quiescent(), flow.tx())
        };
        let read_only_txn = self.judge.is_read_only() && settled && tx == TxStatus::InTransaction;
        let indifferent = link.indifferent(&*policy);
        let readable = link.reads.as_we_do() && self.judge.is_sure_of(sql);
        // A text that is kept can be planned again, when its settings are others; who has something to
        // hide does not rely on what they are now.
        let one_reading = settled && indifferent;
        let snapshot = self.judge.snapshot();
        // What it runs by name depends on what this session did before.
        let by_name = mentions_names(sql);
        let under = Under {
            snapshot,
            bundle: &policy.bundle().digest,
            path: self.judge.state().path(),
            read_only_txn,
            indifferent,
            readable,
            // Only texts with a backslash can be read in two ways.
            settled: one_reading || !sql.contains(&b'\\'),
        };
        let texts = link.catalog.texts();
        let known = (!by_name).then(|| texts.get(sql, under)).flatten();
        let analysis = known.unwrap_or_else(|| {
            let ctx = Ctx {
                snapshot,
                state: self.judge.state(),
                labels: policy.labels(),
                target: &info.target,
                database: &info.scope,
                read_only_txn,
                settled: one_reading,
                limits: &link.limits.analysis,
            };
            let mut analysis = if readable {
                analyse(sql, &ctx)
            } else {
                unread(sql, &ctx)
            };
            if indifferent {
                analysis.lift();
            }
            let analysis = Arc::new(analysis);
            if !by_name {
                texts.put(sql, under, &analysis);
            }
            analysis
        });
        Judged {
            indifferent,
            denied: analysis.refuse.clone(),
            analysis,
            policy,
            snapshot: self.judge.snapshot().clone(),
            epoch: self.judge.epoch(),
            by_name,
            moves,
            moved,
        }
    }
}
