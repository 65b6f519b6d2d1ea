//! Packages of evidence. That one was asked for is on record before it is made, and that it was made, with
//! the hash of its manifest, before a byte of it is sent.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as Answer;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_client::{PACKAGE_HEADER, PackageRequest, Timestamp};

use super::extract::Body;
use super::gate::Ask;
use super::pieces::Pieces;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, only_people};
use crate::places::Place;
use crate::ports::{MadePackage, PackageOrder};

/// What it is called on record that a package is handed out.
const EXPORTED: &str = "evidence:exported";
/// Packages that one principal has made, or is sent, at once.
const OF_ONE: usize = 1;
/// Targets that one package can be asked for, and the longest name of one.
const MAX_TARGETS: usize = 100;
const MAX_TARGET: usize = 200;
/// How much is sent at once, and how many such pieces wait.
const PIECE: u64 = 64 << 10;
const PIECES: usize = 2;
/// How long a piece may wait to be taken, and all of them.
const STALLED: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// When a place may be free again, in seconds.
const RETRY_AFTER: u32 = 60;
const ZIP: HeaderValue = HeaderValue::from_static("application/zip");

/// A package has the entries of every target in its logs.
pub(super) fn any(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

/// Makes a package of evidence about a window of time and sends it: a zip that `weir verify` verifies with
/// nothing but a key. The header `weir-package` has the SHA-256 of its manifest, which is on record by then.
#[utoipa::path(
    post, path = "/v1/packages", tag = "evidence", request_body = PackageRequest,
    responses(
        (status = 200, body = String, content_type = "application/zip", description = "The package."),
        (status = 409, body = weir_client::ErrorBody, description = "There is nothing of this window."),
        (status = 413, body = weir_client::ErrorBody, description = "It would be too large."),
        (status = 504, body = weir_client::ErrorBody, description = "It took too long."),
        (status = 507, body = weir_client::ErrorBody, description = "Weir's disk has no room for it beside the record."),
    )
)]
pub(super) async fn make(
    State(shared): State<Shared>,
    permit: Permit,
    Body(asked): Body<PackageRequest>,
) -> Result<Response, ApiError> {
    let now = Timestamp::from(shared.clock.now());
    let order = order(&asked, now)?;
    let resource = format!("Package::\"{}/{}\"", order.from, order.to);
    if let Err(error) = only_people(&permit.principal, "take packages of evidence") {
        return Err(permit.refuse(resource, error).await);
    }
    let places = match places(&permit) {
        Ok(places) => places,
        Err(error) => return Err(permit.refuse(resource, error).await),
    };
    let detail = serde_json::to_string(&PackageRequest {
        to: Some(order.to),
        ..asked
    })
    .map_err(|_| ApiError::invalid("the order cannot be recorded"))?;
    let (packages, stop) = (shared.packages.clone(), shared.watch_stop.clone());
    let (made, places) = permit
        .perform(resource, detail.clone(), move |_recorded| async move {
            // Whoever has gone by then gets nothing: the file goes, and the places are free.
            tokio::select! {
                made = packages.make(order) => Ok((made?, places)),
                () = stop.cancelled() => Err(ApiError::unavailable("Weir is stopping")),
            }
        })
        .await?;
    let resource = format!("Package::{:?}", made.digest);
    permit.tell(EXPORTED, resource, detail).await?;
    answer(&shared, made, places)
}

/// One of all places, and of those of its principal.
type Held = (OwnedSemaphorePermit, Place<Arc<str>>);

fn places(permit: &Permit) -> Result<Held, ApiError> {
    let shared = &permit.shared;
    let who = permit.principal.actor.subject.clone();
    let own = shared.packers.enter(who, OF_ONE).ok_or_else(|| {
        ApiError::too_many("a package is being made for you, or is on its way to you")
            .retry_after(RETRY_AFTER)
    })?;
    let place = shared.packing.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        ApiError::too_many("as many packages as may be are being made or sent")
            .retry_after(RETRY_AFTER)
    })?;
    Ok((place, own))
}

fn order(asked: &PackageRequest, now: Timestamp) -> Result<PackageOrder, ApiError> {
    // What is still to come would be missing from it.
    let to = asked.to.map_or(now, |to| to.min(now));
    if asked.from >= to {
        return Err(ApiError::invalid("from must be before to, and before now"));
    }
    let fits = |name: &String| (1..=MAX_TARGET).contains(&name.len());
    if asked.targets.len() > MAX_TARGETS || !asked.targets.iter().all(fits) {
        let text =
            format!("targets must be at most {MAX_TARGETS}, with names of 1 to {MAX_TARGET} bytes");
        return Err(ApiError::invalid(text));
    }
    Ok(PackageOrder {
        from: asked.from,
        to,
        targets: asked.targets.iter().cloned().collect(),
        sample: asked.sample,
        names: asked.names,
    })
}

fn answer(shared: &Shared, made: MadePackage, places: Held) -> Result<Response, ApiError> {
    let MadePackage {
        file,
        bytes,
        digest,
    } = made;
    let digest = HeaderValue::try_from(digest)
        .map_err(|_| ApiError::internal("the package has no hash that can be sent"))?;
    let (send, pieces) = mpsc::channel(PIECES);
    let stop = shared.watch_stop.clone();
    // Ends by itself in bounded time, when nobody reads any more, and at a shutdown.
    shared.tasks.spawn(async move {
        let _places = places;
        // Who gets less than the length that was said knows that it is not all.
        if timeout(LONGEST, pass_on(file, send, stop)).await != Ok(true) {
            tracing::info!("a package of evidence was not sent to its end");
        }
    });
    let mut response = Answer::new(Pieces(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, ZIP);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(PACKAGE_HEADER, digest);
    Ok(response)
}

/// True when all was taken.
async fn pass_on(mut file: File, send: mpsc::Sender<Bytes>, stop: CancellationToken) -> bool {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            let read = (&file).take(PIECE).read_to_end(&mut piece);
            read.map(|_| (piece, file))
        });
        let piece = match read.await {
            Ok(Ok((piece, again))) => {
                file = again;
                piece
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a package of evidence cannot be read");
                return false;
            }
            Err(_) => return false,
        };
        if piece.is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            sent = timeout(STALLED, send.send(piece.into())) => match sent {
                Ok(Ok(())) => {}
                _ => return false,
            },
        }
    }
}
