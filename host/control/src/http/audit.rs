//! Searching the record. Each search is itself on record, with what was searched for, before it is done.

use axum::Json;
use axum::extract::State;
use pipeline::SessionId;
use weir_client::{AuditFilter, AuditPage, Timestamp};

use super::extract::{Params, canonical_id, page_size};
use super::gate::Ask;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, name_of};
use crate::index::{KINDS, Query, parse_cursor, words};
use crate::store::StoreError;

/// The longest value of a filter.
const MAX_VALUE: usize = 400;
/// Words of one search.
const MAX_WORDS: usize = 16;

pub(super) fn any(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

/// Actions, sessions and operators' acts that are on record, newest first. Statements come without their
/// constants; `weir replay` has all of them.
#[utoipa::path(
    get, path = "/v1/audit/actions", tag = "audit", params(AuditFilter),
    responses(
        (status = 200, body = AuditPage),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir keeps no index."),
        (status = 504, body = weir_client::ErrorBody, description = "The search took too long."),
    )
)]
pub(super) async fn actions(
    State(shared): State<Shared>,
    permit: Permit,
    Params(filter): Params<AuditFilter>,
) -> Result<Json<AuditPage>, ApiError> {
    let Some(index) = shared.index.clone() else {
        return Err(
            ApiError::not_found("this Weir keeps no index of the record")
                .hint("An operator can turn it on: audit.index in its configuration."),
        );
    };
    let query = query(&filter)?;
    let detail = serde_json::to_string(&filter)
        .map_err(|_| ApiError::invalid("the filter cannot be recorded"))?;
    let resource = name_of(&Subject::system());
    let found = permit
        .perform(resource, detail, move |_recorded| async move {
            index.search(query).await.map_err(explained)
        })
        .await?;
    Ok(Json(AuditPage {
        items: found.items,
        next: found.next,
        indexed_from: found.first.map(Timestamp::from_millis),
        indexed_until: found.last.map(Timestamp::from_millis),
        rebuilding: found.is_behind,
    }))
}

fn explained(error: StoreError) -> ApiError {
    match error {
        StoreError::Timeout => ApiError::timeout("the search took too long")
            .hint("Narrow it: by time (since, until), session, user or resource."),
        StoreError::Busy(_) => ApiError::unavailable("too many searches at once").retry_after(1),
        other => other.into(),
    }
}

fn query(filter: &AuditFilter) -> Result<Query, ApiError> {
    let f = filter.clone();
    let values = [
        ("user", &f.user),
        ("target", &f.target),
        ("database", &f.database),
        ("action", &f.action),
        ("resource", &f.resource),
        ("decision", &f.decision),
        ("outcome", &f.outcome),
        ("label", &f.label),
        ("policy", &f.policy),
        ("plugin", &f.plugin),
        ("approval", &f.approval),
        ("text", &f.text),
    ];
    for (name, value) in values {
        let length = value.as_ref().map_or(1, String::len);
        if length == 0 || length > MAX_VALUE {
            let text = format!("{name} must have 1 to {MAX_VALUE} bytes");
            return Err(ApiError::invalid(text));
        }
    }
    if let (Some(since), Some(until)) = (f.since, f.until)
        && since > until
    {
        return Err(ApiError::invalid("since must not be after until"));
    }
    Ok(Query {
        since: f.since.map(Timestamp::millis),
        until: f.until.map(Timestamp::millis),
        user: f.user,
        target: f.target,
        database: f.database,
        session: f.session.as_deref().map(session).transpose()?,
        kind: f.kind.as_deref().map(kind).transpose()?,
        action: f.action,
        resource: f.resource,
        decision: f.decision,
        outcome: f.outcome,
        risk: match f.risk {
            Some(101..) => return Err(ApiError::invalid("risk must be 0 to 100")),
            risk => risk,
        },
        label: f.label,
        policy: f.policy,
        plugin: f.plugin,
        approval: f.approval,
        words: f.text.as_deref().map_or(Ok(Vec::new()), text)?,
        limit: page_size(f.limit)?,
        before: match f.after.as_deref() {
            None => None,
            Some(after) => match parse_cursor(after) {
                None => return Err(ApiError::invalid("after is not a cursor")),
                cursor => cursor,
            },
        },
    })
}

fn session(id: &str) -> Result<[u8; 16], ApiError> {
    let id = canonical_id(id).and_then(|id| id.parse::<SessionId>().ok());
    id.map(|id| *id.0.as_bytes())
        .ok_or_else(|| ApiError::invalid("session is not the id of a session"))
}

fn kind(name: &str) -> Result<u8, ApiError> {
    let place = KINDS.iter().position(|kind| *kind == name);
    place
        .and_then(|place| u8::try_from(place).ok())
        .ok_or_else(|| {
            let text = format!("kind must be one of {}", KINDS.join(", "));
            ApiError::invalid(text)
        })
}

fn text(text: &str) -> Result<Vec<String>, ApiError> {
    let words = words(text);
    match words.len() {
        1..=MAX_WORDS => Ok(words),
        _ => Err(ApiError::invalid(format!(
            "text must have 1 to {MAX_WORDS} words"
        ))),
    }
}
