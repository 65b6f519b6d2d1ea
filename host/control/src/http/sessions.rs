//! Sessions.

use axum::Json;
use axum::extract::{Path, State};
use pipeline::{Resource, SessionId};
use weir_client::{EraseRequest, KillRequest, Page, SessionErasure, SessionFilter, SessionInfo};

use super::extract::{Body, Params, canonical_id, cursor, page_size};
use super::gate::Ask;
use super::table::Found;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, involved_in, name_of, only_people};
use crate::sessions::subject;
use crate::store::{SessionQuery, SessionRow};

/// Sessions in general, and the caller's own.
pub(super) fn any(ask: Ask) -> Found {
    let own = Resource::Session {
        id: SessionId(uuid::Uuid::nil()),
        owner: convert::owner(&ask.principal).into(),
    };
    Box::pin(async move { Ok(vec![Subject::system(), own.into()]) })
}

/// What was recorded, whichever session it is of.
pub(super) fn recorded(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

/// The session that the path names.
pub(super) fn named(ask: Ask) -> Found {
    Box::pin(async move {
        let row = find(&ask.shared, ask.param("id")).await?;
        Ok(vec![subject(&ask.shared.targets, &row)])
    })
}

/// A session that is nobody's.
pub(super) fn unknown(_: Ask) -> Found {
    let resource = Resource::Session {
        id: SessionId(uuid::Uuid::nil()),
        owner: "".into(),
    };
    Box::pin(async move { Ok(vec![resource.into()]) })
}

async fn find(shared: &Shared, id: &str) -> Result<SessionRow, ApiError> {
    let id: Option<SessionId> = canonical_id(id).and_then(|id| id.parse().ok());
    let row = match id {
        Some(id) => shared.sessions.one(id).await?,
        None => None,
    };
    row.ok_or_else(|| ApiError::not_found("there is no such session"))
}

/// Sessions that the caller may see, newest first.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", params(SessionFilter),
    responses((status = 200, body = Page<SessionInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
    Params(filter): Params<SessionFilter>,
) -> Result<Json<Page<SessionInfo>>, ApiError> {
    let query = SessionQuery {
        live: filter.live,
        before: cursor(filter.after.as_deref())?,
        limit: page_size(filter.limit)?,
    };
    let limit = query.limit as usize;
    let rows = shared.sessions.list(query).await?;
    let next = (rows.len() == limit)
        .then(|| rows.last().map(|row| row.id.clone()))
        .flatten();
    let items = rows
        .into_iter()
        .filter(|row| permit.may(&subject(&shared.targets, row)))
        .map(|row| {
            let live = shared.sessions.is_live(&row.id);
            convert::session(row, live)
        })
        .collect();
    Ok(Json(Page { items, next }))
}

/// One session.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path)),
    responses((status = 200, body = SessionInfo), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    _: Permit,
    Path(id): Path<String>,
) -> Result<Json<SessionInfo>, ApiError> {
    let row = find(&shared, &id).await?;
    let live = shared.sessions.is_live(&row.id);
    Ok(Json(convert::session(row, live)))
}

/// Ends a live session.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/kill", tag = "sessions",
    params(("id" = String, Path)), request_body = KillRequest,
    responses(
        (status = 200, body = SessionInfo),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody, description = "It has ended already."),
    )
)]
pub(super) async fn kill(
    State(shared): State<Shared>,
    permit: Permit,
    Path(id): Path<String>,
    Body(body): Body<KillRequest>,
) -> Result<Json<SessionInfo>, ApiError> {
    Desk::check_reason(&body.reason, true)?;
    let row = find(&shared, &id).await?;
    let resource = name_of(&subject(&shared.targets, &row));
    let reason = body.reason;
    let row = permit
        .perform(resource, reason.clone(), move |recorded| async move {
            let id = row
                .id
                .parse()
                .map_err(|_| ApiError::not_found("there is no such session"))?;
            let killed = shared.sessions.kill(&recorded, id, reason);
            killed.ok_or_else(|| ApiError::conflict("the session has ended already"))
        })
        .await?;
    Ok(Json(convert::session(row, true)))
}

/// Erases what was recorded of a session: its key is destroyed, and its statements are forgotten. That it was
/// is on record for ever.
#[utoipa::path(
    post, path = "/v1/erasures", tag = "sessions", request_body = EraseRequest,
    responses(
        (status = 200, body = SessionErasure),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody, description = "It runs, or was erased already."),
        (status = 429, body = weir_client::ErrorBody, description = "Others are being erased."),
    )
)]
pub(super) async fn erase(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<EraseRequest>,
) -> Result<Json<SessionErasure>, ApiError> {
    Desk::check_reason(&body.reason, true)?;
    // Not only those that this Weir remembers: recordings are kept for longer.
    let session: uuid::Uuid = canonical_id(&body.session)
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| ApiError::invalid("this is not the id of a session"))?;
    let resource = format!("Session::\"{session}\"");
    if let Err(error) = only_people(&permit.principal, "erase recordings") {
        return Err(permit.refuse(resource, error).await);
    }
    let row = shared.sessions.one(SessionId(session)).await?;
    let is_known = row.is_some();
    if row.is_some_and(|row| involved_in(&[row.owner], &permit.principal)) {
        let text =
            "nobody has the recording of their own session erased: somebody else must ask for it";
        return Err(permit.refuse(resource, ApiError::forbidden(text)).await);
    }
    let reason = body.reason;
    let erased = permit
        .perform(resource, reason.clone(), move |recorded| async move {
            let who = recorded.by().clone();
            let erased = shared.recordings.erase(session, who, reason, is_known);
            erased.await
        })
        .await?;
    Ok(Json(erased))
}
