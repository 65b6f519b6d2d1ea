//! What names mean inside one session: search path, temporary schema, prepared statements, cursors.

use crate::analysis::Analysis;
use crate::catalog::CatalogError;

/// The state of one upstream session that decides what a text means.
#[derive(Debug, Clone, Default)]
pub struct SessionState {
    unknown: bool,
}

impl SessionState {
    /// One row; feed it to `new` and `refreshed`.
    pub const QUERY: &'static str = "SELECT 1::text";

    pub fn new(row: &[Option<String>]) -> Result<Self, CatalogError> {
        let mut state = Self::default();
        state.refreshed(row)?;
        Ok(state)
    }

    /// The connection is idle and the server was asked again.
    pub fn refreshed(&mut self, _row: &[Option<String>]) -> Result<(), CatalogError> {
        self.unknown = false;
        Ok(())
    }

    /// A text was forwarded: its effects count from now on, before its success is known, in union
    /// with what was.
    pub fn forwarded(&mut self, _analysis: &Analysis) {
        self.unknown = true;
    }

    /// Unqualified names mean the union of all schemas until `refreshed`.
    pub fn search_path_unknown(&self) -> bool {
        self.unknown
    }
}
