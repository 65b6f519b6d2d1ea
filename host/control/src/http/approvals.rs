//! Approvals.

use axum::Json;
use axum::extract::{Path, State};
use pipeline::Resource;
use weir_client::{
    ApprovalDetail, ApprovalFilter, ApprovalSummary, DenyRequest, Page, Reason, Timestamp,
    VoteKind, VoteResult,
};

use super::extract::{Body, Params, canonical_id, cursor, page_size};
use super::gate::Ask;
use super::table::Found;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject};
use crate::store::{HoldQuery, HoldRow};

/// Approvals in general, those of each rule, and the caller's own.
pub(super) fn rules(ask: Ask) -> Found {
    Box::pin(async move {
        let own = [ask.principal.actor.subject.to_string()];
        let rules = ask.shared.engine.active().summary.approval_rules;
        let mut subjects = vec![Subject::system()];
        for rule in &rules {
            subjects.extend([subject(rule, &[]), subject(rule, &own)]);
        }
        Ok(subjects)
    })
}

/// Every rule of the approval that the path names.
pub(super) fn named(ask: Ask) -> Found {
    Box::pin(async move {
        let row = find(&ask.shared, ask.param("id")).await?;
        Ok(subjects(&row))
    })
}

/// Every rule, for a request that is nobody's.
pub(super) fn unknown(ask: Ask) -> Found {
    Box::pin(async move {
        let rules = ask.shared.engine.active().summary.approval_rules;
        let nobody = [String::new()];
        Ok(rules.iter().map(|rule| subject(rule, &nobody)).collect())
    })
}

async fn find(shared: &Shared, id: &str) -> Result<HoldRow, ApiError> {
    let row = match canonical_id(id) {
        Some(id) => shared.store.hold(&id).await?,
        None => None,
    };
    row.ok_or_else(|| ApiError::not_found("there is no such approval"))
}

fn subject(rule: &str, requesters: &[String]) -> Subject {
    Resource::ApprovalRule {
        rule: rule.into(),
        requesters: requesters.iter().map(|r| r.as_str().into()).collect(),
    }
    .into()
}

fn subjects(row: &HoldRow) -> Vec<Subject> {
    let routes = &row.record.document.routes;
    routes
        .iter()
        .map(|route| subject(&route.rule, &row.record.involved))
        .collect()
}

fn now(shared: &Shared) -> u64 {
    Timestamp::from(shared.clock.now()).millis()
}

/// Approvals, newest first.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "approvals", params(ApprovalFilter),
    responses((status = 200, body = Page<ApprovalSummary>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
    Params(filter): Params<ApprovalFilter>,
) -> Result<Json<Page<ApprovalSummary>>, ApiError> {
    let query = HoldQuery {
        state: filter.state.map(convert::hold_state),
        principal: filter.principal,
        target: filter.target,
        before: cursor(filter.after.as_deref())?,
        limit: page_size(filter.limit)?,
    };
    let limit = query.limit as usize;
    let rows = shared.store.holds(query).await?;
    let next = (rows.len() == limit)
        .then(|| rows.last().map(|row| row.record.id.clone()))
        .flatten();
    let now = now(&shared);
    let items = rows
        .iter()
        .filter(|row| subjects(row).iter().any(|s| permit.may(s)))
        .map(|row| convert::approval_summary(row, shared.desk.url(&row.record.id), now))
        // One that expired a moment ago is not open, though nobody has written that down yet.
        .filter(|item| filter.state.is_none_or(|state| state == item.state))
        .collect();
    Ok(Json(Page { items, next }))
}

/// One approval, with everything that a person needs to decide it.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", tag = "approvals",
    params(("id" = String, Path)),
    responses((status = 200, body = ApprovalDetail), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    permit: Permit,
    Path(id): Path<String>,
) -> Result<Json<ApprovalDetail>, ApiError> {
    let row = find(&shared, &id).await?;
    let url = shared.desk.url(&row.record.id);
    Ok(Json(convert::approval_detail(
        row,
        url,
        now(&shared),
        &permit.principal,
    )))
}

/// Approves, as far as the caller may.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/approve", tag = "approvals",
    params(("id" = String, Path)), request_body = Reason,
    responses(
        (status = 200, body = VoteResult),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody, description = "It is not open any more."),
    )
)]
pub(super) async fn approve(
    State(shared): State<Shared>,
    permit: Permit,
    Path(id): Path<String>,
    Body(body): Body<Reason>,
) -> Result<Json<VoteResult>, ApiError> {
    Desk::check_reason(&body.reason, false)?;
    vote(shared, permit, &id, VoteKind::Approve, body.reason).await
}

/// Denies. That is final.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/deny", tag = "approvals",
    params(("id" = String, Path)), request_body = DenyRequest,
    responses(
        (status = 200, body = VoteResult),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody, description = "It is not open any more."),
    )
)]
pub(super) async fn deny(
    State(shared): State<Shared>,
    permit: Permit,
    Path(id): Path<String>,
    Body(body): Body<DenyRequest>,
) -> Result<Json<VoteResult>, ApiError> {
    Desk::check_reason(&body.reason, true)?;
    vote(shared, permit, &id, VoteKind::Deny, body.reason).await
}

async fn vote(
    shared: Shared,
    permit: Permit,
    id: &str,
    kind: VoteKind,
    reason: String,
) -> Result<Json<VoteResult>, ApiError> {
    let row = find(&shared, id).await?;
    let resource = format!("Hold::{:?}", row.record.id);
    let rules = match shared
        .desk
        .may_vote(&row, &permit.principal, &permit.rules())
    {
        Ok(rules) => rules,
        Err(error) => return Err(permit.refuse(resource, error).await),
    };
    let verb = match kind {
        VoteKind::Approve => "approve",
        VoteKind::Deny => "deny",
    };
    let detail = format!("{verb} under {}: {reason}", rules.join(", "));
    let hold = row.record.id;
    let result = permit
        .perform(resource, detail, move |recorded| async move {
            shared.desk.vote(&recorded, hold, rules, kind, reason).await
        })
        .await?;
    Ok(Json(result))
}
