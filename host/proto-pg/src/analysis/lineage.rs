//! From where values come from to what policy hides: sets of columns against the columns that are
//! masked in one request.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use pipeline::Column;

use super::resolve::{ALL, ANY, CODE, OutColumn, Output, Sink, Source};
use super::shape::{Field, Taint};
use crate::catalog::{PLACES, RelationInfo, Snapshot, family};

/// Views over views over views.
const MAX_VIEW_DEPTH: usize = 32;

/// Masked columns against one snapshot; remembers what it found out about columns.
pub(crate) struct Masked<'a> {
    snapshot: &'a Snapshot,
    by_name: HashMap<(&'a str, &'a str, &'a str), &'a Column>,
    known: HashMap<Source, Option<&'a Column>>,
}

impl<'a> Masked<'a> {
    pub fn new(snapshot: &'a Snapshot, masked: &'a [Column]) -> Self {
        Self {
            snapshot,
            by_name: masked
                .iter()
                .map(|c| ((&*c.schema, &*c.table, &*c.column), c))
                .collect(),
            known: HashMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn relation(&self, source: Source) -> Option<(usize, &'a RelationInfo)> {
        let index = self.snapshot.index_of(source.relation)?;
        Some((index, self.snapshot.relation(index)?))
    }

    /// The masked column that a column is: its own, or that of a child whose rows are read through it.
    pub fn exact(&mut self, source: Source) -> Option<&'a Column> {
        if let Some(known) = self.known.get(&source) {
            return *known;
        }
        let found = self.find(source);
        self.known.insert(source, found);
        found
    }

    fn find(&self, source: Source) -> Option<&'a Column> {
        let (index, info) = self.relation(source)?;
        let name = &*info.column(source.column)?.name;
        let mut seen = HashSet::new();
        let mut queue = vec![index];
        while let Some(index) = queue.pop() {
            if !seen.insert(index) {
                continue;
            }
            let Some(info) = self.snapshot.relation(index) else {
                continue;
            };
            if let Some(column) = self.by_name.get(&(&*info.schema, &*info.name, name)) {
                return Some(column);
            }
            queue.extend(&info.children);
        }
        None
    }

    /// Can a masked value be in what comes from here?
    pub fn hits<'s>(&mut self, sources: impl IntoIterator<Item = &'s Source>) -> bool {
        !self.is_empty() && sources.into_iter().any(|&source| self.hit(source))
    }

    fn hit(&mut self, source: Source) -> bool {
        // What the snapshot does not know could be anything.
        [ANY, CODE, ALL].contains(&source)
            || self.exact(source).is_some()
            || self
                .relation(source)
                .is_none_or(|(_, info)| info.is_leaky() || info.column(source.column).is_none())
    }

    /// All masked columns that are among these, and those of children whose rows are read through them.
    pub fn among(&self, sources: &[Source]) -> Vec<&'a Column> {
        let mut found = Vec::new();
        for &source in sources {
            let Some((index, info)) = self.relation(source) else {
                continue;
            };
            let Some(column) = info.column(source.column) else {
                continue;
            };
            let family = family(self.snapshot, index).into_iter();
            let family = family.filter_map(|i| self.snapshot.relation(i));
            let named = family.map(|r| (&*r.schema, &*r.name, &*column.name));
            found.extend(named.filter_map(|name| self.by_name.get(&name)));
        }
        found
    }

    /// The masked column that this one is a copy of, through views as well.
    fn copied(&mut self, origin: Source) -> Option<&'a Column> {
        let mut at = origin;
        for _ in 0..MAX_VIEW_DEPTH {
            if let Some(column) = self.exact(at) {
                return Some(column);
            }
            let (_, info) = self.relation(at)?;
            let place = info.columns.iter().position(|c| c.number == at.column)?;
            let view = info.view.as_ref().filter(|_| !info.opaque)?.columns()?;
            at = view.columns.get(place)?.copy_of?;
        }
        None
    }

    /// What the server says about a field's origin; none when it says nothing.
    fn origin(&mut self, field: &Field) -> Option<Taint> {
        let source = described(field)?;
        let Some((index, info)) = self.relation(source) else {
            return Some(Taint::Tainted);
        };
        if info.is_leaky() {
            return Some(Taint::Tainted);
        }
        if field.attnum < 0 {
            // System columns: numbers of rows, transactions and relations.
            let places = match PLACES.iter().any(|(n, _)| *n == field.attnum) {
                true => self.snapshot.told_by_place(index),
                false => BTreeSet::new(),
            };
            return Some(match self.hits(places.iter()) {
                true => Taint::Tainted,
                false => Taint::Clean,
            });
        }
        let Some(column) = info.column(field.attnum) else {
            return Some(Taint::Tainted);
        };
        if column.type_oid != field.type_oid && !is_domain(self.snapshot, column.type_oid) {
            // The snapshot is older than the table.
            return Some(Taint::Tainted);
        }
        if let Some(column) = self.copied(source) {
            return Some(Taint::Exact(column.clone()));
        }
        if info.is_table() {
            return Some(Taint::Clean);
        }
        if info.opaque {
            return Some(Taint::Tainted);
        }
        let Some(view) = info.view.as_ref() else {
            return Some(Taint::Clean);
        };
        let place = info.columns.iter().position(|c| c.number == field.attnum);
        let column = place.and_then(|p| view.columns()?.columns.get(p));
        match column {
            Some(column) if !self.hits(&*column.sources) => Some(Taint::Clean),
            _ => Some(Taint::Tainted),
        }
    }

    /// What can be in each field, when the text alone does not tell.
    pub fn described(&mut self, fields: &[Field]) -> Vec<Taint> {
        let taints = fields
            .iter()
            .map(|f| self.origin(f).unwrap_or(Taint::Tainted));
        taints.collect()
    }

    /// What can be in each field of a result with these columns. When the server describes it otherwise,
    /// nothing of what was found out holds.
    pub fn fields(&mut self, output: &Output, fields: &[Field]) -> Vec<Taint> {
        if !output.agrees(fields) {
            return vec![Taint::Tainted; fields.len()];
        }
        let count = fields.len();
        let each = fields.iter().enumerate();
        each.map(|(i, field)| self.field(output, field, i, count))
            .collect()
    }

    fn field(&mut self, output: &Output, field: &Field, index: usize, count: usize) -> Taint {
        let column = output.column(index, count);
        let sources = match (column, &output.rest) {
            (Some(column), _) => &column.sources,
            (None, Some(rest)) => rest,
            (None, None) => return Taint::Tainted,
        };
        if sources.contains(&CODE) {
            return Taint::Tainted;
        }
        let origin = self.origin(field);
        let any = sources.contains(&ANY);
        match origin {
            // The server itself says that it is a copy.
            Some(taint @ Taint::Exact(_)) => taint,
            Some(Taint::Tainted) => Taint::Tainted,
            Some(Taint::Clean) if any => Taint::Clean,
            Some(Taint::Clean) | None if !self.hits(&**sources) => Taint::Clean,
            Some(Taint::Clean) | None => Taint::Tainted,
        }
    }

    /// Is a masked value stored where it is not protected as it was?
    pub fn stored(&mut self, sinks: &[Sink]) -> bool {
        sinks
            .iter()
            .any(|sink| self.hits(&*sink.sources) && !self.kept(sink))
    }

    /// Has the column the very labels of all that flows into it? More of them would not do: policy may
    /// show what has a further label.
    fn kept(&mut self, sink: &Sink) -> bool {
        let Some((oid, name)) = &sink.into else {
            return false;
        };
        let table = self
            .snapshot
            .index_of(*oid)
            .and_then(|i| self.snapshot.relation(i));
        // A rule could store it elsewhere, too.
        let table = table.filter(|info| info.is_table() && info.reads.is_empty());
        let column = table.and_then(|info| info.column_named(name));
        let into = column.and_then(|column| {
            self.exact(Source {
                relation: *oid,
                column: column.number,
            })
        });
        let Some(into) = into else {
            return false;
        };
        sink.sources.iter().all(|&source| {
            let plain = source != ANY && source != CODE;
            plain
                && match self.exact(source) {
                    Some(column) => column.labels == into.labels,
                    None => !self.hit(source),
                }
        })
    }
}

/// RowDescription names a domain's base type.
fn is_domain(snapshot: &Snapshot, type_oid: u32) -> bool {
    snapshot.type_info(type_oid).is_some_and(|t| t.kind == b'd')
}

/// The column that the server says a field is; none for a whole row.
fn described(field: &Field) -> Option<Source> {
    (field.table_oid != 0 && field.attnum != 0).then_some(Source {
        relation: field.table_oid,
        column: field.attnum,
    })
}

impl Output {
    fn column(&self, index: usize, count: usize) -> Option<&OutColumn> {
        if let Some(column) = self.head.get(index) {
            return Some(column);
        }
        let behind = count.checked_sub(self.tail.len())?;
        self.tail.get(index.checked_sub(behind)?)
    }

    /// Does the server describe the result as it was understood?
    pub fn agrees(&self, fields: &[Field]) -> bool {
        let known = self.head.len() + self.tail.len();
        let count = match self.rest {
            None => fields.len() == known,
            Some(_) => fields.len() >= known,
        };
        count
            && fields.iter().enumerate().all(|(i, field)| {
                match (self.column(i, fields.len()), &self.rest) {
                    (Some(column), _) => column.agrees(field),
                    (None, Some(rest)) => can_be(rest, field),
                    (None, None) => false,
                }
            })
    }
}

impl Output {
    /// The result as the server should describe it; none when the number of columns is not known.
    pub fn described(&self, snapshot: &Snapshot) -> Option<Vec<Field>> {
        if self.rest.is_some() {
            return None;
        }
        let field = |column: &OutColumn| {
            let origin = column.origin.filter(|_| column.sure);
            let known = origin.and_then(|o| {
                let relation = snapshot.relation(snapshot.index_of(o.relation)?)?;
                relation.column(o.column)
            });
            Field {
                name: column.name.as_deref().unwrap_or_default().to_owned(),
                table_oid: origin.map_or(0, |o| o.relation),
                attnum: origin.map_or(0, |o| o.column),
                type_oid: known.map_or(0, |c| c.type_oid),
                type_len: -1,
                type_mod: -1,
                format: 0,
            }
        };
        Some(self.head.iter().map(field).collect())
    }
}

impl Output {
    /// Code that nobody wrote can run in any expression: only plain references are what they are.
    pub fn distrust(&mut self) {
        let anything: Arc<[Source]> = Arc::from([ANY].as_slice());
        for column in self.head.iter_mut().chain(&mut self.tail) {
            if column.origin.is_none() && !column.sources.contains(&CODE) {
                column.sources = anything.clone();
            }
        }
        if let Some(rest) = &mut self.rest
            && !rest.contains(&CODE)
        {
            *rest = anything;
        }
    }
}

impl OutColumn {
    fn agrees(&self, field: &Field) -> bool {
        let named = self.name.as_ref().is_none_or(|name| **name == *field.name);
        let silent = self.sure && self.origin.is_some() && described(field).is_none();
        named && !silent && can_be(&self.sources, field)
    }
}

/// The server's origin is one of these.
fn can_be(sources: &[Source], field: &Field) -> bool {
    let Some(source) = described(field) else {
        return true;
    };
    source.column < 0
        || sources.contains(&source)
        || sources.contains(&ANY)
        || sources.contains(&CODE)
}
