//! Which code of a database is trusted, and where other code runs without being called by name:
//! operators, casts, types, triggers, defaults, constraints, indexes, policies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::build::{
    Depend, MAX_FUNCTIONS, MAX_OTHER, MAX_RELATIONS, PG_ATTRDEF, PG_CLASS, Row, names, rows,
};
use super::queries as q;
use super::{
    CatalogError, FIRST_USER_OID, FunctionInfo, FunctionName, ImplicitCast, OperatorInfo, Rows,
    Snapshot,
};
use crate::analysis::functions::{Nature, is_pure_extension, known};

const PG_PROC: u32 = 1255;
const PG_TYPE: u32 = 1247;
pub(super) const PG_CONSTRAINT: u32 = 2606;
const PG_OPCLASS: u32 = 2616;
const PG_OPERATOR: u32 = 2617;
const PG_TRIGGER: u32 = 2620;
const PG_EXTENSION: u32 = 3079;
pub(super) const PG_POLICY: u32 = 3256;
const PG_CATALOG: u32 = 11;

/// What code is trusted.
pub(super) struct Code {
    /// PostgreSQL's own functions, and those of extensions that compute from their arguments only; but
    /// not what reads by name, keeps its arguments or changes the server: an operator or a cast must
    /// not hide a call of one.
    pure: HashSet<u32>,
    /// All others.
    foreign: HashMap<u32, FunctionName>,
    /// Members of such extensions, by class and OID.
    trusted: HashSet<(u32, u32)>,
    foreign_operators: HashSet<u32>,
    /// `tsvector_update_trigger` and the like.
    fills: HashSet<u32>,
}

impl Code {
    /// Does an object depend on code that is not trusted?
    pub fn is_foreign(&self, depend: &Depend) -> bool {
        let object = depend.ref_object;
        match depend.ref_class {
            PG_PROC => !self.pure.contains(&object),
            PG_OPERATOR => self.foreign_operators.contains(&object),
            PG_OPCLASS => object >= FIRST_USER_OID && !self.trusted.contains(&(PG_OPCLASS, object)),
            _ => false,
        }
    }

    /// A function that is not trusted; one that is not in the catalogue counts as such.
    fn foreign(&self, oid: u32) -> Option<FunctionName> {
        if oid == 0 || self.pure.contains(&oid) {
            return None;
        }
        let known = self.foreign.get(&oid).cloned();
        Some(known.unwrap_or_else(|| ("pg_catalog".into(), "?".into())))
    }
}

pub(super) fn functions(
    results: &[Rows],
    schemas: &HashMap<u32, Arc<str>>,
    depends: &[Depend],
    snapshot: &mut Snapshot,
) -> Result<Code, CatalogError> {
    let languages = names(results, q::LANGUAGES)?;
    let extensions = names(results, q::EXTENSIONS)?;
    let mut code = Code {
        pure: HashSet::new(),
        foreign: HashMap::new(),
        trusted: HashSet::new(),
        foreign_operators: HashSet::new(),
        fills: HashSet::new(),
    };
    // Members only: anything can depend on an extension (`DEPENDS ON EXTENSION`).
    let members = depends.iter().filter(|d| d.kind == b'e');
    for d in members.filter(|d| d.ref_class == PG_EXTENSION) {
        let name = extensions.get(&d.ref_object);
        if name.is_some_and(|name| is_pure_extension(name)) {
            code.trusted.insert((d.class, d.object));
        }
    }
    let rows_cast = rows_cast_to_anything(results, snapshot)?;
    for row in rows(results, q::FUNCTIONS, 9, MAX_FUNCTIONS)? {
        let row = row?;
        let oid = row.oid(0)?;
        let namespace = row.oid(1)?;
        let Some(schema) = schemas.get(&namespace) else {
            continue;
        };
        let name: Arc<str> = row.text(2).into();
        let full = (schema.clone(), name.clone());
        snapshot.by_function_oid.insert(oid, full);
        let initial = namespace == PG_CATALOG || &**schema == "information_schema";
        let own = initial && oid < FIRST_USER_OID;
        let language = languages.get(&row.oid(5)?).map_or("", |l| &**l);
        let trusted = code.trusted.contains(&(PG_PROC, oid));
        let pure = own || (trusted && matches!(language, "c" | "internal" | "sql"));
        let acts = matches!(
            known(&name),
            Some(Nature::Reads | Nature::Control | Nature::Keeps)
        );
        if pure && !acts {
            code.pure.insert(oid);
        } else {
            code.foreign.insert(oid, (schema.clone(), name.clone()));
        }
        if name.starts_with("tsvector_update_trigger") {
            code.fills.insert(oid);
        }
        let first = row.text(7).split(' ').next().and_then(|t| t.parse().ok());
        let takes_row = first.is_some_and(|t| match pure {
            true => &*name != "count" && fits_row(snapshot, t, false),
            false => rows_cast || fits_row(snapshot, t, true),
        });
        let overloads = snapshot.functions.entry(name).or_default();
        let info = FunctionInfo {
            schema: schema.clone(),
            volatile: row.byte(3) == b'v',
            security_definer: row.flag(4),
            returns_set: row.flag(8),
            pure,
            trusted: trusted && pure,
            takes_row,
        };
        merge(overloads, info);
    }
    Ok(code)
}

/// Can a row be turned into something else without anybody writing it, so that it fits any function?
fn rows_cast_to_anything(results: &[Rows], snapshot: &Snapshot) -> Result<bool, CatalogError> {
    for row in rows(results, q::CASTS, 4, MAX_OTHER)? {
        let row = row?;
        if row.byte(3) == b'i' && fits_row(snapshot, row.oid(0)?, true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Can a row be an argument of this type? `strictly` counts what users made as such, and the element
/// types of arrays, which a variadic function takes one by one.
fn fits_row(snapshot: &Snapshot, type_oid: u32, strictly: bool) -> bool {
    let Some(info) = snapshot.types.get(&type_oid) else {
        return true;
    };
    if info.kind == b'c' || (strictly && type_oid >= FIRST_USER_OID) {
        return true;
    }
    let rows = matches!(
        &*info.name,
        "record" | "any" | "anyelement" | "anynonarray" | "anycompatible" | "anycompatiblenonarray"
    );
    let lists = matches!(&*info.name, "_record" | "anyarray" | "anycompatiblearray");
    rows || (strictly && lists)
}

/// Names are resolved without types, so overloads in one schema count as one: the worst of each.
fn merge(overloads: &mut Vec<FunctionInfo>, info: FunctionInfo) {
    match overloads.iter_mut().find(|o| o.schema == info.schema) {
        None => overloads.push(info),
        Some(there) => {
            there.volatile |= info.volatile;
            there.returns_set |= info.returns_set;
            there.security_definer |= info.security_definer;
            there.pure &= info.pure;
            there.trusted |= info.trusted;
            there.takes_row |= info.takes_row;
        }
    }
}

pub(super) fn operators(
    results: &[Rows],
    schemas: &HashMap<u32, Arc<str>>,
    code: &mut Code,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    for row in rows(results, q::OPERATORS, 6, MAX_FUNCTIONS)? {
        let row = row?;
        let oid = row.oid(0)?;
        if code.trusted.contains(&(PG_OPERATOR, oid)) {
            snapshot.added_operators.insert(row.text(2).into());
            continue;
        }
        let Some(function) = code.foreign(row.oid(3)?) else {
            snapshot.made_operators.insert(row.text(2).into());
            continue;
        };
        code.foreign_operators.insert(oid);
        let info = OperatorInfo {
            schema: schemas.get(&row.oid(1)?).cloned().unwrap_or_default(),
            left: row.oid(4)?,
            right: row.oid(5)?,
            function,
        };
        let named = snapshot.operators.entry(row.text(2).into()).or_default();
        named.push(info);
    }
    Ok(())
}

/// Code that runs with reads and writes of relations, and with values of types.
pub(super) fn hidden(
    results: &[Rows],
    depends: &[Depend],
    code: &Code,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    let foreign: Vec<&Depend> = depends.iter().filter(|d| code.is_foreign(d)).collect();
    let mut types: HashMap<u32, Vec<FunctionName>> = HashMap::new();
    let mut stores: HashSet<u32> = HashSet::new();
    constraints(results, &foreign, code, snapshot, &mut types, &mut stores)?;
    let defaults = owners(results, q::DEFAULTS, 3)?;
    let indexes = owners(results, q::INDEXES, 6)?;
    let policies = owners(results, q::POLICIES, 2)?;
    for oid in policies.values() {
        let relation = snapshot.by_oid.get(oid).copied();
        if let Some(relation) = relation.and_then(|i| snapshot.relations.get_mut(i)) {
            relation.policies = true;
        }
    }
    for d in &foreign {
        match d.class {
            PG_ATTRDEF => stores.extend(defaults.get(&d.object)),
            // Of an index, or of the key of a partitioned table.
            PG_CLASS if d.column == 0 => {
                stores.insert(indexes.get(&d.object).copied().unwrap_or(d.object));
            }
            PG_TYPE => {
                let function = code
                    .foreign(d.ref_object)
                    .filter(|_| d.ref_class == PG_PROC);
                types.entry(d.object).or_default().extend(function);
            }
            PG_POLICY => {
                let relation = policies
                    .get(&d.object)
                    .and_then(|oid| snapshot.by_oid.get(oid));
                if let Some(relation) = relation.and_then(|&i| snapshot.relations.get_mut(i)) {
                    relation.hidden.policies = true;
                }
            }
            _ => {}
        }
    }
    for oid in stores {
        let relation = snapshot.by_oid.get(&oid).copied();
        if let Some(relation) = relation.and_then(|i| snapshot.relations.get_mut(i)) {
            relation.hidden.stores = true;
        }
    }
    triggers(results, &foreign, code, snapshot)?;
    casts(results, code, types, snapshot)
}

/// Which relation an object belongs to.
pub(super) fn owners(
    results: &[Rows],
    query: usize,
    width: usize,
) -> Result<HashMap<u32, u32>, CatalogError> {
    rows(results, query, width, MAX_OTHER)?
        .map(|row| {
            let row = row?;
            Ok((row.oid(0)?, row.oid(1)?))
        })
        .collect()
}

fn constraints(
    results: &[Rows],
    foreign: &[&Depend],
    code: &Code,
    snapshot: &mut Snapshot,
    types: &mut HashMap<u32, Vec<FunctionName>>,
    stores: &mut HashSet<u32>,
) -> Result<(), CatalogError> {
    let of_constraints = foreign.iter().filter(|d| d.class == PG_CONSTRAINT);
    let mut opaque: HashMap<u32, Vec<FunctionName>> = HashMap::new();
    for d in of_constraints {
        let function = code.foreign(d.ref_object);
        let functions = opaque.entry(d.object).or_default();
        functions.extend(function.filter(|_| d.ref_class == PG_PROC));
    }
    for row in rows(results, q::CONSTRAINTS, 10, MAX_OTHER)? {
        let row = row?;
        let (relation, domain, other) = (row.oid(1)?, row.oid(2)?, row.oid(3)?);
        if let Some(functions) = opaque.get(&row.oid(0)?) {
            if domain != 0 {
                let known = types.entry(domain).or_default();
                known.extend(functions.iter().cloned());
            }
            stores.insert(relation);
        }
        let index = snapshot.by_oid.get(&relation).copied();
        let other = snapshot.by_oid.get(&other).copied();
        if row.flag(7) {
            snapshot.deferred.extend(index.into_iter().chain(other));
        }
        if let (b'f', Some(index), Some(other)) = (row.byte(4), index, other) {
            let pairs = numbers(row.text(8)).zip(numbers(row.text(9)));
            refers(snapshot, index, other, pairs);
        }
        // 'c', 'n', 'd': CASCADE, SET NULL, SET DEFAULT.
        let acts = [5, 6]
            .iter()
            .any(|&i| matches!(row.byte(i), b'c' | b'n' | b'd'));
        if let (b'f', true, Some(index), Some(other)) = (row.byte(4), acts, index, other)
            && let Some(other) = snapshot.relations.get_mut(other)
        {
            other.cascades.push(index);
        }
    }
    Ok(())
}

/// The column numbers in an array's text.
pub(super) fn numbers(text: &str) -> impl Iterator<Item = i16> + '_ {
    let parts = text.trim_matches(['{', '}']).split(',');
    parts.filter_map(|part| part.parse().ok())
}

fn refers(
    snapshot: &mut Snapshot,
    from: usize,
    to: usize,
    pairs: impl Iterator<Item = (i16, i16)>,
) {
    let Some(relation) = snapshot.relations.get_mut(from) else {
        return;
    };
    for (own, other) in pairs {
        if let Some(column) = relation.columns.iter_mut().find(|c| c.number == own) {
            column.refers.push((to, other));
        }
    }
}

/// `tsvector_update_trigger` copies words from other columns into one of this type.
fn fills(snapshot: &mut Snapshot, relation: Option<usize>) {
    let is_words = |t: &super::TypeInfo| &*t.name == "tsvector";
    let types = snapshot.types.iter().filter(|(_, t)| is_words(t));
    let words: HashSet<u32> = types.map(|(&oid, _)| oid).collect();
    let Some(relation) = relation.and_then(|i| snapshot.relations.get_mut(i)) else {
        return;
    };
    for column in &mut relation.columns {
        column.filled |= words.contains(&column.type_oid);
    }
}

fn triggers(
    results: &[Rows],
    foreign: &[&Depend],
    code: &Code,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    const DISABLED: u8 = b'D';
    let of_triggers = foreign.iter().filter(|d| d.class == PG_TRIGGER);
    let opaque: HashSet<u32> = of_triggers.map(|d| d.object).collect();
    for row in rows(results, q::TRIGGERS, 6, MAX_OTHER)? {
        let row = row?;
        let index = snapshot.by_oid.get(&row.oid(1)?).copied();
        if code.fills.contains(&row.oid(2)?) {
            fills(snapshot, index);
        }
        let runs = opaque.contains(&row.oid(0)?) || code.foreign(row.oid(2)?).is_some();
        if !runs || row.byte(4) == DISABLED {
            continue;
        }
        snapshot.deferred_triggers |= row.flag(5);
        let events: i32 = row.get(3, "a trigger's type")?;
        if let Some(relation) = index.and_then(|i| snapshot.relations.get_mut(i)) {
            // Bits that do not fit are none that we know: all of them, then.
            relation.hidden.triggers |= u16::try_from(events).unwrap_or(u16::MAX);
        }
    }
    for row in rows(results, q::EVENT_TRIGGERS, 2, MAX_RELATIONS)? {
        let row = row?;
        let runs = code.foreign(row.oid(0)?).is_some();
        snapshot.event_triggers |= runs && row.byte(1) != DISABLED;
    }
    Ok(())
}

/// Casts by functions that are not trusted, and types whose values run such code.
fn casts(
    results: &[Rows],
    code: &Code,
    types: HashMap<u32, Vec<FunctionName>>,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    let containers = containers(snapshot);
    let users = users(snapshot);
    for (oid, functions) in types {
        let reached = closure(oid, &containers);
        store(snapshot, &users, &reached, None);
        convert(snapshot, &reached, &functions);
        let plain = domains_over(snapshot, oid, &containers);
        for &oid in reached.difference(&plain) {
            read(snapshot, oid, &functions);
        }
    }
    for row in rows(results, q::CASTS, 4, MAX_OTHER)? {
        let row = row?;
        let oid = row.oid(2)?;
        if row.byte(3) == b'i' {
            snapshot.implicit_targets.insert(row.oid(1)?);
        }
        own_cast(&row, snapshot)?;
        let Some(function) = code.foreign(oid) else {
            continue;
        };
        let reached = closure(row.oid(1)?, &containers);
        // 'a' and 'i': storing is enough.
        if row.byte(3) != b'e' {
            store(snapshot, &users, &reached, Some(&function));
        }
        convert(snapshot, &reached, std::slice::from_ref(&function));
        if row.byte(3) == b'i' {
            let (source, target) = (row.oid(0)?, row.oid(1)?);
            snapshot.implicit_casts.push(ImplicitCast {
                source,
                target,
                function,
            });
        }
    }
    Ok(())
}

/// Of PostgreSQL's own types, whatever function it runs. Writing a value as text cannot fail.
fn own_cast(row: &Row<'_>, snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    let (source, target, function) = (row.oid(0)?, row.oid(1)?, row.oid(2)?);
    if source >= FIRST_USER_OID {
        return Ok(());
    }
    let info = snapshot.types.get(&target);
    let name = info.map(|t| t.name.clone()).unwrap_or_default();
    let written = function == 0 && matches!(&*name, "text" | "varchar" | "bpchar");
    if row.byte(3) == b'i' && !written {
        match target < FIRST_USER_OID {
            true => snapshot.bends = true,
            false => snapshot.bends_beside = true,
        }
    }
    if function != 0 {
        snapshot.recast.insert(name);
    }
    Ok(())
}

/// From a type to those that have values of it inside.
fn containers(snapshot: &Snapshot) -> HashMap<u32, Vec<u32>> {
    let mut containers: HashMap<u32, Vec<u32>> = HashMap::new();
    for (&oid, info) in &snapshot.types {
        for part in [info.element, info.base] {
            containers.entry(part).or_default().push(oid);
        }
        let rows = snapshot.by_oid.get(&info.relation);
        let rows = rows.and_then(|&i| snapshot.relations.get(i));
        for column in rows.iter().flat_map(|r| &r.columns) {
            containers.entry(column.type_oid).or_default().push(oid);
        }
    }
    containers.remove(&0);
    containers
}

fn closure(from: u32, containers: &HashMap<u32, Vec<u32>>) -> HashSet<u32> {
    let mut reached = HashSet::new();
    let mut queue = vec![from];
    while let Some(oid) = queue.pop() {
        if reached.insert(oid) {
            queue.extend(containers.get(&oid).into_iter().flatten());
        }
    }
    reached
}

/// A domain, and those that are nothing but it.
fn domains_over(
    snapshot: &Snapshot,
    from: u32,
    containers: &HashMap<u32, Vec<u32>>,
) -> HashSet<u32> {
    let is_domain = |oid: &u32| snapshot.types.get(oid).is_some_and(|t| t.kind == b'd');
    let mut found = HashSet::new();
    let mut queue = vec![from];
    while let Some(oid) = queue.pop() {
        if is_domain(&oid) && found.insert(oid) {
            queue.extend(containers.get(&oid).into_iter().flatten());
        }
    }
    found
}

/// Constants of this type run these.
fn read(snapshot: &mut Snapshot, oid: u32, functions: &[FunctionName]) {
    let known = snapshot.read_types.entry(oid).or_default();
    for function in functions {
        if !known.contains(function) {
            known.push(function.clone());
        }
    }
}

/// Casts to these types are written by their names.
fn convert(snapshot: &mut Snapshot, types: &HashSet<u32>, functions: &[FunctionName]) {
    for info in types.iter().filter_map(|oid| snapshot.types.get(oid)) {
        let conversion = snapshot.casts.entry(info.name.clone()).or_default();
        for function in functions {
            if !conversion.functions.contains(function) {
                conversion.functions.push(function.clone());
            }
        }
    }
}

/// Which relations have columns of a type.
fn users(snapshot: &Snapshot) -> HashMap<u32, Vec<usize>> {
    let mut users: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, relation) in snapshot.relations.iter().enumerate() {
        for column in &relation.columns {
            let known = users.entry(column.type_oid).or_default();
            if known.last() != Some(&index) {
                known.push(index);
            }
        }
    }
    users
}

/// Columns of these types run code when something is stored in them.
fn store(
    snapshot: &mut Snapshot,
    users: &HashMap<u32, Vec<usize>>,
    types: &HashSet<u32>,
    cast: Option<&FunctionName>,
) {
    for &index in types.iter().filter_map(|oid| users.get(oid)).flatten() {
        if let Some(relation) = snapshot.relations.get_mut(index) {
            relation.hidden.stores = true;
            relation.hidden.casts.extend(cast.cloned());
        }
    }
}
