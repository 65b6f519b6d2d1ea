//! The gate in front of every route that is not public: authenticate, bound, find what the call is
//! about, ask Cedar, and only then let the handler read the body. Refusals are recorded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pipeline::{Action, Principal};

use super::table::Subjects;
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, event, name_of, permitted, record};

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
    pub(super) time: Duration,
    /// Its body may be large.
    pub(super) large: bool,
}

/// What a route's subjects are found by.
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

pub(super) async fn gate(
    State(gate): State<Gate>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let request = match admit(&gate, params, request).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
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

/// The request with its permit.
async fn admit(
    gate: &Gate,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    mut request: Request,
) -> Result<Request, ApiError> {
    let shared = &gate.shared;
    let path = convert::prefix(request.uri().path(), MAX_RECORDED_PATH);
    let call: Arc<str> = format!("{} {path}", request.method()).into();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let Some(source) = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical()) else {
        return Err(ApiError::internal("the caller's address is not known"));
    };

    let token = bearer(&request);
    let principal = match authenticate(shared, token, source).await {
        Ok(principal) => principal,
        Err(error) => return Err(refuse_stranger(gate, &call, source, error).await),
    };
    let refused = |resource: String, error: ApiError| {
        let (principal, detail) = (principal.clone(), format!("{call} from {source}"));
        async move {
            let result = Err(error.message.clone());
            let event = event(
                shared,
                Some(principal),
                gate.action,
                resource,
                &detail,
                result,
            );
            match record(shared, event).await {
                Ok(()) => error,
                Err(unrecorded) => unrecorded,
            }
        }
    };
    if !shared.callers.admit(principal.actor.subject.clone()) {
        let error = ApiError::too_many("too many calls in a minute").retry_after(60);
        // One record for many: a flood of calls must not become a flood of records.
        if shared.floods.admit(principal.actor.subject.clone()) {
            return Err(refused(String::new(), error).await);
        }
        return Err(error);
    }
    let params = params.map_err(|_| ApiError::invalid("the path is not UTF-8"))?;
    let ask = Ask {
        shared: shared.clone(),
        principal: principal.clone(),
        params: params
            .iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    };
    let subjects = (gate.subjects)(ask).await?;
    let mut granted = Vec::new();
    let mut reason = None;
    for subject in &subjects {
        match permitted(shared, &principal, source, gate.action, subject) {
            Ok(()) => granted.push(subject.clone()),
            Err(why) => reason = Some(why),
        }
    }
    if granted.is_empty() {
        let why = reason.unwrap_or_else(|| "there is nothing to permit it on".into());
        let error =
            ApiError::forbidden(format!("{} is not permitted: {why}", gate.action.as_str()));
        return Err(refused(names(&subjects), error).await);
    }
    request.extensions_mut().insert(Permit {
        shared: shared.clone(),
        principal,
        source,
        action: gate.action,
        subjects: granted.into(),
        call,
    });
    Ok(request)
}

/// The names of the first few.
fn names(subjects: &[Subject]) -> String {
    let names: Vec<String> = subjects.iter().take(4).map(name_of).collect();
    names.join(", ")
}

/// The one bearer token of the request.
fn bearer(request: &Request) -> Result<String, ApiError> {
    let missing = || {
        ApiError::unauthorized("a bearer token is needed")
            .hint("Send `Authorization: Bearer <token>`; `weir login` gets a token.")
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

/// Who has an IPv6 address has 2^64 of them.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_counts_as_one() {
        for (source, counted_as) in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ] {
            let source: IpAddr = source.parse().unwrap();
            assert_eq!(network(source).to_string(), counted_as);
        }
    }
}
