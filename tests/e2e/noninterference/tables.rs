//! The vault's relations, as the generator knows them.

/// A type of values, coarse enough to write expressions over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Int,
    Text,
    Num,
    Date,
    Bool,
    Json,
    Texts,
}
use Type::{Bool, Date, Int, Json, Num, Text, Texts};

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    pub labelled: bool,
}

pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Type, bool)],
}

const PEOPLE: &[(&str, Type, bool)] = &[
    ("id", Int, false),
    ("name", Text, false),
    ("dept_id", Int, false),
    ("boss_id", Int, false),
    ("city", Text, false),
    ("joined", Date, false),
    ("level", Int, false),
    ("rating", Num, false),
    ("active", Bool, false),
    ("notes", Text, false),
    ("tags", Texts, false),
    ("profile", Json, false),
    ("ssn", Text, true),
    ("salary", Int, true),
    ("pay", Num, true),
    ("born", Date, true),
    ("vip", Bool, true),
    ("doc", Json, true),
    ("codes", Texts, true),
    ("tail", Text, true),
];
const EVENTS: &[(&str, Type, bool)] = &[
    ("id", Int, false),
    ("at", Date, false),
    ("person_id", Int, false),
    ("kind", Text, false),
    ("amount", Num, false),
    ("payload", Text, true),
];

#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    Table { name: "people", columns: PEOPLE },
    Table { name: "depts", columns: &[("id", Int, false), ("name", Text, false), ("floor", Int, false), ("budget", Num, false)] },
    Table { name: "badges", columns: &[("code", Text, true), ("person_id", Int, false), ("color", Text, false)] },
    Table { name: "visits", columns: &[("id", Int, false), ("badge", Text, true), ("minutes", Int, false)] },
    Table { name: "events", columns: EVENTS },
    Table { name: "events_2024", columns: EVENTS },
    Table { name: "events_2025", columns: EVENTS },
    Table { name: "assets", columns: &[("id", Int, false), ("label", Text, false), ("price", Int, false), ("serial", Text, true)] },
    Table { name: "vehicles", columns: &[("id", Int, false), ("label", Text, false), ("price", Int, false), ("serial", Text, true), ("wheels", Int, false), ("plate", Text, true)] },
    Table { name: "orders", columns: &[("id", Int, false), ("person_id", Int, false), ("item", Text, false), ("quantity", Int, false), ("price", Num, false), ("state", Text, false)] },
    Table { name: "scratch", columns: &[("id", Int, false), ("note", Text, false), ("n", Int, false), ("d", Date, false)] },
    Table { name: "staff", columns: &[("id", Int, false), ("name", Text, false), ("city", Text, false), ("level", Int, false), ("active", Bool, false)] },
    Table { name: "staff_codes", columns: &[("id", Int, false), ("name", Text, false), ("code", Text, true), ("k", Int, true), ("city", Text, false)] },
    Table { name: "staff_codes_again", columns: &[("a", Text, true), ("b", Int, false), ("c", Text, true)] },
    Table { name: "halves", columns: &[("id", Int, false), ("name", Text, false), ("city", Text, false), ("half", Int, true), ("ssn", Text, true)] },
    Table { name: "some_halves", columns: &[("id", Int, false), ("city", Text, false)] },
    Table { name: "dept_stats", columns: &[("dept", Text, false), ("heads", Int, false), ("rating", Num, false)] },
    Table { name: "active_people", columns: &[("id", Int, false), ("name", Text, false), ("notes", Text, false), ("ssn", Text, true)] },
    Table { name: "people_copy", columns: &[("id", Int, false), ("tax", Text, true), ("more", Int, true), ("city", Text, false)] },
    Table { name: "city_counts", columns: &[("city", Text, false), ("n", Int, false)] },
];

/// Only on PostgreSQL 18.
#[rustfmt::skip]
pub const EIGHTEEN: &[Table] = &[
    Table { name: "virtuals", columns: &[("id", Int, false), ("title", Text, false), ("ssn", Text, true), ("salary", Int, true), ("shown", Text, true), ("double", Int, true), ("kept", Text, true), ("shout", Text, false)] },
    Table { name: "virtual_view", columns: &[("id", Int, false), ("harmless", Text, true), ("shout", Text, false)] },
];

impl Table {
    pub fn columns(&self) -> impl Iterator<Item = Column> {
        self.columns.iter().map(|(name, kind, labelled)| Column {
            name: (*name).to_owned(),
            kind: *kind,
            labelled: *labelled,
        })
    }
}
