//! What a text means now: the catalogue, the session's state, and when to ask the server again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::{
    ApprovalRule, BundleRef, Column, EndReason, Facts, LabelCatalog, Parameter, Question, Request,
    Ruling, SqlKind,
};

use pipeline::ports::Policy;

use super::End;
use super::catalog::{Held, Moves};
use super::client::FromClient;
use super::own::Patience;
use super::refresh::{Newness, Refreshed};
use super::witness::Vouched;
use crate::analysis::{Analysis, Effect, TxEffect};
use crate::catalog::{Path, SessionState, Snapshot};
use crate::refusal::Refused;
use crate::statements::{Epoch, Forgets, Judged};
use crate::wire::backend::TxStatus;

/// An unknown name makes the catalogue be read again, but not more often than this: names can be
/// invented faster than catalogues are read.
pub(super) const RELOAD_FOR_UNKNOWN: Duration = Duration::from_secs(1);
/// When the catalogue cannot be read (a client may have set a short `statement_timeout`), the old
/// snapshot serves for this many times its TTL, and no longer.
const SERVES_AT_MOST: u32 = 5;

/// The state that decides what a text means in this session.
pub(crate) struct Judge {
    pub(super) held: Held,
    pub(super) state: SessionState,
    /// Grows with everything that may change the meaning of a text.
    pub(super) epoch: Epoch,
    /// DDL of this session was sent since the snapshot was begun.
    pub(super) own_ddl: bool,
    /// The open transaction was begun READ ONLY, and nothing since could have changed that.
    read_only: bool,
    moves: Moves,
    /// DDL of this session was sent and may not be committed yet.
    uncommitted: bool,
    /// Something was sent that may change how the server reads texts, and it has not said yet how it
    /// does.
    unsure: bool,
    /// Something like that was sent at some time: the end of a transaction can undo it.
    unpinned: bool,
    /// The bundle by whose labels texts were last looked at.
    looked_under: Option<Arc<dyn Policy>>,
    /// When the server was last asked for the session's state.
    pub(super) asked: Instant,
}

impl Judge {
    pub fn new(held: Held, state: SessionState, moves: Moves) -> Self {
        Self {
            held,
            state,
            epoch: Epoch::default(),
            own_ddl: false,
            read_only: false,
            moves,
            uncommitted: false,
            unsure: false,
            unpinned: false,
            looked_under: None,
            asked: Instant::now(),
        }
    }

    pub fn held(&self) -> &Held {
        &self.held
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.held.snapshot
    }

    /// Where names are looked up, if that is known.
    pub fn path(&self) -> Option<Vec<Arc<str>>> {
        match self.state.path() {
            Path::Known(schemas) => Some(schemas.to_vec()),
            Path::Unknown => None,
        }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Texts are looked at under `policy` from now on: what was understood by other labels before, and
    /// is run by its name, has to be looked at again.
    pub(super) fn goes_by(&mut self, policy: &Arc<dyn Policy>) {
        match &self.looked_under {
            Some(before) if before.bundle().digest == policy.bundle().digest => return,
            Some(before) if relabels(&**before, &**policy) => self.state.relabelled(),
            _ => {}
        }
        self.looked_under = Some(policy.clone());
    }

    /// A text is about to be sent: its effects count from now on.
    pub fn forwarded(&mut self, analysis: &Analysis) {
        self.state.forwarded(analysis);
        self.may_read_otherwise(analysis);
        self.epoch.names = self.state.names();
        self.own_ddl |= analysis.changes_catalog;
        self.uncommitted |= analysis.changes_catalog;
        self.synced();
        if analysis.changes_catalog {
            self.epoch.path += 1;
        }
        for effect in analysis.summaries.iter().flat_map(|s| &s.effects) {
            match effect {
                Effect::Reading => {}
                Effect::Path | Effect::Ends => self.epoch.path += 1,
                Effect::Prepares(..) | Effect::Declares(..) => {}
                // Nothing new is meant by the name.
                Effect::Means(..) => {}
            }
        }
        match analysis.statements.as_slice() {
            [one] => match one.transaction() {
                Some(TxEffect::Begin { read_only }) => self.read_only = read_only == Some(true),
                Some(_) => self.read_only = false,
                None if one.kind() == SqlKind::Session => self.read_only = false,
                None => {}
            },
            _ => self.read_only = false,
        }
    }

    /// A text is about to be planned, which runs functions that it calls: what they can change has
    /// changed from now on, although nothing is executed yet.
    pub fn planned(&mut self, analysis: &Analysis) {
        self.state.planned(analysis);
        self.may_read_otherwise(analysis);
        self.own_ddl |= analysis.changes_catalog;
        self.uncommitted |= analysis.changes_catalog;
        self.synced();
        self.epoch.path += 1;
    }

    /// What is about to be sent may change how the server reads what comes after it.
    fn may_read_otherwise(&mut self, analysis: &Analysis) {
        let effects = || analysis.summaries.iter().flat_map(|s| &s.effects);
        let sets = analysis.is_foreign() || effects().any(|e| matches!(e, Effect::Reading));
        let ends = effects().any(|e| matches!(e, Effect::Ends));
        self.unsure |= sets || (ends && self.unpinned);
        self.unpinned |= sets;
    }

    /// Would the server read this text as it last said that it reads texts? Under any of its encodings,
    /// ASCII is ASCII; what a backslash can mean is looked at apart.
    pub(super) fn is_sure_of(&self, sql: &[u8]) -> bool {
        !self.unsure || sql.is_ascii()
    }

    /// Something is about to be sent that may commit what was sent before.
    pub fn synced(&self) {
        if self.uncommitted {
            self.moves.add();
        }
    }

    pub fn is_uncommitted(&self) -> bool {
        self.uncommitted
    }

    /// No transaction is open and nothing is under way.
    fn idle(&mut self) {
        self.uncommitted = false;
        self.state.idle();
    }

    pub fn parsed(&mut self, name: &[u8], analysis: &Analysis) {
        if !name.is_empty()
            && let Ok(name) = std::str::from_utf8(name)
        {
            self.state.parsed(name, analysis);
            self.epoch.names = self.state.names();
        }
    }

    pub fn bound(&mut self, portal: &[u8], analysis: &Analysis, parameters: &[Parameter]) {
        if !portal.is_empty()
            && let Ok(name) = std::str::from_utf8(portal)
        {
            self.state.bound(name, analysis, parameters);
            self.epoch.names = self.state.names();
        }
    }
}

/// Has one bundle other labels than another?
fn relabels(before: &dyn Policy, now: &dyn Policy) -> bool {
    before.bundle().digest != now.bundle().digest && before.labels() != now.labels()
}

/// Names that the text makes or may make by itself: what the protocol knew under them is over.
pub(super) fn forgets(analysis: &Analysis) -> Forgets {
    let mut forgets = Forgets::default();
    for effect in analysis.summaries.iter().flat_map(|s| &s.effects) {
        match effect {
            Effect::Prepares(name, ..) => forgets.statements.push(name_bytes(name)),
            Effect::Declares(name, ..) => forgets.portals.push(name_bytes(name)),
            Effect::Path | Effect::Reading | Effect::Ends | Effect::Means(..) => {}
        }
    }
    forgets
}

fn name_bytes(name: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(name.as_bytes())
}

/// Does anything in the text have to be looked up in the catalogue?
fn looks_up(analysis: &Analysis) -> bool {
    analysis.names_relations || analysis.unknown_names
}

/// In a failed transaction, a text that does not end it does nothing at all.
pub(super) fn ends_transaction(analysis: &Analysis) -> bool {
    let mut statements = analysis.statements.iter();
    analysis.statements.is_empty() || statements.any(|s| s.transaction().is_some())
}

/// The active bundle, but it refuses: so that what the protocol core refuses by itself is on record
/// like any other refusal.
struct Refusing {
    policy: Arc<dyn Policy>,
    reason: String,
}

impl Policy for Refusing {
    fn bundle(&self) -> &BundleRef {
        self.policy.bundle()
    }
    fn authorize(&self, _: &Question<'_>) -> Ruling {
        Ruling::Deny {
            policies: Vec::new(),
            reason: self.reason.clone(),
        }
    }
    fn reveal(&self, _: &Question<'_>, _: &Column, _: &str) -> bool {
        false
    }
    fn labels(&self) -> &LabelCatalog {
        self.policy.labels()
    }
    fn approval_rule(&self, name: &str) -> Option<&ApprovalRule> {
        self.policy.approval_rule(name)
    }
}

/// Turns a judged text into the question for `decide`.
pub(super) fn request<R>(
    judged: &Judged,
    canonical: Vec<u8>,
    parameters: Vec<Parameter>,
    payload: R,
) -> Request<R> {
    let policy: Arc<dyn Policy> = match &judged.denied {
        None => judged.policy.clone(),
        Some(reason) => Arc::new(Refusing {
            policy: judged.policy.clone(),
            reason: reason.clone(),
        }),
    };
    let analysis = &judged.analysis;
    Request {
        policy,
        facts: Facts::Sql(analysis.facts.clone()),
        accesses: analysis.accesses.clone(),
        labelled: analysis.labelled.clone(),
        computed: analysis.computed.clone(),
        unmaskable: analysis.unmaskable,
        canonical,
        parameters,
        payload,
    }
}

impl FromClient {
    /// As [`Judge::is_sure_of`], when what the server has said by now is taken into account: it reports
    /// what has changed before it is ready.
    pub(super) fn is_sure_of(&mut self, sql: &[u8]) -> bool {
        self.judge.unsure &= !self.link.flow.lock().is_quiescent();
        self.judge.is_sure_of(sql)
    }

    /// The last look before something is sent: has the client given it up meanwhile?
    pub(super) async fn last_look(&mut self) -> Result<Option<Refused>, End> {
        if !self.link.cancellable.token().is_cancelled() {
            return Ok(None);
        }
        self.cancelled().await.map(Some)
    }

    pub(super) async fn cancelled(&mut self) -> Result<Refused, End> {
        self.heeds().await?;
        let text = "canceling statement due to user request";
        Ok(Refused::new("57014", text))
    }

    /// The client's cancel ends here. What is in the buffer may be waited for by another.
    pub(super) async fn heeds(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.link.cancellable.given_up();
        self.link.cancellable.told().await;
        Ok(())
    }

    /// What was not followed is not gone on with under a bundle that cares.
    pub(super) fn may_go_on(&self) -> Result<(), End> {
        match self.link.is_lost() {
            true => Err(End(EndReason::PolicyChanged)),
            false => Ok(()),
        }
    }

    /// The verdict on a text, with a catalogue that is fresh enough for it; what defines its views may
    /// have been replaced past Weir.
    pub(super) async fn judge_known(&mut self, sql: &[u8]) -> Result<Result<Judged, Refused>, End> {
        let (quiescent, tx) = {
            let mut flow = self.link.flow.lock();
            for (names, over) in flow.take_dropped() {
                self.judge.state.dropped(&over, names);
            }
            (flow.is_quiescent(), flow.tx())
        };
        let idle = quiescent && tx == TxStatus::Idle;
        if idle {
            self.judge.idle();
        }
        let sure = self.is_sure_of(sql);
        let mut judged = self.look(sql).await?;
        if !judged.indifferent && !sure {
            if self.link.flow.lock().is_open_batch() {
                return Ok(Err(unsure()));
            }
            self.wait_until(|flow| flow.is_quiescent()).await?;
            self.is_sure_of(sql);
            judged = self.look(sql).await?;
        }
        if judged.indifferent {
            if idle && looks_up(&judged.analysis) && self.catch_up().await? {
                judged = self.look(sql).await?;
            }
            if judged.indifferent {
                return Ok(Ok(judged));
            }
        }
        if self.link.has_strayed() {
            // Policy has changed, and cares.
            return Err(End(EndReason::PolicyChanged));
        }
        if looks_up(&judged.analysis) {
            let old = !self.link.catalog.is_fresh(&self.judge.held);
            let stale = self.judge.own_ddl || self.judge.state.search_path_unknown() || old;
            let unknown = judged.analysis.unknown_names
                && self.judge.held.begun.elapsed() > RELOAD_FOR_UNKNOWN;
            if stale || unknown {
                let newness = match unknown {
                    true => Newness::Recent,
                    false => Newness::Fresh,
                };
                match self.refresh(newness, Patience::Needed).await? {
                    Refreshed::Yes => judged = self.look(sql).await?,
                    Refreshed::Cancelled => return Ok(Err(self.cancelled().await?)),
                    // The server refuses it, and says so in its own words.
                    Refreshed::Aborted if !ends_transaction(&judged.analysis) => {}
                    // What this session itself changed must be seen before it is used.
                    Refreshed::No | Refreshed::Aborted if self.judge.own_ddl => {
                        let text =
                            "the catalogue has changed and cannot be read again at this point";
                        return Ok(Err(Refused::new("42501", text)
                            .hint("Send Sync, or end the transaction, and try again.")));
                    }
                    Refreshed::No | Refreshed::Aborted if self.outlived() => {
                        let text =
                            "the catalogue cannot be read, and what is known of it is too old";
                        return Ok(Err(Refused::new("42501", text)
                            .hint("End the transaction, or set a longer statement_timeout.")));
                    }
                    Refreshed::No | Refreshed::Aborted if old => {
                        // Others may have changed which relation a name finds.
                        self.judge.state.doubt();
                        self.judge.epoch.path += 1;
                        judged = self.look(sql).await?;
                    }
                    Refreshed::No | Refreshed::Aborted => {}
                }
            }
        }
        Ok(Ok(judged))
    }

    /// Nothing hangs on what names mean; but classifiers and the record speak of them, so the
    /// catalogue is not left behind for long. True: it was looked at again.
    async fn catch_up(&mut self) -> Result<bool, End> {
        if !self.link.reads.as_we_do() {
            // Its answers could not be read.
            return Ok(false);
        }
        let link = self.link.clone();
        let begun = self.judge.held.begun;
        let behind = self.judge.own_ddl || !link.catalog.is_fresh(&self.judge.held);
        let behind = behind && begun.elapsed() > RELOAD_FOR_UNKNOWN;
        if behind
            && let Some(held) = link.catalog.newest()
            && held.begun.elapsed() <= RELOAD_FOR_UNKNOWN
        {
            self.judge.held = held;
            self.judge.epoch.path += 1;
        } else if behind && link.catalog.claim(RELOAD_FOR_UNKNOWN) {
            let refreshed = self.refresh(Newness::Recent, Patience::Curious).await?;
            return Ok(refreshed == Refreshed::Yes);
        }
        let lost = self.judge.state.search_path_unknown();
        if lost && self.judge.asked.elapsed() > RELOAD_FOR_UNKNOWN {
            return self.ask_state(Patience::Curious).await;
        }
        Ok(self.judge.held.begun != begun)
    }

    /// A text was held: do its names still mean what people have agreed to?
    pub(super) async fn moved_on(
        &mut self,
        sql: &[u8],
        judged: &Judged,
    ) -> Result<Option<Refused>, End> {
        // Whoever has to be waited for in vain is waited for before anything is read.
        self.vouched(judged).await?;
        let now = Instant::now();
        // Its answers could not be read otherwise.
        if looks_up(&judged.analysis) && self.link.reads.as_we_do() {
            match self.refresh(Newness::Since(now), Patience::Needed).await? {
                Refreshed::Yes => {}
                Refreshed::Cancelled => return self.cancelled().await.map(Some),
                Refreshed::No | Refreshed::Aborted => self.take_newest(),
            }
        }
        let known = self.knows_since(now);
        let now = self.look(sql).await?;
        // What an open transaction sees, or another session knew, can be old.
        let vouched = self.vouched(&now).await?;
        let sure = vouched == Vouched::Yes || (vouched == Vouched::Unknown && known);
        if sure && now.analysis.is_covered_by(&judged.analysis) {
            return Ok(None);
        }
        let text = "its names have changed their meaning while this waited for approval";
        let hint = "It was not run. Send it again, so that what it means now can be decided.";
        Ok(Some(Refused::new("42501", text).hint(hint)))
    }

    /// In the middle of a batch the server cannot be asked. What it has planned it keeps; for what it
    /// looks up when it runs, the newest that any session knows must do.
    fn take_newest(&mut self) {
        let newest = self.link.catalog.get();
        let newest = newest.filter(|held| held.begun > self.judge.held.begun);
        if let Some(held) = newest.filter(|_| !self.judge.own_ddl) {
            self.judge.held = held;
            self.judge.epoch.path += 1;
        }
    }

    fn outlived(&self) -> bool {
        self.judge.held.begun.elapsed() > self.link.limits.catalog_ttl * SERVES_AT_MOST
    }

    /// As `judge_text`, for a text that the server will plan: asks policy whether it may be. The
    /// server may also go on with what the text meant `before`.
    pub(super) async fn judge_plan(
        &mut self,
        sql: &[u8],
        before: Option<&Judged>,
    ) -> Result<Result<Judged, Refused>, End> {
        let mut judged = match self.judge_text(sql).await? {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(before) = before.filter(|_| !judged.indifferent) {
            let relabelled = relabels(&*before.policy, &*judged.policy);
            if relabelled && !judged.analysis.names_the_same(&before.analysis) {
                // What labels say of its former meaning now cannot be told.
                let text = "policy and the meaning of names have changed since this was prepared";
                return Ok(Err(Refused::new("42501", text).hint("Prepare it again.")));
            }
            let now = Analysis::clone(&judged.analysis);
            judged.analysis = Arc::new(now.or_as(&before.analysis));
            judged.denied.clone_from(&judged.analysis.refuse);
        }
        if judged.denied.is_none() {
            let ruling = self.beforehand(&judged, |question| judged.policy.authorize(question));
            if let Ruling::Deny { reason, .. } = ruling {
                judged.denied = Some(reason);
            }
        }
        Ok(Ok(judged))
    }
}

/// A text that could be another one by the time that the server reads it.
pub(super) fn unsure() -> Refused {
    let text = "what is under way may change how the server reads this text";
    Refused::new("42501", text).hint("Send Sync, wait for the answer, and try again.")
}
