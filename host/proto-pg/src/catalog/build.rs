//! From query results to a [`Snapshot`]: joined here, bounded, and total on what a server may send.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use super::queries as q;
use super::{
    CatalogError, ColumnInfo, FIRST_USER_OID, FunctionInfo, RelationInfo, Rows, Snapshot, TypeInfo,
};
use crate::analysis::{flow, functions};

const MAX_RELATIONS: usize = 500_000;
const MAX_COLUMNS: usize = 5_000_000;
const MAX_FUNCTIONS: usize = 200_000;
const MAX_OTHER: usize = 5_000_000;
/// A view definition longer than this is not read: its columns all count as tainted.
const MAX_VIEW_TEXT: usize = 256 * 1024;

const PG_CLASS: u32 = 1259;
const PG_PROC: u32 = 1255;
const PG_ATTRDEF: u32 = 2604;
const PG_OPERATOR: u32 = 2617;
const PG_REWRITE: u32 = 2618;
const PG_EXTENSION: u32 = 3079;
const PG_CATALOG: u32 = 11;

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
    let code = functions_and_operators(results, &schemas, &depends, &mut snapshot)?;
    casts(results, &code, &mut snapshot)?;
    generated(results, &depends, &mut snapshot)?;
    rules(results, &depends, &code, &mut snapshot)?;
    views(results, &mut snapshot)?;
    Ok(snapshot)
}

/// Reads one value of a row.
struct Row<'a> {
    query: usize,
    values: &'a [Option<String>],
}

impl<'a> Row<'a> {
    fn text(&self, i: usize) -> &'a str {
        self.values
            .get(i)
            .and_then(|v| v.as_deref())
            .unwrap_or_default()
    }

    fn get<T: FromStr>(&self, i: usize, what: &'static str) -> Result<T, CatalogError> {
        let value = self.text(i);
        value.parse().map_err(|_| CatalogError::Value {
            query: self.query,
            what,
            value: value.chars().take(64).collect(),
        })
    }

    fn oid(&self, i: usize) -> Result<u32, CatalogError> {
        self.get(i, "an OID")
    }

    fn flag(&self, i: usize) -> bool {
        self.text(i) == "t"
    }

    fn byte(&self, i: usize) -> u8 {
        self.text(i).bytes().next().unwrap_or(b' ')
    }
}

fn rows<'a>(
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

fn names(results: &[Rows], query: usize) -> Result<HashMap<u32, Arc<str>>, CatalogError> {
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
        if !matches!(kind, b'r' | b'v' | b'm' | b'f' | b'p' | b'S') {
            continue;
        }
        let Some(schema) = schemas.get(&row.oid(1)?) else {
            continue;
        };
        let oid = row.oid(0)?;
        let name: Arc<str> = row.text(2).into();
        let index = snapshot.relations.len();
        snapshot.by_oid.insert(oid, index);
        snapshot
            .by_name
            .entry(name.clone())
            .or_default()
            .push(index);
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
        });
    }
    Ok(())
}

fn columns(results: &[Rows], snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    // Column names repeat a lot: one allocation for each.
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    for row in rows(results, q::ATTRIBUTES, 6, MAX_COLUMNS)? {
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
    for row in rows(results, q::TYPES, 4, MAX_OTHER)? {
        let row = row?;
        let info = TypeInfo {
            name: row.text(2).into(),
            kind: row.byte(3),
        };
        snapshot.types.insert(row.oid(0)?, info);
    }
    Ok(())
}

struct Depend {
    class: u32,
    object: u32,
    column: i32,
    ref_class: u32,
    ref_object: u32,
    ref_column: i32,
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
            })
        })
        .collect()
}

/// What code is trusted.
struct Code {
    pure_functions: HashSet<u32>,
    foreign_operators: HashSet<u32>,
    /// Its result depends on its arguments only, says who made it.
    immutable: HashSet<u32>,
}

fn functions_and_operators(
    results: &[Rows],
    schemas: &HashMap<u32, Arc<str>>,
    depends: &[Depend],
    snapshot: &mut Snapshot,
) -> Result<Code, CatalogError> {
    let languages = names(results, q::LANGUAGES)?;
    let extensions = names(results, q::EXTENSIONS)?;
    let mut trusted: HashSet<(u32, u32)> = HashSet::new();
    for d in depends.iter().filter(|d| d.ref_class == PG_EXTENSION) {
        let name = extensions.get(&d.ref_object);
        if name.is_some_and(|name| functions::is_pure_extension(name)) {
            trusted.insert((d.class, d.object));
        }
    }
    let mut pure = HashSet::new();
    let mut immutable = HashSet::new();
    for row in rows(results, q::FUNCTIONS, 8, MAX_FUNCTIONS)? {
        let row = row?;
        let oid = row.oid(0)?;
        let namespace = row.oid(1)?;
        let Some(schema) = schemas.get(&namespace) else {
            continue;
        };
        let own = namespace == PG_CATALOG && oid < FIRST_USER_OID;
        let language = languages.get(&row.oid(5)?).map_or("", |l| &**l);
        let is_pure = own
            || (trusted.contains(&(PG_PROC, oid)) && matches!(language, "c" | "internal" | "sql"));
        if is_pure {
            pure.insert(oid);
        }
        if row.byte(3) == b'i' {
            immutable.insert(oid);
        }
        let first = row.text(7).split(' ').next().and_then(|t| t.parse().ok());
        let takes_row = row.text(2) != "count" && first.is_some_and(|t| may_be_row(snapshot, t));
        let name: Arc<str> = row.text(2).into();
        let overloads = snapshot.functions.entry(name).or_default();
        let info = FunctionInfo {
            schema: schema.clone(),
            volatile: row.byte(3) == b'v',
            security_definer: row.flag(4),
            pure: is_pure,
            takes_row,
        };
        merge(overloads, info);
    }
    let mut foreign_operators = HashSet::new();
    for row in rows(results, q::OPERATORS, 3, MAX_FUNCTIONS)? {
        let row = row?;
        let oid = row.oid(0)?;
        if !trusted.contains(&(PG_OPERATOR, oid)) {
            snapshot.operators.insert(row.text(2).into());
            foreign_operators.insert(oid);
        }
    }
    Ok(Code {
        pure_functions: pure,
        foreign_operators,
        immutable,
    })
}

/// Casts by functions that are not PostgreSQL's own. One that needs not be written could run in any
/// expression; where it is declared immutable, that is believed.
fn casts(results: &[Rows], code: &Code, snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    for row in rows(results, q::CASTS, 3, MAX_OTHER)? {
        let row = row?;
        let function = row.oid(1)?;
        if code.pure_functions.contains(&function) {
            continue;
        }
        if let Some(target) = snapshot.types.get(&row.oid(0)?) {
            snapshot.casts.insert(target.name.clone());
        }
        snapshot.implicit_casts |= row.byte(2) == b'i' && !code.immutable.contains(&function);
    }
    if !snapshot.casts.is_empty() {
        // A domain is reached by the cast to its base type.
        let domains = snapshot.types.values().filter(|t| t.kind == b'd');
        snapshot.casts.extend(domains.map(|t| t.name.clone()));
    }
    Ok(())
}

/// A composite type, or a pseudo-type that a row fits.
fn may_be_row(snapshot: &Snapshot, type_oid: u32) -> bool {
    match snapshot.types.get(&type_oid) {
        None => true,
        Some(info) if info.kind == b'c' => true,
        Some(info) => matches!(
            &*info.name,
            "record"
                | "any"
                | "anyelement"
                | "anynonarray"
                | "anycompatible"
                | "anycompatiblenonarray"
        ),
    }
}

/// Names are resolved without types, so overloads in one schema count as one: the worst of each.
fn merge(overloads: &mut Vec<FunctionInfo>, info: FunctionInfo) {
    match overloads.iter_mut().find(|o| o.schema == info.schema) {
        None => overloads.push(info),
        Some(there) => {
            there.volatile |= info.volatile;
            there.security_definer |= info.security_definer;
            there.pure &= info.pure;
            there.takes_row |= info.takes_row;
        }
    }
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
        defaults.insert(row.oid(0)?, (row.oid(1)?, row.get(2, "a column number")?));
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
    for row in rows(results, q::REWRITES, 2, MAX_RELATIONS)? {
        let row = row?;
        if let Some(&index) = snapshot.by_oid.get(&row.oid(1)?) {
            owner.insert(row.oid(0)?, index);
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
        let foreign_code = match d.ref_class {
            PG_PROC => !code.pure_functions.contains(&d.ref_object),
            PG_OPERATOR => code.foreign_operators.contains(&d.ref_object),
            _ => false,
        };
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
        let flow = if text.len() <= MAX_VIEW_TEXT {
            flow::of_view(text, snapshot)
        } else {
            None
        };
        if let Some(relation) = snapshot.relations.get_mut(index) {
            relation.opaque |= flow.as_ref().is_none_or(|f| f.opaque);
            relation.view = flow;
        }
    }
    Ok(())
}
