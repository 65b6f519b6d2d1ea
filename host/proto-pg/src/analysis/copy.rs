//! COPY: what it reads and writes, how its output is written, and which columns that has.

use std::borrow::Cow;

use pg_raw_parse::{Node, nodes};
use pipeline::{Action, SqlKind};

use super::found::{Place, Top};
use super::resolve::{ANY, Sink, Source};
use super::shape::{CopyKind, CopyStyle, Field};
use super::statement::Cx;
use super::summary::Draft;
use super::walk::{Out, Walk};
use super::{ddl, tells};
use crate::catalog::{ColumnInfo, Snapshot};

/// `text`: where nothing better is known, values are looked at as this.
const TEXT: u32 = 25;

pub(super) fn copy(s: &nodes::CopyStmt, cx: &mut Cx<'_>) -> Draft {
    let mut walk = cx.walk();
    let server_file = s.filename().is_some() || s.is_program;
    if server_file {
        ddl::reaches_outside(&mut walk);
        walk.found.database.insert(Action::PostgresUtility);
        walk.found.writes = true;
    }
    if s.is_from {
        walk.expressions(s.where_clause());
        for place in s.relation().map(|r| walk.places(r)).unwrap_or_default() {
            walk.writes_to(Action::PostgresInsert, place.clone());
            tells::copied(&mut walk, s, &place);
        }
        walk.found.writes = true;
        let mut draft = cx.done(walk, SqlKind::Copy);
        draft.copy = (!server_file).then_some(CopyKind::In);
        return draft;
    }
    let style = style(s).filter(|_| !server_file);
    let mut places = Vec::new();
    let mut fields = match s.relation() {
        Some(relation) => {
            places = walk.places(relation);
            for place in &places {
                if let Place::Known(index) = place {
                    walk.snapshot.resolve_view(*index);
                    let told = walk.snapshot.told_by_rows(*index);
                    walk.found.computed.extend(told);
                }
            }
            of_table(s, &places, style.is_some(), &mut walk)
        }
        None => of_query(s.query(), style.is_some(), &mut walk, cx),
    };
    if style == Some(CopyStyle::Binary) {
        let fields = fields.iter_mut().flatten();
        fields.for_each(|field| field.format = 1);
    }
    let read = walk.found.tables.iter().map(|(_, place)| place.clone());
    let read: Vec<Place> = read.collect();
    for place in places.into_iter().chain(read) {
        walk.found.tables.insert((Action::PostgresCopyOut, place));
    }
    let mut draft = cx.done(walk, SqlKind::Copy);
    if server_file {
        draft.unmaskable = Some(super::summary::NO_MASK);
    }
    draft.copy = (!server_file).then_some(CopyKind::Out { style, fields });
    draft
}

/// The columns of a query as COPY sends them. Nobody describes them but the resolver, so no name may be in
/// it that could come to mean another relation. What cannot be masked counts as stored.
fn of_query<'t>(
    query: Node<'t>,
    masks: bool,
    walk: &mut Walk<'t, '_>,
    cx: &Cx<'_>,
) -> Option<Vec<Field>> {
    walk.query(query, Out::Top);
    let fields = match &walk.found.top {
        Top::Rows(output) if walk.found.elsewhere.is_empty() => output.described(walk.snapshot),
        _ => None,
    };
    if fields.is_none() || !masks {
        let mut again = cx.walk();
        again.query(query, Out::Sink);
        walk.found.sinks.extend(again.found.sinks);
        let elsewhere = again.found.sinks_elsewhere;
        walk.found.sinks_elsewhere.extend(elsewhere);
    }
    if fields.is_none() {
        walk.found.top = Top::Unknown;
    }
    let mut fields = fields?;
    for field in &mut fields {
        if field.type_oid == 0 {
            field.type_oid = TEXT;
        }
    }
    Some(fields)
}

/// The same for a table.
fn of_table(
    s: &nodes::CopyStmt,
    places: &[Place],
    masks: bool,
    walk: &mut Walk<'_, '_>,
) -> Option<Vec<Field>> {
    walk.found.top = Top::Unknown;
    let fields = match places {
        [Place::Known(index)] => columns(s, *index, walk.snapshot),
        _ => None,
    };
    if fields.is_none() || !masks {
        let source = |f: &Field| Source {
            relation: f.table_oid,
            column: f.attnum,
        };
        let sources: Option<Vec<Source>> =
            fields.as_ref().map(|all| all.iter().map(source).collect());
        walk.found.sinks.push(Sink {
            sources: sources.unwrap_or_else(|| vec![ANY]).into(),
            into: None,
        });
    }
    fields
}

/// As listed, or all but generated ones.
fn columns(s: &nodes::CopyStmt, index: usize, snapshot: &Snapshot) -> Option<Vec<Field>> {
    let relation = snapshot.relation(index)?;
    if !relation.is_table() {
        return None;
    }
    let field = |column: &ColumnInfo| Field {
        name: column.name.to_string(),
        table_oid: relation.oid,
        attnum: column.number,
        type_oid: column.type_oid,
        type_len: -1,
        type_mod: -1,
        format: 0,
    };
    if s.attlist().is_empty() {
        let columns = relation.columns.iter().filter(|c| !c.generated);
        return Some(columns.map(field).collect());
    }
    let listed = s.attlist().iter();
    listed
        .map(|name| relation.column_named(name.as_str()?).map(field))
        .collect()
}

/// How the values are written; none when it is not a way in which they can be read again.
fn style(s: &nodes::CopyStmt) -> Option<CopyStyle> {
    let mut given: Vec<(&str, Option<Cow<'_, str>>)> = Vec::new();
    for option in s.options() {
        let name = option.defname()?;
        // The server refuses what is given twice.
        if given.iter().any(|(n, _)| *n == name) {
            return None;
        }
        let value = match option.arg() {
            Node::String(v) => v.sval().map(Cow::Borrowed),
            Node::Boolean(b) => Some(if b.boolval { "true" } else { "false" }.into()),
            // As the server writes it: `NULL 1` is a text.
            Node::Integer(i) => Some(i.ival.to_string().into()),
            _ => None,
        };
        given.push((name, value));
    }
    let of = |name: &str| {
        let found = given.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.as_deref())
    };
    let byte = |name: &str, default: u8| match of(name) {
        None => Some(default),
        Some(value) => match value?.as_bytes() {
            [one] if one.is_ascii() => Some(*one),
            _ => None,
        },
    };
    let known = |names: &[&str]| given.iter().all(|(n, _)| names.contains(n));
    let header = match of("header").map(|v| v.unwrap_or("true").to_ascii_lowercase()) {
        None => false,
        Some(text) => match text.as_str() {
            "true" | "on" | "1" => true,
            "false" | "off" | "0" => false,
            _ => return None,
        },
    };
    match of("format").unwrap_or(Some("text"))? {
        // Another text for NULL can be that of a value as well.
        "text" if known(&["format", "delimiter", "null", "header"]) => {
            matches!(of("null"), None | Some(Some("\\N"))).then_some(CopyStyle::Text {
                delimiter: byte("delimiter", b'\t')?,
                header,
            })
        }
        // Here such a value is quoted.
        "csv"
            if known(&[
                "format",
                "delimiter",
                "null",
                "header",
                "quote",
                "escape",
                "force_quote",
            ]) =>
        {
            let quote = byte("quote", b'"')?;
            Some(CopyStyle::Csv {
                delimiter: byte("delimiter", b',')?,
                quote,
                escape: byte("escape", quote)?,
                null: of("null").unwrap_or(Some(""))?.into(),
                header,
            })
        }
        "binary" if known(&["format"]) => Some(CopyStyle::Binary),
        _ => None,
    }
}
