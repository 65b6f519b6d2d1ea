//! The gate in front of every route that is not public: authenticate, bound, find what the call is
//! about, ask Cedar, and only then let the handler read the body. Refusals are recorded.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pipeline::{Action, Principal};

use super::table::Subjects;
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, event, name_of, permitted, record};
use crate::limits::network;

/// The longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;
/// How long authenticating may take: keys of an issuer may have to be fetched.
const AUTHENTICATE: Duration = Duration::from_secs(15);
/// How much of a path goes into the record.
const MAX_RECORDED_PATH: usize = 300;

#[derive(Clone)]
pub(super) struct Gate {
    pub(super) shared: Shared,
    pub(super) action: Action,
    pub(super) subjects: Subjects,
    /// Policy is not asked: the handler reaches nothing but what is the caller's own.
    pub(super) own: bool,
    pub(super) time: Duration,
    /// Its body may be large.
    pub(super) large: bool,
}

/// What a route's subjects are found by.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) shared: Shared,
    pub(super) principal: Arc<Principal>,
    pub(super) params: BTreeMap<String, String>,
}

impl Ask {
    /// A variable part of the path; empty when the path has none of this name.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// Goes with the answer to a caller whose token is valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownCaller;

/// Who calls, and what.
struct Caller {
    principal: Arc<Principal>,
    source: IpAddr,
    /// Method and path, for the record.
    call: Arc<str>,
}

pub(super) async fn gate(
    State(gate): State<Gate>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let token = bearer(&request);
    let (source, call) = match origin(&request) {
        Ok(origin) => origin,
        Err(error) => return error.into_response(),
    };
    let caller = match identify(&gate, token, source, call).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let mut response = match admit(&gate, caller, params, request).await {
        Ok(request) => work(&gate, request, next).await,
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(KnownCaller);
    response
}

async fn work(gate: &Gate, request: Request, next: Next) -> Response {
    let large = gate
        .large
        .then(|| gate.shared.large.clone().try_acquire_owned());
    let Ok(_place) = large.transpose() else {
        return ApiError::unavailable("too many uploads at once")
            .retry_after(5)
            .into_response();
    };
    match tokio::time::timeout(gate.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timeout("the call took too long").into_response(),
    }
}

/// Where a call comes from, and its method and path.
fn origin(request: &Request) -> Result<(IpAddr, Arc<str>), ApiError> {
    let path = convert::prefix(request.uri().path(), MAX_RECORDED_PATH);
    let call = format!("{} {path}", request.method()).into();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| (peer.ip().to_canonical(), call))
        .ok_or_else(|| ApiError::internal("the caller's address is not known"))
}

async fn identify(
    gate: &Gate,
    token: Result<String, ApiError>,
    source: IpAddr,
    call: Arc<str>,
) -> Result<Caller, ApiError> {
    match authenticate(&gate.shared, token, source).await {
        Ok(principal) => Ok(Caller {
            principal,
            source,
            call,
        }),
        Err(error) => Err(refuse_stranger(gate, &call, source, error).await),
    }
}

/// The request with its permit.
async fn admit(
    gate: &Gate,
    caller: Caller,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    mut request: Request,
) -> Result<Request, ApiError> {
    let shared = &gate.shared;
    let subject = &caller.principal.actor.subject;
    if !shared.callers.admit(subject.clone()) {
        let error = ApiError::too_many("too many calls in a minute").retry_after(60);
        // One record for many: a flood of calls must not become a flood of records.
        if shared.floods.admit(subject.clone()) {
            return Err(refuse(gate, &caller, &[], error).await);
        }
        return Err(error);
    }
    let params = params.map_err(|_| ApiError::invalid("the path is not UTF-8"))?;
    let ask = Ask {
        shared: shared.clone(),
        principal: caller.principal.clone(),
        params: params
            .iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    };
    let found = (gate.subjects.of)(ask.clone()).await;
    if let Err(error) = &found
        && !matches!(error.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT)
    {
        return Err(error.clone());
    }
    let subjects = found.as_deref().unwrap_or_default();
    let (granted, reason) = match gate.own {
        // What was stolen is not to undo, or look at, what its person does after they have said so.
        true if is_revoked(gate, &caller) => {
            let text = "this token is older than the revocation of somebody in it; get a new one";
            return Err(refuse(gate, &caller, subjects, ApiError::forbidden(text)).await);
        }
        true => (subjects.to_vec(), None),
        false => ask_policy(gate, &caller, subjects),
    };
    if granted.is_empty() {
        let error = refusal(gate, &caller, ask, found.as_ref().err(), reason).await?;
        return Err(refuse(gate, &caller, subjects, error).await);
    }
    request.extensions_mut().insert(Permit {
        shared: shared.clone(),
        principal: caller.principal,
        source: caller.source,
        action: gate.action,
        subjects: granted.into(),
        call: caller.call,
    });
    Ok(request)
}

/// Was everything of the caller's revoked that is as old as the token?
fn is_revoked(gate: &Gate, caller: &Caller) -> bool {
    let now = gate.shared.clock.now();
    let authority = gate.shared.ssh.as_ref();
    authority.is_some_and(|authority| authority.is_revoked(&caller.principal, now))
}

/// Those of the subjects on which the action is permitted, and why not on the last of the others.
fn ask_policy(
    gate: &Gate,
    caller: &Caller,
    subjects: &[Subject],
) -> (Vec<Subject>, Option<String>) {
    let (mut granted, mut reason) = (Vec::new(), None);
    for subject in subjects {
        let (who, source) = (&caller.principal, caller.source);
        match permitted(&gate.shared, who, source, gate.action, subject) {
            Ok(()) => granted.push(subject.clone()),
            Err(why) => reason = Some(why),
        }
    }
    (granted, reason)
}

/// What a caller is told who may not pass. What is there and what is not is for those who may do
/// this in general; for others, both look the same.
async fn refusal(
    gate: &Gate,
    caller: &Caller,
    ask: Ask,
    absent: Option<&ApiError>,
    reason: Option<String>,
) -> Result<ApiError, ApiError> {
    let action = gate.action.as_str();
    let may_know = match gate.subjects.in_general {
        // The route is about nothing that has a name.
        None => true,
        Some(general) => !ask_policy(gate, caller, &general(ask).await?).0.is_empty(),
    };
    Ok(match (may_know, absent, reason) {
        (true, Some(absent), _) => absent.clone(),
        (true, None, Some(why)) => ApiError::forbidden(format!("{action} is not permitted: {why}")),
        _ => ApiError::forbidden(format!("{action} is not permitted on what the call names")),
    })
}

/// Records a refusal of somebody known, and gives it back.
async fn refuse(gate: &Gate, caller: &Caller, subjects: &[Subject], error: ApiError) -> ApiError {
    let event = event(
        &gate.shared,
        Some(caller.principal.clone()),
        gate.action,
        names(subjects),
        &format!("{} from {}", caller.call, caller.source),
        Err(error.message.clone()),
    );
    match record(&gate.shared, event).await {
        Ok(()) => error,
        Err(unrecorded) => unrecorded,
    }
}

/// The names of the first few.
fn names(subjects: &[Subject]) -> String {
    let names: Vec<String> = subjects.iter().take(4).map(name_of).collect();
    names.join(", ")
}

/// The one bearer token of the request.
fn bearer(request: &Request) -> Result<String, ApiError> {
    let missing = || {
        ApiError::unauthorized("a bearer token is needed").hint(
            "Send `Authorization: Bearer <token>`, with an access token of a configured issuer.",
        )
    };
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let value = headers.next().ok_or_else(missing)?;
    if headers.next().is_some() {
        return Err(ApiError::unauthorized("there are several tokens"));
    }
    let value = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(missing());
    }
    if token.len() > MAX_TOKEN {
        return Err(ApiError::unauthorized("the token is too long"));
    }
    Ok(token.to_owned())
}

async fn authenticate(
    shared: &Shared,
    token: Result<String, ApiError>,
    source: IpAddr,
) -> Result<Arc<Principal>, ApiError> {
    let token = token?;
    let authenticating = shared.authenticate.authenticate(&token, source);
    let principal = tokio::time::timeout(AUTHENTICATE, authenticating)
        .await
        .map_err(|_| ApiError::unavailable("the token cannot be checked at the moment"))??;
    if principal.expires_at <= shared.clock.now() {
        return Err(ApiError::unauthorized("the token has expired"));
    }
    Ok(principal)
}

/// Records a refusal of somebody unknown. Only so many get a record of their own; the next record
/// tells how many did not.
async fn refuse_stranger(gate: &Gate, call: &str, source: IpAddr, error: ApiError) -> ApiError {
    let shared = &gate.shared;
    if !shared.failures.admit(network(source)) || !shared.strangers.admit(()) {
        return ApiError::too_many("too many calls without a valid token").retry_after(60);
    }
    let mut detail = format!("{call} from {source}");
    let unrecorded = shared.failures.take_over() + shared.strangers.take_over();
    if unrecorded > 0 {
        detail.push_str(&format!("; {unrecorded} more before this one"));
    }
    let result = Err(error.message.clone());
    let event = event(shared, None, gate.action, String::new(), &detail, result);
    match record(shared, event).await {
        Ok(()) => error,
        Err(unrecorded) => unrecorded,
    }
}
