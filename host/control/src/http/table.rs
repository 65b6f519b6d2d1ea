//! The table of routes: each with the Cedar action that it needs and what that is asked on.

use std::pin::Pin;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use pipeline::Action;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, Ref, RefOr, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;
use weir_client::{BundleProblem, ErrorBody};

use super::gate::{Ask, Gate, gate};
use super::{
    BEARER, approvals, audit, bundles, deliveries, packages, plugins, public, sessions, ssh,
    ssh_hosts, ssh_keys, ssh_revocations, ssh_tokens, targets, watch,
};
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Subject;

/// The largest body of a call that only carries a few words.
const SMALL: usize = 64 * 1024;
/// A bundle's JSON may be this much larger than its files: escaping.
const BUNDLE_BODY: usize = 16 * 1024 * 1024;
/// A plugin in base64. `Limits::plugin_bytes` bounds the component itself.
const PLUGIN_BODY: usize = 128 * 1024 * 1024;
/// How long most calls may take.
const QUICK: Duration = Duration::from_secs(30);
/// Compiling a component, or validating a large bundle with its tests.
const LONG: Duration = Duration::from_secs(300);

/// Every route of the API. This is the only place where routes are registered.
pub(super) fn table() -> Vec<Route> {
    use Action::{
        ApprovalRead, ApprovalVote, AuditRead, BundleActivate, BundleRead, BundleUpload,
        CertificateIssue, CredentialRevoke, DeliveryRead, EvidenceExport, HostKeyApprove,
        KeyRegister, PluginRead, PluginRemove, PluginUpload, RecordErase, SessionObserve,
        SessionTerminate, SessionWatch, TargetRead,
    };
    vec![
        Route::public("tells that the process runs", routes!(public::healthz)),
        Route::public("tells if calls can be served", routes!(public::readyz)),
        Route::public("the same for everybody", routes!(public::openapi_json)),
        Route::public("the same for every number", routes!(public::approval)),
        Route::new(BundleUpload, any(bundles::any), routes!(bundles::upload))
            .large(BUNDLE_BODY, LONG),
        Route::new(BundleUpload, any(bundles::any), routes!(bundles::validate))
            .large(BUNDLE_BODY, LONG),
        Route::new(BundleRead, any(bundles::any), routes!(bundles::list)),
        Route::new(
            BundleRead,
            one(bundles::named, bundles::unknown),
            routes!(bundles::one),
        ),
        Route::new(
            BundleRead,
            one(bundles::named, bundles::unknown),
            routes!(bundles::files),
        ),
        Route::new(
            BundleRead,
            one(bundles::named, bundles::unknown),
            routes!(bundles::diff),
        ),
        Route::new(
            BundleActivate,
            one(bundles::named, bundles::unknown),
            routes!(bundles::activate),
        )
        .taking(LONG),
        Route::new(
            BundleActivate,
            one(bundles::before, bundles::unknown),
            routes!(bundles::rollback),
        )
        .taking(LONG),
        Route::new(PluginRead, any(plugins::all), routes!(plugins::list)),
        Route::new(PluginRead, any(plugins::named), routes!(plugins::one)),
        Route::new(PluginUpload, any(plugins::named), routes!(plugins::upload))
            .large(PLUGIN_BODY, LONG),
        Route::new(PluginRemove, any(plugins::named), routes!(plugins::remove)),
        Route::new(PluginUpload, any(plugins::named), routes!(plugins::confirm)).taking(LONG),
        Route::new(TargetRead, any(targets::all), routes!(targets::list)),
        Route::new(
            TargetRead,
            one(targets::named, targets::unknown),
            routes!(targets::one),
        ),
        Route::new(
            ApprovalRead,
            any(approvals::rules),
            routes!(approvals::list),
        ),
        Route::new(
            ApprovalRead,
            one(approvals::named, approvals::unknown),
            routes!(approvals::one),
        ),
        Route::new(
            ApprovalVote,
            one(approvals::named, approvals::unknown),
            routes!(approvals::approve),
        ),
        Route::new(
            ApprovalVote,
            one(approvals::named, approvals::unknown),
            routes!(approvals::deny),
        ),
        Route::new(SessionObserve, any(sessions::any), routes!(sessions::list)),
        Route::new(
            SessionObserve,
            one(sessions::named, sessions::unknown),
            routes!(sessions::one),
        ),
        Route::new(
            SessionTerminate,
            one(sessions::named, sessions::unknown),
            routes!(sessions::kill),
        ),
        Route::new(
            SessionWatch,
            one(watch::named, sessions::unknown),
            routes!(watch::watch),
        ),
        Route::new(
            RecordErase,
            any(sessions::recorded),
            routes!(sessions::erase),
        )
        .taking(LONG),
        Route::new(AuditRead, any(audit::any), routes!(audit::actions)),
        Route::new(EvidenceExport, any(packages::any), routes!(packages::make)).taking(LONG),
        Route::new(
            DeliveryRead,
            any(deliveries::any),
            routes!(deliveries::list),
        ),
        Route::new(CertificateIssue, any(ssh::any), routes!(ssh::issue)),
        // It is worth what a certificate is.
        Route::new(
            CertificateIssue,
            any(ssh::any),
            routes!(ssh_tokens::short_token),
        ),
        // Who may get none any more still sees theirs, and takes them back.
        Route::own(CertificateIssue, any(ssh::any), routes!(ssh_tokens::own)),
        Route::own(CertificateIssue, any(ssh::any), routes!(ssh_tokens::remove)),
        Route::new(CredentialRevoke, any(ssh::any), routes!(ssh_tokens::all)),
        Route::new(CredentialRevoke, any(ssh::any), routes!(ssh_tokens::revoke)),
        Route::new(
            CredentialRevoke,
            any(ssh::any),
            routes!(ssh_revocations::revoke),
        ),
        Route::new(
            CredentialRevoke,
            any(ssh::any),
            routes!(ssh_revocations::list),
        ),
        Route::new(KeyRegister, any(ssh::any), routes!(ssh_keys::challenge)),
        Route::new(KeyRegister, any(ssh::any), routes!(ssh_keys::register)),
        // Who may register none any more still sees theirs, and takes them back.
        Route::own(KeyRegister, any(ssh::any), routes!(ssh_keys::own)),
        Route::own(KeyRegister, any(ssh::any), routes!(ssh_keys::remove)),
        Route::new(CredentialRevoke, any(ssh::any), routes!(ssh_keys::all)),
        Route::new(HostKeyApprove, any(targets::all), routes!(ssh_hosts::list)),
        Route::new(
            HostKeyApprove,
            one(targets::named, targets::unknown),
            routes!(ssh_hosts::approve),
        ),
        Route::new(
            HostKeyApprove,
            one(targets::named, targets::unknown),
            routes!(ssh_hosts::reject),
        ),
        // Whoever may see the targets may see by what they and Weir are known.
        Route::new(TargetRead, any(targets::all), routes!(ssh::keys)),
        // Whoever may have a certificate may know where it leads to.
        Route::new(CertificateIssue, any(ssh::any), routes!(ssh::hosts)),
    ]
}

pub(super) type Found = Pin<Box<dyn Future<Output = Result<Vec<Subject>, ApiError>> + Send>>;

/// What a route's action is asked on. The call goes on if it is permitted on one of them at least,
/// and the handler is told on which.
pub(super) type Find = fn(Ask) -> Found;

/// How the subjects of a route are found.
#[derive(Clone, Copy)]
pub(super) struct Subjects {
    pub(super) of: Find,
    /// For routes about one thing: what stands for any thing of its kind. Only whoever is permitted
    /// the action on this is told if a thing is there.
    pub(super) in_general: Option<Find>,
}

/// A route about no thing in particular.
fn any(of: Find) -> Subjects {
    Subjects {
        of,
        in_general: None,
    }
}

/// A route about the thing that its path names.
fn one(of: Find, in_general: Find) -> Subjects {
    Subjects {
        of,
        in_general: Some(in_general),
    }
}

#[derive(Clone, Copy)]
enum Exposure {
    /// Anybody may call it, for this reason.
    Public(&'static str),
    Guarded(Action, Subjects),
    /// Everybody whose token is valid, and not from before a revocation of theirs, may call it: it reaches nothing but what is their own, and takes it back at most.
    /// The action is its name in the record; policy is not asked.
    Own(Action, Subjects),
}

/// One route. It cannot be made without an action, but by saying why it is public. Without policy being asked there
/// are, beside those, only the few about one's own.
pub(super) struct Route {
    exposure: Exposure,
    routes: UtoipaMethodRouter<Shared>,
    body: usize,
    time: Duration,
}

impl Route {
    fn new(action: Action, subjects: Subjects, routes: UtoipaMethodRouter<Shared>) -> Self {
        Self {
            exposure: Exposure::Guarded(action, subjects),
            routes,
            body: SMALL,
            time: QUICK,
        }
    }

    fn own(action: Action, subjects: Subjects, routes: UtoipaMethodRouter<Shared>) -> Self {
        Self {
            exposure: Exposure::Own(action, subjects),
            ..Self::new(action, subjects, routes)
        }
    }

    fn public(why: &'static str, routes: UtoipaMethodRouter<Shared>) -> Self {
        Self {
            exposure: Exposure::Public(why),
            routes,
            body: 0,
            time: QUICK,
        }
    }

    fn taking(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    fn large(mut self, body: usize, time: Duration) -> Self {
        (self.body, self.time) = (body, time);
        self
    }

    /// With its gate in front.
    pub(super) fn gated(self, shared: &Shared) -> UtoipaMethodRouter<Shared> {
        let (schemas, paths, router) = self.routes;
        let mut router = router.route_layer(DefaultBodyLimit::max(self.body));
        let guarded = match self.exposure {
            Exposure::Public(_) => None,
            Exposure::Guarded(action, subjects) => Some((action, subjects, false)),
            Exposure::Own(action, subjects) => Some((action, subjects, true)),
        };
        if let Some((action, subjects, own)) = guarded {
            let state = Gate {
                shared: shared.clone(),
                action,
                subjects,
                own,
                time: self.time,
                large: self.body > SMALL,
            };
            router = router.route_layer(middleware::from_fn_with_state(state, gate));
        }
        (schemas, paths, router)
    }

    /// With its action, its security and its common errors in the description.
    pub(super) fn described(self) -> UtoipaMethodRouter<Shared> {
        let (mut schemas, mut paths, router) = self.routes;
        for item in paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                name_uniquely(operation);
                describe_answers(operation);
                match self.exposure {
                    Exposure::Public(why) => describe_public(operation, why),
                    Exposure::Guarded(action, _) => describe_guarded(operation, CEDAR, action),
                    Exposure::Own(action, _) => describe_guarded(operation, OWN, action),
                }
            }
        }
        schemas.push((ErrorBody::name().into(), ErrorBody::schema()));
        schemas.push((BundleProblem::name().into(), BundleProblem::schema()));
        (schemas, paths, router)
    }
}

/// Handlers of different modules share their names; in the description each is unique.
fn name_uniquely(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{id}"));
    }
}

/// OpenAPI wants words for every answer.
fn describe_answers(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if response.description.is_empty() {
            let text = match status.as_str() {
                "200" => "Done.",
                "202" => "It waits.",
                "201" => "It was made.",
                "404" => "There is none of this name.",
                "409" => "It does not fit the present state.",
                "413" => "It is too large.",
                "422" => "It is not accepted.",
                _ => "It failed.",
            };
            text.clone_into(&mut response.description);
        }
    }
}

fn describe_public(operation: &mut Operation, why: &str) {
    let extensions = ExtensionsBuilder::new().add("x-public", why).build();
    operation
        .extensions
        .get_or_insert_default()
        .merge(extensions);
    operation.security = Some(Vec::new());
}

/// Which action policy is asked about.
const CEDAR: &str = "x-cedar-action";
/// Policy is not asked: it is about the caller's own. What it is called in the record.
const OWN: &str = "x-own";

fn describe_guarded(operation: &mut Operation, says: &str, action: Action) {
    let extensions = ExtensionsBuilder::new().add(says, action.as_str()).build();
    operation
        .extensions
        .get_or_insert_default()
        .merge(extensions);
    let none: [&str; 0] = [];
    operation.security = Some(vec![SecurityRequirement::new(BEARER, none)]);
    for (status, text) in [
        ("400", "The request is malformed."),
        ("401", "No valid token."),
        ("403", "Policy does not permit it."),
        ("429", "Too many calls."),
        (
            "503",
            "It cannot be done, or not be recorded, at the moment.",
        ),
    ] {
        let error = RefOr::T(error_response(text));
        operation
            .responses
            .responses
            .entry(status.into())
            .or_insert(error);
    }
}

fn error_response(text: &str) -> Response {
    let body = Ref::from_schema_name(ErrorBody::name());
    ResponseBuilder::new()
        .description(text)
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(body)).build(),
        )
        .build()
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub method: &'static str,
    /// With `{names}` for its variable parts.
    pub path: String,
    /// None: public.
    pub action: Option<Action>,
    /// Policy is not asked: it is about the caller's own.
    pub own: bool,
}

/// The table as data, for documents and tests.
pub fn endpoints() -> Vec<Endpoint> {
    let mut out = Vec::new();
    for route in table() {
        let action = match route.exposure {
            Exposure::Public(_) => None,
            Exposure::Guarded(action, _) | Exposure::Own(action, _) => Some(action),
        };
        let own = matches!(route.exposure, Exposure::Own(..));
        let (_, mut paths, _) = route.routes;
        for (path, item) in &mut paths.paths {
            for (method, _) in operations(item) {
                out.push(Endpoint {
                    method: name(&method),
                    path: path.clone(),
                    action,
                    own,
                });
            }
        }
    }
    out
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        ..
    } = item;
    [
        (HttpMethod::Get, get),
        (HttpMethod::Put, put),
        (HttpMethod::Post, post),
        (HttpMethod::Delete, delete),
        (HttpMethod::Options, options),
        (HttpMethod::Head, head),
        (HttpMethod::Patch, patch),
        (HttpMethod::Trace, trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
    .collect()
}

fn name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Put => "PUT",
        HttpMethod::Post => "POST",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Head => "HEAD",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Trace => "TRACE",
    }
}
