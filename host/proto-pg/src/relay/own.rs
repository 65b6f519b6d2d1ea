//! What we do for ourselves between the client's messages: questions to the server on the client's
//! connection, and analyses that take their time.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;
use pipeline::{Access, EndReason, Facts, Question};

use super::client::FromClient;
use super::judge::unsure;
use super::{End, open};
use crate::catalog::Rows;
use crate::refusal::Refused;
use crate::statements::{Columns, Judged, Portal, Prepared};
use crate::upstream::{Planned, QueryError};
use crate::wire::backend::TxStatus;
use crate::wire::encode;

/// A CancelRequest of the client that was under way can hit a question of ours, which is then asked
/// again. It hits once; the second time, something else is wrong.
const ATTEMPTS: usize = 3;
/// query_canceled: by a CancelRequest, or by `statement_timeout`.
const CANCELLED: &str = "57014";

/// How long our questions wait for locks: views are shown only to whoever can lock what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as the question may take.
    Needed,
    /// Nothing hangs on the answer: the client must not notice.
    Curious,
}

impl Patience {
    fn milliseconds(self) -> u32 {
        match self {
            // No limit of its own.
            Self::Needed => 0,
            Self::Curious => 100,
        }
    }
}

/// What stands around our questions, so that neither a failure nor the settings they need outlive
/// them.
struct Frame {
    open: &'static str,
    close: &'static [&'static str],
}

/// Catalogue queries see one moment. Not SERIALIZABLE, whatever the session's default is: that could
/// wait.
const IDLE: Frame = Frame {
    open: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    close: &["ROLLBACK"],
};
/// Rolled back even when all went well: it is the way to undo SET LOCAL.
const IN_TRANSACTION: Frame = Frame {
    open: "SAVEPOINT \"weir:catalog\"",
    close: &[
        "ROLLBACK TO SAVEPOINT \"weir:catalog\"",
        "RELEASE SAVEPOINT \"weir:catalog\"",
    ],
};

impl FromClient {
    /// Sends our own queries and waits for all results. `None`: the server refused one; the client's
    /// transaction is as it was.
    pub(super) async fn ask(
        &mut self,
        queries: &[&'static str],
        patience: Patience,
    ) -> Result<Option<Vec<Rows>>, End> {
        for _ in 0..ATTEMPTS {
            match self.ask_once(queries, patience).await? {
                Ok(rows) => return Ok(Some(rows)),
                Err(error) => {
                    tracing::warn!(%error, "a catalogue query failed");
                    let cancelled = matches!(
                        &error,
                        QueryError::Refused { sqlstate, .. } if sqlstate == CANCELLED
                    );
                    if !cancelled || self.link.flow.lock().tx() == TxStatus::Failed {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn ask_once(
        &mut self,
        queries: &[&'static str],
        patience: Patience,
    ) -> Result<Result<Vec<Rows>, QueryError>, End> {
        let link = self.link.clone();
        let bounds = open::bounds(&link.limits);
        let frame = match link.flow.lock().tx() {
            TxStatus::Idle => IDLE,
            _ => IN_TRANSACTION,
        };
        // The client's own timeout is for its own statements.
        let timeout = format!(
            "SELECT pg_catalog.set_config('statement_timeout', '{}', true), \
                    pg_catalog.set_config('lock_timeout', '{}', true)",
            bounds.milliseconds(),
            patience.milliseconds(),
        );
        let before = [frame.open, &timeout];
        let mut answers = Vec::new();
        for sql in before.iter().chain(queries).chain(frame.close) {
            self.sender.own_query(sql);
            answers.push(link.flow.lock().sent_own(bounds));
        }
        self.flush().await?;
        let collect = async {
            let mut results = Vec::with_capacity(answers.len());
            for answer in answers {
                results.push(answer.await.unwrap_or(Err(QueryError::Closed)));
            }
            results
        };
        let results = tokio::select! {
            biased;
            results = tokio::time::timeout(bounds.time, collect) => results,
            () = self.reader.watch() => return Err(End(EndReason::ClientClosed)),
        };
        let Ok(results) = results else {
            let text = "the target did not answer a catalogue query in time";
            return Err(End(EndReason::Error(text.to_owned())));
        };
        let rows: Result<Vec<_>, _> = results.into_iter().collect();
        Ok(rows.map(|rows| {
            let asked = rows.into_iter().skip(before.len());
            asked.take(queries.len()).collect()
        }))
    }

    /// Is the portal surely what was bound under this name? Code on the server opens and closes cursors
    /// by name.
    pub(super) fn is_itself(&self, name: &[u8], portal: &Portal) -> Result<(), Refused> {
        let strange = !name.is_empty() && self.link.flow.lock().is_strange(portal);
        if !strange || !self.labels(&portal.judged) {
            return Ok(());
        }
        let text =
            "a function that ran since this portal was bound may have put another in its place";
        Err(Refused::new("42501", text)
            .hint("Bind it again, or read it to its end before you call functions."))
    }

    /// Is anything labelled in this database? Where nothing is, code on the server gains nothing by
    /// giving names another meaning: it ran with the same rights.
    fn labels(&self, judged: &Judged) -> bool {
        let target = &self.link.session.info().target.name;
        let labelled = judged.snapshot.labelled(judged.policy.labels(), target);
        !labelled.all.is_empty()
    }

    /// Code on the server may have put another statement under this name.
    pub(super) fn is_doubtful(&self, name: &[u8], prepared: &Prepared) -> bool {
        let doubtful = !name.is_empty() && self.link.flow.lock().is_doubtful(prepared);
        doubtful && self.labels(&prepared.judged.lock())
    }

    /// Before a doubtful statement is bound, the text that was judged is put under its name again.
    pub(super) fn restore(
        &mut self,
        name: &[u8],
        prepared: &Arc<Prepared>,
        judged: &Judged,
    ) -> Result<(), Refused> {
        if !self.is_doubtful(name, prepared) {
            return Ok(());
        }
        {
            let flow = self.link.flow.lock();
            if flow.tx() == TxStatus::Failed && flow.is_quiescent() {
                // The server binds nothing, and would not take the text back either.
                return Ok(());
            }
        }
        if !self.is_sure_of(&prepared.sql) {
            return Err(unsure());
        }
        let mut frame = BytesMut::new();
        encode::parse(&mut frame, name, &prepared.sql, &prepared.types);
        let Some(planned) = Planned::new(&frame, judged) else {
            return Err(Refused::new(
                "42501",
                "the statement may not be planned again",
            ));
        };
        self.sender.close(b'S', name);
        self.sender.plan(planned);
        // It may return other columns now, and its parameters be of other types.
        *prepared.columns.lock() = Columns::Unknown;
        *prepared.parameters.lock() = None;
        let parses_code = judged.analysis.parses_code();
        let hides = parses_code && self.hides(judged);
        let mut flow = self.link.flow.lock();
        if parses_code {
            flow.reads_again(judged);
        }
        flow.sent_again(prepared.clone(), hides);
        Ok(())
    }

    /// Can planning the text reach columns that are hidden from the client? Nothing is decided yet:
    /// what only an approval reveals counts as hidden.
    pub(super) fn hides(&self, judged: &Judged) -> bool {
        let labelled = &judged.analysis.labelled;
        if judged.is_doubtful() {
            return true;
        }
        if labelled.is_empty() || judged.analysis.is_quiet() {
            return false;
        }
        let database = &self.link.session.info().scope;
        let shown = |question: &Question<'_>| {
            let mut labelled = labelled.iter();
            labelled.all(|column| judged.policy.reveal(question, column, database))
        };
        !self.beforehand(judged, shown)
    }

    /// Asks policy about a text before it is decided on: no risk is known yet, and nobody has agreed.
    pub(super) fn beforehand<T>(&self, judged: &Judged, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let session = &self.link.session;
        let info = session.info();
        let facts = Facts::Sql(judged.analysis.facts.clone());
        let computed = judged.analysis.computed.iter();
        let computing: Vec<Access> = computed
            .map(|column| Access::compute(column, &info.scope, &info.target))
            .collect();
        let accesses = match computing.is_empty() {
            true => Cow::Borrowed(&judged.analysis.accesses),
            false => Cow::Owned([&judged.analysis.accesses[..], &computing].concat()),
        };
        ask(&Question {
            principal: &info.principal,
            source: info.source,
            session: &info.id_text,
            now: session.ports().clock.now(),
            facts: Some(&facts),
            risk: &pipeline::Risk::default(),
            approvals: &std::collections::BTreeSet::new(),
            accesses: &accesses,
        })
    }
}
