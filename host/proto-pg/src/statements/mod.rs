//! What the client asked for and what the server will answer, without sockets.
//!
//! Architecture invariants:
//! - Expected replies are one explicit queue; a reply that its head does not explain is a violation
//!   and ends the session.
//! - A name means here what it means on the server, or it is not known here.

mod budget;
mod ends;
mod expect;
mod flow;
mod names;
mod replies;
mod run;
mod value;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::Mutex;
use pipeline::ports::Policy;
use pipeline::{Obligations, Parameter, Refusal, RefusalKind};

use crate::analysis::{Analysis, Field};
use crate::catalog::Snapshot;
use crate::refusal::Refused;
use crate::relay::{ActiveMask, Moves};
use crate::upstream::Bound;
use crate::wire::frontend::{Bind, format_of};

pub(crate) use budget::{Budget, Charge};
pub(crate) use ends::Done;
pub(crate) use expect::Described;
pub(crate) use flow::{CopyIn, Effect, Flow, Forgets, Manner, Violation};
pub(crate) use names::{Lookup, cut_name, fit_name};
pub(crate) use run::Run;
pub(crate) use value::binary;

/// Counts what may change the meaning of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Search path and catalogue.
    pub path: u64,
    /// Prepared statements and cursors.
    pub names: u64,
}

/// One text, and what was made of it under one bundle, snapshot and meaning of names.
pub(crate) struct Judged {
    pub analysis: Arc<Analysis>,
    pub policy: Arc<dyn Policy>,
    pub snapshot: Arc<Snapshot>,
    /// Where names stood in this session.
    pub epoch: Epoch,
    /// The text may run a prepared statement or read a cursor by its name.
    pub by_name: bool,
    /// Policy is proven to be indifferent to what the text means.
    pub indifferent: bool,
    /// Refused before it may even be planned.
    pub denied: Option<String>,
    pub moves: Moves,
    /// How far they had counted when the text was looked at.
    pub moved: u64,
}

impl Judged {
    /// The refusal in the client's words. What PostgreSQL would not have understood either keeps
    /// PostgreSQL's own SQLSTATE.
    pub fn told(&self, refusal: &Refusal, session: &str) -> Refused {
        let mut refused = Refused::by_policy(refusal, session);
        if refusal.kind == RefusalKind::Denied && self.analysis.refuse.is_some() {
            refused.sqlstate = self.analysis.sqlstate.to_owned();
            refused.position = self.analysis.position;
        }
        refused
    }

    pub fn may_be_planned(&self) -> bool {
        self.denied.is_none()
    }

    /// Code that is not PostgreSQL's own runs, or nobody can tell what does.
    pub fn is_foreign(&self) -> bool {
        self.analysis.is_foreign()
    }

    /// The catalogue may have changed since, and one of the text's names can mean labelled columns
    /// now that it did not mean then.
    pub fn is_doubtful(&self) -> bool {
        !self.indifferent && self.analysis.shadowed && self.moves.count() != self.moved
    }

    /// Is any of it planned only when it runs, and what it names looked up and locked only then?
    pub fn is_late(&self) -> bool {
        let mut statements = self.analysis.statements.iter();
        statements.any(crate::analysis::StatementShape::is_late)
    }

    /// Does the verdict still stand under what is active now?
    pub fn is_current(&self, policy: &dyn Policy, snapshot: &Arc<Snapshot>, epoch: Epoch) -> bool {
        let means_the_same = self.epoch.path == epoch.path
            && (!self.by_name || self.epoch.names == epoch.names)
            && !self.is_doubtful()
            && Arc::ptr_eq(&self.snapshot, snapshot);
        (means_the_same || self.indifferent)
            && self.policy.bundle().digest == policy.bundle().digest
    }
}

/// The columns of a result.
#[derive(Debug, Clone, Default)]
pub(crate) enum Columns {
    #[default]
    Unknown,
    /// It returns no rows.
    None,
    Fields(Arc<[Field]>),
}

/// A prepared statement.
pub(crate) struct Prepared {
    pub sql: Bytes,
    /// Parameter type OIDs, four bytes each.
    pub types: Bytes,
    pub judged: Mutex<Arc<Judged>>,
    /// Types of its parameters as the server has told them, as `types`.
    pub parameters: Mutex<Option<Bytes>>,
    /// As Describe(statement) or a portal's description told; formats are all text.
    pub columns: Mutex<Columns>,
    /// The mask of its last execution, for the next one with the same columns and obligations.
    pub mask: Mutex<Option<CachedMask>>,
    /// How far `Flow` had counted foreign code when the server was last told this text.
    foreign: AtomicU64,
    /// For a named one.
    _charge: Option<Charge>,
}

/// A mask and everything it was made from.
#[derive(Clone)]
pub(crate) struct CachedMask {
    pub fields: Arc<[Field]>,
    pub obligations: Obligations,
    pub judged: Arc<Judged>,
    pub mask: Arc<ActiveMask>,
}

/// A bound portal.
pub(crate) struct Portal {
    pub prepared: Arc<Prepared>,
    /// What the text meant when it was bound, which is when the server planned it.
    pub judged: Arc<Judged>,
    /// Where names stood once it was bound.
    pub epoch: Epoch,
    /// What an approval of its execution is bound to.
    pub canonical: Vec<u8>,
    pub params: Vec<Parameter>,
    pub result_formats: Vec<i16>,
    /// Formats as bound.
    pub columns: Mutex<Columns>,
    /// How far `Flow` had counted foreign code when the portal was last sure to be itself.
    foreign: AtomicU64,
    /// For a named one.
    _charge: Option<Charge>,
    /// Its execution was decided on before it was bound.
    pub granted: Mutex<Option<Bound>>,
}

impl Prepared {
    pub fn new(sql: Bytes, types: Bytes, judged: Arc<Judged>) -> Self {
        Self {
            sql,
            types,
            judged: Mutex::new(judged),
            parameters: Mutex::default(),
            columns: Mutex::default(),
            mask: Mutex::default(),
            foreign: AtomicU64::default(),
            _charge: None,
        }
    }

    pub fn charged(self, charge: Option<Charge>) -> Self {
        Self {
            _charge: charge,
            ..self
        }
    }

    /// The values as they are shown and recorded. A type is known if the client has named it, or the
    /// server.
    pub fn parameters(&self, bind: &Bind<'_>, snapshot: &Snapshot) -> Vec<Parameter> {
        let told = self.parameters.lock().clone();
        let type_of = |position: usize| {
            let in_list = |list: &Bytes| list.as_chunks::<4>().0.get(position).copied();
            let oid = told.as_ref().and_then(in_list).or(in_list(&self.types));
            oid.map(u32::from_be_bytes).filter(|oid| *oid != 0)
        };
        let values = bind.params.iter().enumerate();
        let parameters = values.map(|(i, value)| match (value, format_of(&bind.formats, i)) {
            (Some(value), 1) => binary(value, type_of(i), snapshot),
            (value, _) => Parameter::from(*value),
        });
        parameters.collect()
    }
}

impl Portal {
    pub fn new(
        prepared: Arc<Prepared>,
        judged: Arc<Judged>,
        epoch: Epoch,
        bind: &Bind<'_>,
        params: Vec<Parameter>,
    ) -> Self {
        let parts = [&prepared.sql[..], &prepared.types, bind.rest];
        let mut canonical = b"execute\0".to_vec();
        for part in parts {
            canonical.extend_from_slice(&(part.len() as u64).to_be_bytes());
            canonical.extend_from_slice(part);
        }
        Self {
            canonical,
            judged,
            epoch,
            params,
            result_formats: bind.result_formats.clone(),
            columns: Mutex::default(),
            foreign: AtomicU64::default(),
            _charge: None,
            granted: Mutex::default(),
            prepared,
        }
    }

    pub fn charged(self, charge: Option<Charge>) -> Self {
        Self {
            _charge: charge,
            ..self
        }
    }

    /// Names that it looks up when it runs have changed their meaning since it was bound.
    pub fn is_overtaken(&self, now: Epoch) -> bool {
        if self.judged.indifferent {
            return false;
        }
        let path = self.epoch.path != now.path;
        let names = self.judged.by_name && self.epoch.names != now.names;
        (path || names) && self.judged.is_late()
    }

    /// Its columns, if the server has told them for the portal or the statement.
    pub fn known_columns(&self) -> Columns {
        let own = self.columns.lock().clone();
        if !matches!(own, Columns::Unknown) {
            return own;
        }
        let known = match &*self.prepared.columns.lock() {
            Columns::Unknown => return Columns::Unknown,
            Columns::None => Columns::None,
            Columns::Fields(fields) => Columns::Fields(in_formats(fields, &self.result_formats)),
        };
        self.columns.lock().clone_from(&known);
        known
    }
}

/// A statement's columns in a portal's formats: none for all text, one for all, or one each.
fn in_formats(fields: &[Field], formats: &[i16]) -> Arc<[Field]> {
    fields
        .iter()
        .enumerate()
        .map(|(i, f)| Field {
            format: format_of(formats, i),
            ..f.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests;
