//! What a database holds, as an immutable snapshot made of plain SQL results, and what names mean in
//! one session.
//!
//! Place in the flow: the wire half sends [`Snapshot::QUERIES`] and [`SessionState::QUERY`] over the
//! upstream connection and feeds the rows in here; `analysis` resolves names against the result.

mod session;

pub use session::SessionState;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error("catalogue query {query}: expected {expected} result columns, got {got}")]
    Shape {
        query: usize,
        expected: usize,
        got: usize,
    },
    #[error("catalogue query {query}: {what} is not what it should be: {value:?}")]
    Value {
        query: usize,
        what: &'static str,
        value: String,
    },
    #[error("the catalogue has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("the catalogue needs the results of {expected} queries, got {got}")]
    Missing { expected: usize, got: usize },
}

/// One query's rows; every value is text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Everything analysis needs to know about one database, at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {}

impl Snapshot {
    /// Each is one simple-protocol query with one result, all columns text.
    pub const QUERIES: &'static [&'static str] = &["SELECT 1::text"];

    /// `results[i]` holds the rows of `QUERIES[i]`.
    pub fn build(results: &[Rows]) -> Result<Self, CatalogError> {
        if results.len() != Self::QUERIES.len() {
            return Err(CatalogError::Missing {
                expected: Self::QUERIES.len(),
                got: results.len(),
            });
        }
        Ok(Self {})
    }
}
