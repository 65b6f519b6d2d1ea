//! The queue of expected replies, and what each reply does to it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pipeline::Receipt;
use tokio::sync::oneshot;

use super::ends::Batch;
use super::expect::{Changes, Described, Expect, OnFailure, OwnQuery};
use super::names::Names;
use super::{Judged, Portal, Prepared, Run};
use crate::analysis::Over;
use crate::catalog::Rows;
use crate::refusal::Refused;
use crate::upstream::{Bounds, Collector, QueryError};
use crate::wire::MessageError;
use crate::wire::backend::TxStatus;

/// The upstream sent what nothing explains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the server answered with message {} where {expected} was expected", char::from(*tag))]
    Unexpected { tag: u8, expected: &'static str },
    #[error("the server carried out what was refused")]
    RanRefused,
    #[error("the server returned rows that no description explains")]
    RowsWithoutColumns,
    #[error("the server did something else than what was decided: {0}")]
    Command(String),
    #[error("the server began a COPY that the statement does not contain")]
    Copy,
    #[error("the server sent a broken message: {0}")]
    Message(#[from] MessageError),
}

/// Names that SQL has dropped since a text was last looked at: as many as there are statements in one.
const MAX_DROPPED: usize = 1_000;

/// Where the count of foreign code never gets.
pub(super) const NEVER: u64 = u64::MAX;

/// Where a COPY … FROM STDIN stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyIn {
    None,
    /// The server reads data for action `seq`; Sync and Flush mean nothing to it now.
    Active {
        seq: u64,
    },
}

/// How an error or notice goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    AsIs,
    /// Without text that may hold masked values.
    Redacted,
    Instead(Refused),
}

/// What becomes of one message from the server.
pub(crate) enum Effect {
    /// To the client as it is; recorded with an action if one is named.
    Pass(Option<u64>),
    Swallow,
    Report {
        seq: Option<u64>,
        manner: Manner,
    },
    /// The same, when the action that it is about is over.
    Late {
        seq: u64,
        manner: Manner,
    },
    /// A notification, recorded with the latest action.
    Notified(u64),
    /// Rows of the head of the queue follow; the description passes.
    Rows,
    /// A row, or a line of COPY, of the head.
    Data,
    /// COPY data of the head follows.
    CopyOut,
}

/// The state of one session between its two directions.
pub(crate) struct Flow {
    pub(super) queue: VecDeque<Expect>,
    /// How many were ever put into the queue, and how many of them were on their way to the server when
    /// the buffer was last written.
    expected: u64,
    written: u64,
    pub statements: Names<Arc<Prepared>>,
    pub portals: Names<Arc<Portal>>,
    pub(super) tx: TxStatus,
    /// An error was answered and the client has not sent Sync: the server ignores everything else.
    pub(super) skipping: bool,
    /// Syncs sent.
    batch: u64,
    /// Extended messages were sent since the last Sync.
    unsynced: bool,
    next_id: u64,
    pub(super) copy_in: CopyIn,
    /// Masked columns were in play in what the server has answered since the transaction began: whatever
    /// fails in it later, deferred constraints above all, can name their values. What is on its way and
    /// not begun says nothing yet, so how fast it was sent changes no answer.
    pub(super) tainted: bool,
    /// Counts code that is not PostgreSQL's own: it can have closed any portal and opened another one
    /// under its name.
    foreign: u64,
    /// DDL ran in this transaction, and DDL was committed.
    pub(super) ddl: bool,
    pub(super) catalog_changed: bool,
    pub(super) batch_state: Batch,
    /// The last action that was sent; 0 is the connection itself.
    pub(super) latest: u64,
    /// What SQL has dropped, and how far names had been counted when its text was looked at.
    dropped: Vec<(u64, Over)>,
}

impl Flow {
    pub fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            expected: 0,
            written: 0,
            statements: Names::default(),
            portals: Names::default(),
            tx: TxStatus::Idle,
            skipping: false,
            batch: 0,
            unsynced: false,
            next_id: 0,
            copy_in: CopyIn::None,
            tainted: false,
            foreign: 0,
            ddl: false,
            catalog_changed: false,
            batch_state: Batch::default(),
            latest: 0,
            dropped: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// As of the last ReadyForQuery.
    pub fn tx(&self) -> TxStatus {
        self.tx
    }

    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    pub fn copy_in(&self) -> CopyIn {
        self.copy_in
    }

    /// The server waits for a message, and every reply has been seen.
    pub fn is_quiescent(&self) -> bool {
        self.queue.is_empty() && !self.unsynced && !self.skipping
    }

    /// Extended messages were sent that no Sync has ended yet.
    pub fn is_open_batch(&self) -> bool {
        self.unsynced
    }

    /// All replies have been seen, but a batch may be open.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// Something of the client's runs that a CancelRequest could stop.
    pub fn is_busy(&self) -> bool {
        self.is_unanswered(0..self.expected)
    }

    /// Is something of the client's, among what has these positions, unanswered?
    pub fn is_unanswered(&self, positions: Range<u64>) -> bool {
        let answered = self.expected.saturating_sub(self.queue.len() as u64);
        let mut queue = self.queue.iter().zip(answered..);
        queue.any(|(e, at)| {
            positions.contains(&at) && !matches!(e, Expect::Own(_) | Expect::Local(_))
        })
    }

    /// Where the next message to the server will stand among all.
    pub fn position(&self) -> u64 {
        self.expected
    }

    /// What has a lower position is written to the server.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn flushed(&mut self) {
        self.written = self.expected;
    }

    fn expect(&mut self, reply: Expect) {
        self.expected += 1;
        self.queue.push_back(reply);
    }

    /// The head is answered: it counts for what comes after it in its transaction.
    pub(super) fn pop(&mut self) -> Option<Expect> {
        let head = self.queue.pop_front()?;
        self.tainted |= head.hides();
        Some(head)
    }

    /// True once after every committed change of the catalogue.
    pub fn take_catalog_changed(&mut self) -> bool {
        std::mem::take(&mut self.catalog_changed)
    }

    /// SQL has dropped names. What is too much to be kept stays known, which hides more.
    pub(super) fn drops(&mut self, names: Option<u64>, over: &Over) {
        if let Some(names) = names
            && self.dropped.len() < MAX_DROPPED
        {
            self.dropped.push((names, over.clone()));
        }
    }

    pub fn take_dropped(&mut self) -> Vec<(u64, Over)> {
        std::mem::take(&mut self.dropped)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    // ---- what was sent ----

    /// `forgets`: names that the text itself may define or drop.
    pub fn sent_query(&mut self, run: Run, forgets: &Forgets) {
        self.latest = run.seq().unwrap_or(self.latest);
        let mut changes = self.forget(forgets);
        let id = changes.id;
        // A simple query destroys the unnamed statement and portal, whatever comes of it.
        self.statements.propose(Bytes::new(), id, self.batch, None);
        self.portals.propose(Bytes::new(), id, self.batch, None);
        changes.statements.push(Bytes::new());
        changes.portals.push(Bytes::new());
        if let Some(judged) = &run.judged {
            self.runs(judged, None);
        }
        self.expect(Expect::Query(Box::new(run), changes));
    }

    pub fn sent_call(&mut self, run: Run) {
        self.latest = run.seq().unwrap_or(self.latest);
        if let Some(judged) = &run.judged {
            self.runs(judged, None);
        }
        let nothing = Changes::default();
        self.expect(Expect::Query(Box::new(run), nothing));
    }

    /// `receipt`: parsing it runs code, which was decided on; `hides`: which can reach columns that are
    /// hidden from the client.
    pub fn sent_parse(
        &mut self,
        name: Bytes,
        prepared: Arc<Prepared>,
        receipt: Option<Receipt>,
        hides: bool,
    ) {
        let id = self.id();
        self.unsynced = true;
        if receipt.is_some() {
            self.runs(&prepared.judged.lock(), None);
        }
        prepared.foreign.store(self.foreign, Ordering::SeqCst);
        self.statements
            .propose(name.clone(), id, self.batch, Some(prepared));
        let on_failure = if name.is_empty() {
            OnFailure::Gone
        } else {
            OnFailure::Revert
        };
        let changes = Changes {
            id,
            statements: vec![name],
            portals: Vec::new(),
            on_failure,
        };
        self.expect(Expect::Parse {
            changes,
            refused: None,
            receipt,
            hides,
        });
    }

    /// A text that runs code when it is parsed is parsed again.
    pub fn reads_again(&mut self, judged: &Judged) {
        self.runs(judged, None);
    }

    pub fn sent_again(&mut self, prepared: Arc<Prepared>, hides: bool) {
        self.unsynced = true;
        prepared.foreign.store(self.foreign, Ordering::SeqCst);
        self.expect(Expect::Again {
            prepared,
            closed: false,
            hides,
        });
    }

    pub fn sent_refused_parse(&mut self, name: Bytes, refused: Refused) {
        let id = self.id();
        self.unsynced = true;
        let mut changes = Changes {
            id,
            ..Changes::default()
        };
        if name.is_empty() {
            self.statements.propose(name.clone(), id, self.batch, None);
            changes.statements.push(name);
            changes.on_failure = OnFailure::Gone;
        }
        self.expect(Expect::Parse {
            changes,
            refused: Some(refused),
            receipt: None,
            hides: false,
        });
    }

    /// `hides`: it can reach columns that are hidden from the client.
    pub fn sent_bind(&mut self, name: Bytes, portal: Arc<Portal>, hides: bool) {
        let id = self.id();
        self.unsynced = true;
        self.runs(&portal.judged, Some(&portal));
        let granted = portal.granted.lock().is_some().then(|| portal.clone());
        self.portals
            .propose(name.clone(), id, self.batch, Some(portal));
        let on_failure = if name.is_empty() {
            OnFailure::Gone
        } else {
            OnFailure::Revert
        };
        let changes = Changes {
            id,
            statements: Vec::new(),
            portals: vec![name],
            on_failure,
        };
        self.expect(Expect::Bind {
            changes,
            refused: None,
            hides,
            granted,
        });
    }

    /// A Bind, Describe or Close that cannot be: fails on the server and is answered with `refused`.
    pub fn sent_refused_bind(&mut self, refused: Refused) {
        self.unsynced = true;
        self.expect(Expect::Bind {
            changes: Changes::default(),
            refused: Some(refused),
            hides: false,
            granted: None,
        });
    }

    /// `hides`: reading the text again for it can reach columns that are hidden from the client.
    pub fn sent_describe(&mut self, what: Described, own: bool, hides: bool) {
        self.unsynced = true;
        self.expect(Expect::Describe {
            what,
            parameters: false,
            own,
            hides,
        });
    }

    pub fn sent_execute(&mut self, run: Run, forgets: &Forgets) {
        self.latest = run.seq().unwrap_or(self.latest);
        self.unsynced = true;
        let changes = self.forget(forgets);
        if let Some(judged) = &run.judged {
            self.runs(judged, run.portal.as_ref());
        }
        self.expect(Expect::Execute(Box::new(run), changes));
    }

    pub fn sent_close(&mut self, statement: Option<Bytes>, portal: Option<Bytes>) {
        let id = self.id();
        self.unsynced = true;
        let mut changes = Changes {
            id,
            ..Changes::default()
        };
        if let Some(name) = statement {
            self.statements.propose(name.clone(), id, self.batch, None);
            changes.statements.push(name);
        }
        if let Some(name) = portal {
            self.portals.propose(name.clone(), id, self.batch, None);
            changes.portals.push(name);
        }
        self.expect(Expect::Close(changes));
    }

    pub fn sent_sync(&mut self) {
        self.skipping = false;
        self.unsynced = false;
        self.batch += 1;
        self.expect(Expect::Sync);
    }

    /// What it runs can give another meaning to every portal but its own.
    fn runs(&mut self, judged: &Judged, own: Option<&Arc<Portal>>) {
        self.foreign += u64::from(judged.is_foreign());
        if let Some(portal) = own {
            portal.foreign.store(self.foreign, Ordering::SeqCst);
        }
    }

    /// Code ran since the server was told the text that can have put another under its name.
    pub fn is_doubtful(&self, prepared: &Prepared) -> bool {
        prepared.foreign.load(Ordering::SeqCst) != self.foreign
    }

    /// Code ran since the portal was bound, or ran last, that can have put another in its place.
    pub fn is_strange(&self, portal: &Portal) -> bool {
        portal.foreign.load(Ordering::SeqCst) != self.foreign
    }

    /// Nothing is sent: `answer` goes to the client when everything before it is answered.
    pub fn sent_nothing(&mut self, answer: Bytes) {
        self.expect(Expect::Local(answer));
    }

    /// An answer of our own whose turn it is.
    pub fn take_local(&mut self) -> Option<Bytes> {
        if !matches!(self.queue.front(), Some(Expect::Local(_))) {
            return None;
        }
        match self.pop() {
            Some(Expect::Local(answer)) => Some(answer),
            _ => None,
        }
    }

    pub fn sent_own(&mut self, bounds: Bounds) -> oneshot::Receiver<Result<Rows, QueryError>> {
        let (answer, receiver) = oneshot::channel();
        self.expect(Expect::Own(Box::new(OwnQuery {
            collector: Collector::default(),
            bounds,
            answer: Some(answer),
        })));
        receiver
    }

    pub fn sent_copy_end(&mut self) {
        self.copy_in = CopyIn::None;
    }

    fn forget(&mut self, forgets: &Forgets) -> Changes {
        let id = self.id();
        let mut changes = Changes {
            id,
            on_failure: OnFailure::Gone,
            ..Changes::default()
        };
        for name in &forgets.statements {
            self.statements.propose(name.clone(), id, self.batch, None);
            changes.statements.push(name.clone());
        }
        for name in &forgets.portals {
            self.portals.propose(name.clone(), id, self.batch, None);
            changes.portals.push(name.clone());
        }
        changes
    }
}

/// Names that a text gives another meaning by itself (PREPARE, DECLARE).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forgets {
    pub statements: Vec<Bytes>,
    pub portals: Vec<Bytes>,
}
