//! One expected reply: what was sent, and what becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::Receipt;
use tokio::sync::oneshot;

use super::ends::{Done, cut_off};
use super::{Portal, Prepared, Run};
use crate::catalog::Rows;
use crate::refusal::Refused;
use crate::upstream::{Bounds, Collector, QueryError};

/// What a Describe asked about.
pub(crate) enum Described {
    Statement(Arc<Prepared>),
    Portal(Arc<Portal>),
    /// A name that is not known here; the server may know it from SQL.
    Unknown,
}

/// Changes of names that take effect with a message, and how they end if it fails.
#[derive(Default)]
pub(crate) struct Changes {
    pub(super) id: u64,
    pub(super) statements: Vec<Bytes>,
    pub(super) portals: Vec<Bytes>,
    /// What a failure, other than being skipped, does.
    pub(super) on_failure: OnFailure,
}

#[derive(Default, Clone, Copy)]
pub(super) enum OnFailure {
    #[default]
    Revert,
    Gone,
}

pub(super) enum Expect {
    Query(Box<Run>, Changes),
    Parse {
        changes: Changes,
        refused: Option<Refused>,
        /// It runs code, which was decided on.
        receipt: Option<Receipt>,
        /// That can show values that are hidden from the client.
        hides: bool,
    },
    /// A Close and a Parse of ours, which put a statement under its name again.
    Again {
        prepared: Arc<Prepared>,
        closed: bool,
        hides: bool,
    },
    Bind {
        changes: Changes,
        refused: Option<Refused>,
        /// Planning it may show values that are hidden from the client.
        hides: bool,
        /// The portal, if its execution is decided on already.
        granted: Option<Arc<Portal>>,
    },
    Describe {
        what: Described,
        /// ParameterDescription has come.
        parameters: bool,
        /// We asked, not the client.
        own: bool,
        /// The server may read the text again, which can show values that are hidden from the client.
        hides: bool,
    },
    Execute(Box<Run>, Changes),
    Close(Changes),
    Sync,
    Own(Box<OwnQuery>),
    /// The server is not asked: these bytes are the answer, at this place.
    Local(Bytes),
}

pub(super) struct OwnQuery {
    pub(super) collector: Collector,
    pub(super) bounds: Bounds,
    pub(super) answer: Option<oneshot::Sender<Result<Rows, QueryError>>>,
}

impl Expect {
    /// Can what the server says of it show values that are hidden from the client?
    pub(super) fn hides(&self) -> bool {
        match self {
            Self::Query(run, _) | Self::Execute(run, _) => run.is_masked(),
            Self::Parse { hides, .. }
            | Self::Again { hides, .. }
            | Self::Bind { hides, .. }
            | Self::Describe { hides, .. } => *hides,
            Self::Close(_) | Self::Sync | Self::Own(_) | Self::Local(_) => false,
        }
    }

    /// The session ends, and this was not answered to its end.
    pub(super) fn abandoned(self) -> Option<Done> {
        match self {
            // It failed; only the end of the answer is missing.
            Self::Query(run, _) | Self::Execute(run, _) if run.failed.is_some() => run.finish(true),
            Self::Query(run, _) | Self::Execute(run, _) => {
                let tags = run.tags;
                run.receipt.map(|receipt| cut_off(receipt, &tags))
            }
            Self::Parse { receipt, .. } => receipt.map(|receipt| cut_off(receipt, "")),
            Self::Bind {
                granted: Some(portal),
                ..
            } => {
                let bound = portal.granted.lock().take();
                bound.map(|bound| cut_off(bound.give_up(), ""))
            }
            _ => None,
        }
    }
}
