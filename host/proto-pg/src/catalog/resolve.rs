//! From names to what they can mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{FunctionInfo, Snapshot};

/// Where unqualified names are looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    /// These schemas, in order; the temporary schema and `pg_catalog` are among them.
    Known(&'a [Arc<str>]),
    /// Any schema.
    Unknown,
}

impl<'a> Path<'a> {
    /// `pg_temp` is the session's own temporary schema, whose name has a number.
    fn actual<'s>(self, schema: &'s str) -> &'s str
    where
        'a: 's,
    {
        match self {
            Self::Known(schemas) if schema == "pg_temp" => schemas
                .iter()
                .find(|s| s.starts_with("pg_temp_"))
                .map_or(schema, |s| s),
            Self::Known(_) | Self::Unknown => schema,
        }
    }
}

/// The functions that a call can reach, as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionMatch {
    pub schema: Arc<str>,
    pub volatile: bool,
    pub security_definer: bool,
    pub returns_set: bool,
    pub pure: bool,
    /// Of an extension that counts as pure.
    pub trusted: bool,
    pub takes_row: bool,
}

impl Snapshot {
    /// Indexes of the relations that a name can mean; empty when there is none.
    pub(crate) fn find_relations(
        &self,
        schema: Option<&str>,
        name: &str,
        path: Path<'_>,
    ) -> Vec<usize> {
        let Some(named) = self.by_name.get(name) else {
            return Vec::new();
        };
        let schema = schema.map(|s| path.actual(s));
        let in_schema = |schema: &str| {
            named
                .iter()
                .copied()
                .find(|&i| self.relation(i).is_some_and(|r| &*r.schema == schema))
        };
        match (schema, path) {
            (Some(schema), _) => in_schema(schema).into_iter().collect(),
            (None, Path::Known(schemas)) => schemas
                .iter()
                .find_map(|s| in_schema(s))
                .into_iter()
                .collect(),
            (None, Path::Unknown) => named.clone(),
        }
    }

    /// One entry for each schema whose function of that name a call can reach: overloads in any
    /// schema of the path compete by their argument types, which are not looked at here.
    pub(crate) fn find_functions(
        &self,
        schema: Option<&str>,
        name: &str,
        path: Path<'_>,
    ) -> Vec<FunctionMatch> {
        let Some(named) = self.functions.get(name) else {
            return Vec::new();
        };
        let reachable = |f: &&FunctionInfo| match (schema, path) {
            (Some(schema), _) => &*f.schema == schema,
            (None, Path::Known(schemas)) => schemas.contains(&f.schema),
            (None, Path::Unknown) => true,
        };
        named
            .iter()
            .filter(reachable)
            .map(|f| FunctionMatch {
                schema: f.schema.clone(),
                volatile: f.volatile,
                security_definer: f.security_definer,
                returns_set: f.returns_set,
                pure: f.pure,
                trusted: f.trusted,
                takes_row: f.takes_row,
            })
            .collect()
    }

    /// Can `row.name` be a call of a function with the row as its argument?
    pub(crate) fn takes_row(&self, name: &str) -> bool {
        self.functions
            .get(name)
            .is_some_and(|named| named.iter().any(|f| f.takes_row))
    }
}

/// A relation and everything whose rows are read through it.
pub(crate) fn family(snapshot: &Snapshot, index: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut queue = vec![index];
    while let Some(next) = queue.pop() {
        if seen.insert(next)
            && let Some(info) = snapshot.relation(next)
        {
            queue.extend(&info.children);
        }
    }
    seen
}
