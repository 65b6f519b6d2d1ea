//! Queries from a grammar and a seed. Most are legal; those that the server refuses count as such.
//!
//! Each session has a temper: it keeps to unlabelled columns, shows labelled ones or what is made of
//! them, or also computes with them in conditions, groups and orders.

use super::tables::{Column, EIGHTEEN, TABLES, Table, Type};
use crate::vaults::Mode;

/// How deep queries nest in FROM and in set operations.
const DEPTH: u32 = 2;

pub struct Generator {
    state: u64,
    tables: Vec<&'static Table>,
    version: u32,
    clean: bool,
    names: u32,
    /// Labelled columns in what is shown.
    shows: bool,
    /// Labelled columns in what decides about rows.
    computes: bool,
    /// Common table expressions that the query can read.
    ctes: Vec<(String, Vec<Column>)>,
}

/// A query, and the columns of its result.
type Query = (String, Vec<Column>);

impl Generator {
    pub fn new(seed: u64, version: u32) -> Self {
        let mut tables: Vec<&Table> = TABLES.iter().collect();
        if version >= 18 {
            tables.extend(EIGHTEEN);
        }
        Self {
            state: seed,
            tables,
            version,
            clean: false,
            names: 0,
            shows: false,
            computes: false,
            ctes: Vec::new(),
        }
    }

    /// Never a labelled column.
    pub fn clean(mut self) -> Self {
        self.clean = true;
        self
    }

    /// The next session's statements, and how they are sent.
    pub fn session(&mut self) -> (Vec<String>, Mode) {
        self.names = 0;
        self.ctes.clear();
        let temper = self.below(20);
        self.shows = !self.clean && temper >= 4;
        self.computes = !self.clean && temper >= 15;
        let mode = Mode::ALL[self.below(3)];
        (self.statements(), mode)
    }

    fn statements(&mut self) -> Vec<String> {
        let kind = self.below(100);
        if (88..97).contains(&kind) && !self.clean {
            return self.change();
        }
        let (query, _) = self.query(0, None);
        let one = |text: String| vec![text];
        match kind {
            0..60 => one(query),
            60..65 => one(format!("COPY ({query}) TO STDOUT")),
            65..70 => one(format!("EXPLAIN (COSTS OFF) {query}")),
            70..73 => one(format!("EXPLAIN {query}")),
            73..76 => one(format!(
                "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF) {query}"
            )),
            76..82 => vec![
                "BEGIN".into(),
                format!("DECLARE c SCROLL CURSOR FOR {query}"),
                "FETCH 3 FROM c".into(),
                "FETCH ABSOLUTE 2 FROM c".into(),
                "FETCH ALL FROM c".into(),
                "ROLLBACK".into(),
            ],
            82..88 => vec![
                format!("PREPARE p AS {query}"),
                "EXECUTE p".into(),
                "DEALLOCATE p".into(),
            ],
            _ => one(format!("SELECT count(*), min(q::text) FROM ({query}) AS q")),
        }
    }

    // ---- chance

    /// splitmix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.random() % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    // ---- queries

    /// A query whose columns have these types, or any.
    fn query(&mut self, depth: u32, types: Option<&[Type]>) -> Query {
        match self.below(20) {
            0..2 if depth == 0 => self.with(types),
            2 if depth == 0 => self.recursive(types),
            3..6 if depth < DEPTH => self.set_operation(depth, types),
            6 => self.values(types),
            _ => self.select(depth, types),
        }
    }

    fn types(&mut self, types: Option<&[Type]>) -> Vec<Type> {
        const ANY: [Type; 7] = [
            Type::Int,
            Type::Text,
            Type::Num,
            Type::Date,
            Type::Bool,
            Type::Text,
            Type::Int,
        ];
        match types {
            Some(types) => types.to_vec(),
            None => {
                let n = 1 + self.below(4);
                (0..n).map(|_| ANY[self.below(ANY.len())]).collect()
            }
        }
    }

    fn with(&mut self, types: Option<&[Type]>) -> Query {
        let name = self.name("w");
        let (inner, columns) = self.query(1, None);
        let how = ["", "MATERIALIZED ", "NOT MATERIALIZED "][self.below(3)];
        self.ctes.push((name.clone(), columns));
        let (outer, columns) = self.query(1, types);
        self.ctes.pop();
        (format!("WITH {name} AS {how}({inner}) {outer}"), columns)
    }

    fn recursive(&mut self, types: Option<&[Type]>) -> Query {
        let name = self.name("r");
        let (from, scope) = self.source(1);
        let text = self.expression(Type::Text, &scope, self.shows, 2);
        let labelled = self.shows;
        let (union, step) = match self.below(2) {
            0 => ("UNION ALL", "x"),
            _ => ("UNION ALL", "reverse(x)"),
        };
        let start = format!("SELECT 1, ({text})::text FROM {from}");
        let next = format!("SELECT n + 1, {step} FROM {name} WHERE n < 3");
        let column = |n: &str, kind, labelled| Column {
            name: n.to_owned(),
            kind,
            labelled,
        };
        self.ctes.push((
            name.clone(),
            vec![
                column("n", Type::Int, false),
                column("x", Type::Text, labelled),
            ],
        ));
        let (outer, columns) = self.query(1, types);
        self.ctes.pop();
        (
            format!("WITH RECURSIVE {name} (n, x) AS ({start} {union} {next}) {outer}"),
            columns,
        )
    }

    fn set_operation(&mut self, depth: u32, types: Option<&[Type]>) -> Query {
        let types = self.types(types);
        let (a, columns) = self.query(depth + 1, Some(&types));
        let (b, others) = self.query(depth + 1, Some(&types));
        let labelled = columns.iter().chain(&others).any(|c| c.labelled);
        let operator = match self.below(6) {
            0 if !labelled || self.computes => "UNION",
            1 if !labelled || self.computes => "INTERSECT",
            2 if !labelled || self.computes => "EXCEPT",
            3 if !labelled || self.computes => "EXCEPT ALL",
            _ => "UNION ALL",
        };
        let columns = columns
            .into_iter()
            .zip(&others)
            .map(|(a, b)| Column {
                labelled: a.labelled || b.labelled,
                ..a
            })
            .collect();
        (format!("({a}) {operator} ({b})"), columns)
    }

    fn values(&mut self, types: Option<&[Type]>) -> Query {
        let types = self.types(types);
        let mut rows = Vec::new();
        for _ in 0..2 {
            let row: Vec<String> = types
                .iter()
                .map(|kind| self.expression(*kind, &[], self.shows, 1))
                .collect();
            rows.push(format!("({})", row.join(", ")));
        }
        let name = self.name("v");
        let names: Vec<String> = (0..types.len()).map(|i| format!("c{i}")).collect();
        let columns = types
            .iter()
            .zip(&names)
            .map(|(kind, name)| Column {
                name: name.clone(),
                kind: *kind,
                labelled: self.shows,
            })
            .collect();
        (
            format!(
                "SELECT * FROM (VALUES {}) AS {name} ({})",
                rows.join(", "),
                names.join(", ")
            ),
            columns,
        )
    }

    fn select(&mut self, depth: u32, types: Option<&[Type]>) -> Query {
        let (from, scope) = self.from(depth);
        let mut tail = String::new();
        if self.chance(55) {
            let condition = self.condition(&scope, self.computes, 1);
            tail.push_str(&format!(" WHERE {condition}"));
        }
        let grouped = self.chance(25);
        let (list, columns) = if grouped {
            let (list, columns, group) = self.grouped(&scope, types);
            tail.push_str(&group);
            (list, columns)
        } else {
            self.list(&scope, types)
        };
        let labelled = columns.iter().any(|c| c.labelled);
        let distinct = !grouped && self.chance(10) && (!labelled || self.computes);
        if self.chance(60) {
            let keys: Vec<String> = columns
                .iter()
                .enumerate()
                .filter(|(_, c)| (!c.labelled || self.computes) && c.kind != Type::Json)
                .map(|(i, _)| (i + 1).to_string())
                .collect();
            let order = match grouped || distinct {
                true => keys.join(", "),
                false => self.order_keys(&scope, self.computes),
            };
            if !order.is_empty() {
                tail.push_str(&format!(" ORDER BY {order}"));
            }
            if self.chance(40) {
                tail.push_str(&format!(
                    " LIMIT {} OFFSET {}",
                    1 + self.below(9),
                    self.below(3)
                ));
            }
        }
        let distinct = if distinct { "DISTINCT " } else { "" };
        (
            format!("SELECT {distinct}{list} FROM {from}{tail}"),
            columns,
        )
    }

    fn list(&mut self, scope: &[Column], types: Option<&[Type]>) -> (String, Vec<Column>) {
        let wanted = self.types(types);
        let mut list = Vec::new();
        let mut columns = Vec::new();
        for (i, kind) in wanted.iter().enumerate() {
            let (text, kind) = match self.below(12) {
                0..5 => (self.leaf(*kind, scope, self.shows), *kind),
                5 if types.is_none() => self.window(scope, self.shows),
                _ => (self.expression(*kind, scope, self.shows, 0), *kind),
            };
            let name = format!("c{i}");
            list.push(format!("{text} AS {name}"));
            columns.push(Column {
                name,
                kind,
                labelled: self.shows,
            });
        }
        (list.join(", "), columns)
    }

    /// The list, its columns, and GROUP BY with what follows.
    fn grouped(
        &mut self,
        scope: &[Column],
        types: Option<&[Type]>,
    ) -> (String, Vec<Column>, String) {
        let key = match types.and_then(|t| t.first()) {
            Some(kind) => *kind,
            None => [Type::Text, Type::Int, Type::Bool][self.below(3)],
        };
        let key_text = self.leaf(key, scope, self.computes);
        let mut list = vec![format!("{key_text} AS c0")];
        let mut columns = vec![Column {
            name: "c0".into(),
            kind: key,
            labelled: self.computes,
        }];
        let rest = types.map_or(1 + self.below(3), |t| t.len() - 1);
        for i in 1..=rest {
            let wanted = types.and_then(|t| t.get(i)).copied();
            let (text, kind) = self.aggregate_of(wanted, scope);
            list.push(format!("{text} AS c{i}"));
            columns.push(Column {
                name: format!("c{i}"),
                kind,
                labelled: self.shows,
            });
        }
        let by = match self.below(8) {
            // By position, so that a literal is no constant to group by.
            0 if types.is_none() => "ROLLUP (1)".replace('1', &key_text),
            1 if types.is_none() => format!("GROUPING SETS (({key_text}), ())"),
            _ => "1".into(),
        };
        let mut group = format!(" GROUP BY {by}");
        if self.chance(25) {
            let (having, kind) = self.aggregate(scope, self.computes);
            let test = match kind {
                Type::Int | Type::Num => format!("{having} > 2"),
                _ => format!("{having} IS NOT NULL"),
            };
            group.push_str(&format!(" HAVING {test}"));
        }
        (list.join(", "), columns, group)
    }

    fn aggregate_of(&mut self, wanted: Option<Type>, scope: &[Column]) -> (String, Type) {
        let Some(kind) = wanted else {
            return self.aggregate(scope, self.shows);
        };
        let inner = self.expression(kind, scope, self.shows, 1);
        let text = match kind {
            Type::Bool => format!("bool_and({inner})"),
            Type::Json | Type::Texts => format!("(array_agg({inner} ORDER BY 1))[1]"),
            _ => format!("max({inner})"),
        };
        (text, kind)
    }

    // ---- FROM

    fn from(&mut self, depth: u32) -> (String, Vec<Column>) {
        let (mut from, mut scope) = self.source(depth);
        let joins = [0, 0, 1, 1, 1, 2][self.below(6)];
        for _ in 0..joins {
            let lateral = self.chance(10);
            let (item, columns) = if lateral {
                self.lateral(&scope)
            } else {
                self.source(depth + 1)
            };
            let on = self.equality(&scope, &columns);
            let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "JOIN"][self.below(5)];
            let kind = if lateral { "LEFT JOIN" } else { kind };
            from.push_str(&match on {
                Some(on) => {
                    let mut on = on;
                    if kind != "FULL JOIN" && self.chance(20) {
                        let both: Vec<Column> = scope.iter().chain(&columns).cloned().collect();
                        on = format!("{on} AND {}", self.condition(&both, self.computes, 2));
                    }
                    format!(" {kind} {item} ON {on}")
                }
                None => format!(" CROSS JOIN {item}"),
            });
            scope.extend(columns);
        }
        (from, scope)
    }

    /// An equality between columns that are not labelled, or also between such as are.
    fn equality(&mut self, left: &[Column], right: &[Column]) -> Option<String> {
        let kinds = [Type::Int, Type::Text];
        let computes = self.computes && self.chance(30);
        let fit = |columns: &[Column], kind| -> Vec<String> {
            let fit = columns
                .iter()
                .filter(|c| c.kind == kind && (computes || !c.labelled));
            fit.map(|c| c.name.clone()).collect()
        };
        kinds.iter().find_map(|kind| {
            let (left, right) = (fit(left, *kind), fit(right, *kind));
            if left.is_empty() || right.is_empty() {
                return None;
            }
            let left = &left[self.below(left.len())];
            Some(format!("{left} = {}", right[self.below(right.len())]))
        })
    }

    /// One relation, sub-select or function, and its columns, qualified.
    pub fn source(&mut self, depth: u32) -> (String, Vec<Column>) {
        let alias = self.name("t");
        let kind = self.below(20);
        if kind < 5 && depth < DEPTH {
            let (query, columns) = self.query(depth + 1, None);
            return (format!("({query}) AS {alias}"), qualified(&alias, columns));
        }
        if kind < 10 && !self.ctes.is_empty() {
            let chosen = self.below(self.ctes.len());
            let (name, columns) = self.ctes[chosen].clone();
            return (format!("{name} AS {alias}"), qualified(&alias, columns));
        }
        if kind == 10 {
            let column = Column {
                name: "g".into(),
                kind: Type::Int,
                labelled: false,
            };
            let call = format!("generate_series(1, {}) AS {alias} (g)", 1 + self.below(5));
            return (call, qualified(&alias, vec![column]));
        }
        let table = self.table();
        let columns = qualified(&alias, table.columns().collect());
        let only = if self.chance(5) { "ONLY " } else { "" };
        (format!("{only}{} AS {alias}", table.name), columns)
    }

    fn table(&mut self) -> &'static Table {
        let chosen = self.below(self.tables.len());
        self.tables[chosen]
    }

    fn lateral(&mut self, scope: &[Column]) -> (String, Vec<Column>) {
        let alias = self.name("l");
        let text = self.expression(Type::Text, scope, self.shows, 2);
        let key = self.leaf(Type::Int, scope, false);
        let columns = [("k", Type::Int, false), ("x", Type::Text, self.shows)];
        let columns = columns.map(|(name, kind, labelled)| Column {
            name: name.into(),
            kind,
            labelled,
        });
        (
            format!("LATERAL (SELECT {key} AS k, {text} AS x) AS {alias}"),
            qualified(&alias, columns.into()),
        )
    }

    pub fn scalar_subquery(&mut self, kind: Type, outer: &[Column], labelled: bool) -> String {
        let alias = self.name("s");
        let table = self.table();
        let inner = qualified(&alias, table.columns().collect());
        let value = self.leaf(kind, &inner, labelled);
        let value = match kind {
            Type::Bool => format!("bool_or({value})"),
            Type::Json | Type::Texts => format!("(array_agg({value}))[1:1]"),
            _ => format!("max({value})"),
        };
        let value = match kind {
            Type::Json => value.replace("[1:1]", "[1]"),
            Type::Texts => format!("ARRAY[{}::text]", value.replace("[1:1]", "[1]")),
            _ => value,
        };
        let condition = self
            .equality(outer, &inner)
            .map(|on| format!(" WHERE {on}"))
            .unwrap_or_default();
        format!("(SELECT {value} FROM {} AS {alias}{condition})", table.name)
    }

    pub fn exists(&mut self, outer: &[Column], labelled: bool) -> String {
        let alias = self.name("e");
        let table = self.table();
        let inner = qualified(&alias, table.columns().collect());
        let both: Vec<Column> = outer.iter().chain(&inner).cloned().collect();
        let condition = match self.equality(outer, &inner) {
            Some(on) => on,
            None => self.leaf(Type::Bool, &both, labelled),
        };
        format!(
            "EXISTS (SELECT 1 FROM {} AS {alias} WHERE {condition})",
            table.name
        )
    }

    // ---- changes

    fn change(&mut self) -> Vec<String> {
        let people = qualified("people", TABLES[0].columns().collect());
        let shown = self.expression(Type::Text, &people, self.shows, 1);
        let condition = self.condition(&people, self.computes, 2);
        let key = "people.id % 2 = 0";
        let statement = match self.below(if self.version >= 18 { 9 } else { 7 }) {
            0 => format!(
                "UPDATE people SET notes = 'x' WHERE {key} AND {condition} RETURNING id, {shown}"
            ),
            1 => format!(
                "DELETE FROM visits USING people WHERE people.id = visits.id AND {condition} RETURNING visits.id, {shown}"
            ),
            2 => {
                let (query, _) = self.query(1, Some(&[Type::Text]));
                format!(
                    "INSERT INTO scratch (id, note) SELECT 500 + row_number() OVER (), q.c0 || row_number() OVER () FROM ({query}) AS q (c0) RETURNING *"
                )
            }
            3 => format!(
                "INSERT INTO scratch (id, note) SELECT id, 'p' || id FROM people WHERE {condition} ON CONFLICT (id) DO UPDATE SET n = excluded.id + 1 RETURNING id, n"
            ),
            4 => format!(
                "MERGE INTO scratch AS s USING people ON people.id = s.id WHEN MATCHED AND {condition} THEN UPDATE SET n = 0 WHEN MATCHED THEN DELETE"
            ),
            5 => format!(
                "WITH u AS (UPDATE people SET notes = name WHERE {key} RETURNING id, {shown} AS x) SELECT * FROM u"
            ),
            6 => format!(
                "UPDATE scratch SET note = scratch.id || {shown} FROM people WHERE people.id = scratch.id RETURNING scratch.id"
            ),
            7 => format!(
                "UPDATE people SET notes = 'y' WHERE {key} RETURNING old.notes, new.notes, {shown}"
            ),
            _ => format!(
                "MERGE INTO scratch AS s USING people ON people.id = s.id WHEN MATCHED THEN UPDATE SET n = 1 RETURNING merge_action(), old.n, {shown}"
            ),
        };
        vec![
            "BEGIN".into(),
            statement,
            "SELECT count(*), sum(n), count(note) FROM scratch".into(),
            "ROLLBACK".into(),
        ]
    }
}

fn qualified(alias: &str, columns: Vec<Column>) -> Vec<Column> {
    columns
        .into_iter()
        .map(|c| Column {
            name: format!("{alias}.{}", c.name),
            ..c
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let sessions = |seed| {
            let mut generator = Generator::new(seed, 18);
            (0..50).map(|_| generator.session()).collect::<Vec<_>>()
        };
        assert_eq!(sessions(7), sessions(7));
        assert_ne!(sessions(7), sessions(8));
    }
}
