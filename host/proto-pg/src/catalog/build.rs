//! From query results to a [`Snapshot`]: joined here, bounded, and total on what a server may send.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use super::checks;
use super::code::{self, Code};
use super::places;
use super::queries as q;
use super::{CatalogError, ColumnInfo, HiddenCode, RelationInfo, Rows, Snapshot, TypeInfo};
use crate::analysis::resolve::ViewDef;
use crate::analysis::walk;

pub(super) const MAX_RELATIONS: usize = 500_000;
const MAX_COLUMNS: usize = 5_000_000;
pub(super) const MAX_FUNCTIONS: usize = 200_000;
pub(super) const MAX_OTHER: usize = 5_000_000;
/// A view definition longer than this is not read: its columns all count as tainted.
const MAX_VIEW_TEXT: usize = 256 * 1024;

/// The collation that every text has of which nothing else is said (pg_collation.dat).
const DEFAULT_COLLATION: u32 = 100;
pub(super) const PG_CLASS: u32 = 1259;
pub(super) const PG_ATTRDEF: u32 = 2604;
pub(super) const PG_REWRITE: u32 = 2618;

pub(super) fn build(results: &[Rows]) -> Result<Snapshot, CatalogError> {
    if results.len() != q::QUERIES.len() {
        return Err(CatalogError::Missing {
            expected: q::QUERIES.len(),
            got: results.len(),
        });
    }
    let schemas = names(results, q::NAMESPACES)?;
    let depends = depends(results)?;
    let mut snapshot = Snapshot::default();
    relations(results, &schemas, &mut snapshot)?;
    columns(results, &mut snapshot)?;
    inheritance(results, &mut snapshot)?;
    types(results, &mut snapshot)?;
    let mut code = code::functions(results, &schemas, &depends, &mut snapshot)?;
    code::operators(results, &schemas, &mut code, &mut snapshot)?;
    code::hidden(results, &depends, &code, &mut snapshot)?;
    generated(results, &depends, &mut snapshot)?;
    checks::collect(results, &depends, &mut snapshot)?;
    places::collect(results, &depends, &mut snapshot)?;
    rules(results, &depends, &code, &mut snapshot)?;
    views(results, &mut snapshot)?;
    Ok(snapshot)
}

/// Reads one value of a row.
pub(super) struct Row<'a> {
    query: usize,
    values: &'a [Option<String>],
}

impl<'a> Row<'a> {
    pub fn text(&self, i: usize) -> &'a str {
        self.values
            .get(i)
            .and_then(|v| v.as_deref())
            .unwrap_or_default()
    }

    pub fn get<T: FromStr>(&self, i: usize, what: &'static str) -> Result<T, CatalogError> {
        let value = self.text(i);
        value.parse().map_err(|_| CatalogError::Value {
            query: self.query,
            what,
            value: value.chars().take(64).collect(),
        })
    }

    pub fn oid(&self, i: usize) -> Result<u32, CatalogError> {
        self.get(i, "an OID")
    }

    pub fn flag(&self, i: usize) -> bool {
        self.text(i) == "t"
    }

    pub fn byte(&self, i: usize) -> u8 {
        self.text(i).bytes().next().unwrap_or(b' ')
    }
}

pub(super) fn rows<'a>(
    results: &'a [Rows],
    query: usize,
    expected: usize,
    limit: usize,
) -> Result<impl Iterator<Item = Result<Row<'a>, CatalogError>>, CatalogError> {
    let rows = results.get(query).map(Vec::as_slice).unwrap_or_default();
    if rows.len() > limit {
        return Err(CatalogError::TooMany {
            what: "rows",
            limit,
        });
    }
    Ok(rows.iter().map(move |values| {
        if values.len() == expected {
            Ok(Row { query, values })
        } else {
            Err(CatalogError::Shape {
                query,
                expected,
                got: values.len(),
            })
        }
    }))
}

pub(super) fn names(
    results: &[Rows],
    query: usize,
) -> Result<HashMap<u32, Arc<str>>, CatalogError> {
    rows(results, query, 2, MAX_OTHER)?
        .map(|row| {
            let row = row?;
            Ok((row.oid(0)?, Arc::from(row.text(1))))
        })
        .collect()
}

fn relations(
    results: &[Rows],
    schemas: &HashMap<u32, Arc<str>>,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    for row in rows(results, q::CLASSES, 4, MAX_RELATIONS)? {
        let row = row?;
        let kind = row.byte(3);
        // 'c': a composite type, which no query can read from, but columns can be of it.
        if !matches!(kind, b'r' | b'v' | b'm' | b'f' | b'p' | b'S' | b'c') {
            continue;
        }
        let Some(schema) = schemas.get(&row.oid(1)?) else {
            continue;
        };
        let oid = row.oid(0)?;
        let name: Arc<str> = row.text(2).into();
        let index = snapshot.relations.len();
        snapshot.by_oid.insert(oid, index);
        if kind != b'c' {
            let named = snapshot.by_name.entry(name.clone()).or_default();
            named.push(index);
        }
        snapshot.relations.push(RelationInfo {
            oid,
            schema: schema.clone(),
            name,
            kind,
            columns: Vec::new(),
            children: Vec::new(),
            parents: Vec::new(),
            reads: Vec::new(),
            opaque: false,
            view: None,
            hidden: HiddenCode::default(),
            cascades: Vec::new(),
            checks: Vec::new(),
            referred: Vec::new(),
            ruled: false,
            policies: false,
            looked_at: Vec::new(),
            key: Vec::new(),
        });
    }
    Ok(())
}

fn columns(results: &[Rows], snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    // Column names repeat a lot: one allocation for each.
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    for row in rows(results, q::ATTRIBUTES, 8, MAX_COLUMNS)? {
        let row = row?;
        let Some(&index) = snapshot.by_oid.get(&row.oid(0)?) else {
            continue;
        };
        let text = row.text(2);
        let name = match seen.get(text) {
            Some(name) => name.clone(),
            None => {
                let name: Arc<str> = text.into();
                seen.insert(name.clone());
                name
            }
        };
        let column = ColumnInfo {
            number: row.get(1, "a column number")?,
            name,
            type_oid: row.oid(3)?,
            generated: !row.text(5).is_empty(),
            from: Vec::new(),
            row: None,
            refers: Vec::new(),
            filled: false,
            given: !row.text(6).is_empty(),
            collated: !matches!(row.oid(7)?, 0 | DEFAULT_COLLATION),
        };
        if let Some(relation) = snapshot.relations.get_mut(index) {
            relation.columns.push(column);
        }
    }
    for relation in &mut snapshot.relations {
        relation.columns.sort_by_key(|c| c.number);
    }
    Ok(())
}

fn inheritance(results: &[Rows], snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    for row in rows(results, q::INHERITS, 2, MAX_RELATIONS)? {
        let row = row?;
        let (child, parent) = (row.oid(0)?, row.oid(1)?);
        // Partitioned indexes inherit too; they are no relations here.
        let (Some(&child), Some(&parent)) =
            (snapshot.by_oid.get(&child), snapshot.by_oid.get(&parent))
        else {
            continue;
        };
        if let Some(relation) = snapshot.relations.get_mut(parent) {
            relation.children.push(child);
        }
        if let Some(relation) = snapshot.relations.get_mut(child) {
            relation.parents.push(parent);
        }
    }
    Ok(())
}

fn types(results: &[Rows], snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    for row in rows(results, q::TYPES, 7, MAX_OTHER)? {
        let row = row?;
        let info = TypeInfo {
            name: row.text(2).into(),
            kind: row.byte(3),
            relation: row.oid(4)?,
            element: row.oid(5)?,
            base: row.oid(6)?,
        };
        snapshot.types.insert(row.oid(0)?, info);
    }
    for row in rows(results, q::RANGES, 3, MAX_OTHER)? {
        let row = row?;
        // A range is of its subtype, and a multirange of its range.
        for (over, base) in [(0, 1), (2, 0)] {
            let base = row.oid(base)?;
            if let Some(info) = snapshot.types.get_mut(&row.oid(over)?) {
                info.base = base;
            }
        }
    }
    let rows: HashMap<u32, usize> = snapshot
        .types
        .keys()
        .filter_map(|&oid| Some((oid, row_of(snapshot, oid)?)))
        .collect();
    let types = &snapshot.types;
    for column in snapshot.relations.iter_mut().flat_map(|r| &mut r.columns) {
        column.row = rows.get(&column.type_oid).copied();
        // A domain can have a default of its own.
        let of = types.get(&column.type_oid);
        column.given |= of.is_some_and(|t| t.kind == b'd');
    }
    Ok(())
}

/// The relation whose rows are in values of a type. Multiranges are of any range that has rows: the
/// catalogues of older versions do not know them.
fn row_of(snapshot: &Snapshot, type_oid: u32) -> Option<usize> {
    const DEPTH: usize = 32;
    let mut oid = type_oid;
    for _ in 0..DEPTH {
        let info = snapshot.types.get(&oid)?;
        if info.relation != 0 {
            return snapshot.by_oid.get(&info.relation).copied();
        }
        oid = match info.kind {
            b'm' => {
                let ranges = snapshot.types.iter().filter(|(_, t)| t.kind == b'r');
                let mut rows = ranges.filter_map(|(&oid, _)| row_of(snapshot, oid));
                return rows.next();
            }
            _ if info.base != 0 => info.base,
            _ => info.element,
        };
    }
    None
}

pub(super) struct Depend {
    pub class: u32,
    pub object: u32,
    pub column: i32,
    pub ref_class: u32,
    pub ref_object: u32,
    pub ref_column: i32,
    /// `pg_depend.deptype`.
    pub kind: u8,
}

fn depends(results: &[Rows]) -> Result<Vec<Depend>, CatalogError> {
    rows(results, q::DEPENDS, 7, MAX_OTHER)?
        .map(|row| {
            let row = row?;
            Ok(Depend {
                class: row.oid(0)?,
                object: row.oid(1)?,
                column: row.get(2, "a column number")?,
                ref_class: row.oid(3)?,
                ref_object: row.oid(4)?,
                ref_column: row.get(5, "a column number")?,
                kind: row.byte(6),
            })
        })
        .collect()
}

/// Which columns a generated column is made of. PostgreSQL records it for the column itself up to
/// version 14 and for its default expression since.
fn generated(
    results: &[Rows],
    depends: &[Depend],
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    let mut defaults: HashMap<u32, (u32, i32)> = HashMap::new();
    for row in rows(results, q::DEFAULTS, 3, MAX_COLUMNS)? {
        let row = row?;
        let place = (row.oid(1)?, row.get(2, "a column number")?);
        defaults.insert(row.oid(0)?, place);
        let relation = snapshot.by_oid.get(&place.0).copied();
        let relation = relation.and_then(|i| snapshot.relations.get_mut(i));
        for column in relation.into_iter().flat_map(|r| &mut r.columns) {
            column.given |= i32::from(column.number) == place.1;
        }
    }
    for d in depends {
        let (relation, column) = match d.class {
            PG_CLASS => (d.object, d.column),
            PG_ATTRDEF => match defaults.get(&d.object) {
                Some(&place) => place,
                None => continue,
            },
            _ => continue,
        };
        if d.ref_class != PG_CLASS || d.ref_object != relation || d.ref_column == column {
            continue;
        }
        let Some(&index) = snapshot.by_oid.get(&relation) else {
            continue;
        };
        let Some(relation) = snapshot.relations.get_mut(index) else {
            continue;
        };
        let from = i16::try_from(d.ref_column).unwrap_or_default();
        for c in &mut relation.columns {
            if i32::from(c.number) == column && c.generated {
                c.from.push(from);
            }
        }
    }
    Ok(())
}

/// What rules (a view's query is one) read and call. A rule names whole relations and single columns
/// alike, so the columns say nothing: a whole-row reference leaves the same trace as a plain name.
fn rules(
    results: &[Rows],
    depends: &[Depend],
    code: &Code,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    let mut owner: HashMap<u32, usize> = HashMap::new();
    for row in rows(results, q::REWRITES, 4, MAX_RELATIONS)? {
        let row = row?;
        if let Some(&index) = snapshot.by_oid.get(&row.oid(1)?) {
            let rule = row.oid(0)?;
            owner.insert(rule, index);
            let version: u32 = row.get(3, "a transaction's number")?;
            let rules = snapshot.rules.entry(row.oid(1)?).or_default();
            rules.push((rule, version));
            // '1': a view's query.
            if let Some(relation) = snapshot.relations.get_mut(index) {
                relation.ruled |= row.byte(2) != b'1';
            }
        }
    }
    for d in depends.iter().filter(|d| d.class == PG_REWRITE) {
        let Some(&index) = owner.get(&d.object) else {
            continue;
        };
        let read = match d.ref_class {
            PG_CLASS => snapshot.by_oid.get(&d.ref_object).copied(),
            _ => None,
        };
        let foreign_code = code.is_foreign(d);
        let Some(relation) = snapshot.relations.get_mut(index) else {
            continue;
        };
        relation.opaque |= foreign_code;
        if let Some(read) = read.filter(|&r| r != index)
            && !relation.reads.contains(&read)
        {
            relation.reads.push(read);
        }
    }
    Ok(())
}

fn views(results: &[Rows], snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    for row in rows(results, q::VIEWS, 2, MAX_RELATIONS)? {
        let row = row?;
        let text = row.text(1);
        let Some(&index) = snapshot.by_oid.get(&row.oid(0)?) else {
            continue;
        };
        let short = text.len() <= MAX_VIEW_TEXT;
        let anything = !short || walk::reads_anything(text, snapshot);
        if let Some(relation) = snapshot.relations.get_mut(index) {
            relation.opaque |= anything;
            relation.view = Some(ViewDef::new(if short { text } else { "" }));
        }
    }
    Ok(())
}
