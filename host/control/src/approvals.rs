//! The approvals desk: opens holds for the decision, and counts people's votes.
//!
//! Who may vote is settled in four steps, all of which must say yes: the voter is a person acting
//! for nobody else; is not involved in the request; is in an approver group of the rule; and Cedar
//! permits `approval:vote` on the rule. How votes add up is in `store::hold`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::ports::{Approver, ApproverError, Clock, Hold, HoldRequest};
use pipeline::{HoldInfo, Principal};
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use weir_client::{Timestamp, VoteKind, VoteResult};

use crate::convert;
use crate::error::ApiError;
use crate::guard::{Recorded, only_people};
use crate::limits::Rate;
use crate::store::{
    Ballot, Cast, HoldDocument, HoldLimits, HoldRecord, HoldRow, HoldState, Opened, RouteRecord,
    Store,
};

mod hold;

/// The largest document of a hold. People cannot judge what they cannot be shown in full, so what
/// is larger cannot be held, and is refused.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// The longest reason that a voter may give.
const MAX_REASON: usize = 2_000;
/// No hold waits longer, whatever its rule says.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone)]
pub(crate) struct Desk {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    base_url: Arc<str>,
    limits: HoldLimits,
    announce: bool,
    /// Opened lately, by principal.
    opened: Arc<Rate<Arc<str>>>,
}

impl Desk {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        base_url: Arc<str>,
        limits: HoldLimits,
        announce: bool,
        opened: Rate<Arc<str>>,
    ) -> Self {
        Self {
            store,
            clock,
            tasks,
            base_url,
            limits,
            announce,
            opened: Arc::new(opened),
        }
    }

    pub(crate) fn url(&self, id: &str) -> String {
        format!("{}/approvals/{id}", self.base_url)
    }

    fn now(&self) -> u64 {
        Timestamp::from(self.clock.now()).millis()
    }

    /// The rules of `row` under which `voter` may vote. `permitted` are those that Cedar permits.
    pub(crate) fn may_vote(
        &self,
        row: &HoldRow,
        voter: &Principal,
        permitted: &BTreeSet<Arc<str>>,
    ) -> Result<Vec<String>, ApiError> {
        only_people(voter, "vote")?;
        if row
            .record
            .involved
            .iter()
            .any(|s| **s == *voter.actor.subject)
        {
            return Err(ApiError::forbidden(
                "nobody votes on a request of their own, or of what acts for them",
            ));
        }
        let rules: Vec<String> = row
            .record
            .document
            .routes
            .iter()
            .filter(|route| route.approvers.iter().any(|g| voter.actor.in_group(g)))
            .map(|route| route.rule.clone())
            .filter(|rule| permitted.contains(rule.as_str()))
            .collect();
        if rules.is_empty() {
            return Err(
                ApiError::forbidden("you are not an approver for this request")
                    .hint("The approval names the groups whose members may vote."),
            );
        }
        Ok(rules)
    }

    pub(crate) fn check_reason(reason: &str, needed: bool) -> Result<(), ApiError> {
        if needed && reason.trim().is_empty() {
            return Err(ApiError::invalid("a reason is needed"));
        }
        if reason.len() > MAX_REASON {
            return Err(ApiError::invalid(format!(
                "the reason is longer than {MAX_REASON} bytes"
            )));
        }
        Ok(())
    }

    /// Counts a vote that [`Desk::may_vote`] admitted and that is on record.
    pub(crate) async fn vote(
        &self,
        recorded: &Recorded,
        hold: String,
        rules: Vec<String>,
        kind: VoteKind,
        reason: String,
    ) -> Result<VoteResult, ApiError> {
        let ballot = Ballot {
            hold,
            voter: recorded.by().actor.subject.to_string(),
            kind,
            reason,
            rules,
            at: self.now(),
        };
        let Some(verdict) = self.store.vote(ballot).await? else {
            return Err(ApiError::not_found("there is no such approval"));
        };
        match verdict.cast {
            Cast::Counted { votes, state } => Ok(VoteResult {
                state: convert::approval_state(state),
                counted_for: votes.into_iter().map(|v| v.rule).collect(),
                routes: convert::routes(&verdict.row),
            }),
            Cast::Closed(state) => Err(ApiError::conflict(closed(state))),
            Cast::Again => Err(ApiError::conflict("you have voted on this already")
                .hint("An approval needs distinct people; a vote of the same person counts once.")),
            Cast::Void => Err(ApiError::forbidden("this vote cannot count")),
        }
    }

    fn record(&self, request: &HoldRequest) -> Result<HoldRecord, ApproverError> {
        let opened = self.clock.now();
        let wait = request.routes.iter().map(|r| r.timeout).min();
        let Some(wait) = wait else {
            return Err(ApproverError::Store(
                "a hold needs at least one approval rule".into(),
            ));
        };
        let document = document(request);
        let size = serde_json::to_vec(&document).map_or(usize::MAX, |v| v.len());
        if size > MAX_DOCUMENT {
            return Err(ApproverError::Store(format!(
                "the request is too large to be shown to people ({size} of {MAX_DOCUMENT} bytes)"
            )));
        }
        let opened_at = Timestamp::from(opened).millis();
        Ok(HoldRecord {
            id: Uuid::now_v7().to_string(),
            opened_at,
            expires_at: opened_at + convert::millis(wait.min(MAX_WAIT)),
            principal: request.session.principal.actor.subject.to_string(),
            involved: convert::involved(&request.session.principal),
            fingerprint: request.fingerprint.0,
            document,
            announce: self.announce,
        })
    }
}

fn closed(state: HoldState) -> String {
    match state {
        HoldState::Open => "it is open".into(),
        HoldState::Approved | HoldState::Used => "it is approved already".into(),
        HoldState::Denied => "it is denied already: a denial is final".into(),
        HoldState::Expired => "it has expired".into(),
        HoldState::Abandoned => "nobody waits for it any more: it was abandoned".into(),
    }
}

fn document(request: &HoldRequest) -> HoldDocument {
    let session = &request.session;
    HoldDocument {
        session: session.id_text.to_string(),
        seq: request.seq,
        chain: session.principal.chain().map(convert::actor).collect(),
        issuer: session.principal.issuer.to_string(),
        source: session.source.to_string(),
        target: convert::target(&session.target),
        database: session.scope.to_string(),
        reason: request.reason.clone(),
        statement: convert::statement(&request.facts, &request.computed),
        impact: request.impact.as_deref().map(convert::impact),
        parameters: request.parameters.iter().map(convert::parameter).collect(),
        risk: convert::risk(&request.risk),
        bundle: convert::bundle_ref(&request.bundle),
        routes: request
            .routes
            .iter()
            .map(|r| RouteRecord {
                rule: r.rule.to_string(),
                approvers: r.approvers.iter().map(ToString::to_string).collect(),
                required: r.required,
                channels: r.channels.clone(),
                title: r.title.clone(),
                body_markdown: r.body_markdown.clone(),
            })
            .collect(),
    }
}

#[async_trait]
impl Approver for Desk {
    async fn open(&self, request: HoldRequest) -> Result<Box<dyn Hold>, ApproverError> {
        let record = self.record(&request)?;
        let principal = request.session.principal.actor.subject.clone();
        if !self.opened.admit(principal) {
            return Err(ApproverError::TooMany(self.opened.limit() as usize));
        }
        let info = HoldInfo {
            id: record.id.clone(),
            url: self.url(&record.id),
            rules: request.routes.iter().map(|r| r.rule.clone()).collect(),
            reason: request.reason.clone(),
            expires_at: Timestamp::from_millis(record.expires_at).time(),
        };
        // From here on, a hold that nobody waits for is abandoned: also if this call is cancelled.
        let hold = hold::DeskHold::new(self, info, request.fingerprint);
        match self.store.open_hold(record, self.limits).await {
            Ok(Opened::Yes) => Ok(Box::new(hold)),
            Ok(Opened::TooMany(n)) => {
                hold.forget();
                Err(ApproverError::TooMany(n))
            }
            Err(error) => {
                tracing::error!(%error, "a hold could not be opened");
                Err(ApproverError::Store(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
