//! Lists of columns, and what is known of a value.

use std::rc::Rc;

use super::Resolver;
use super::sets::{ANYTHING, NOTHING, Set, Source};

/// OIDs of types of PostgreSQL's own that are texts, with that of literals.
const TEXTS: &[u32] = &[25, 1043, 1042, 19, 18, UNKNOWN, PARAMETER];
/// Of types whose values can always be compared and written as text: booleans, numbers, dates, and so on.
const SCALARS: &[u32] = &[
    16, 17, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950, 869, 650, 829,
];
pub(super) const TEXT: u32 = 25;
pub(super) const BOOL: u32 = 16;
pub(super) const INT8: u32 = 20;
const OID: u32 = 26;
const FLOATS: &[u32] = &[700, 701];
const NUMERIC: u32 = 1700;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
/// Of literals.
pub(super) const UNKNOWN: u32 = 705;
/// Of parameters: a client can say of what type they are without it standing in the text.
pub(super) const PARAMETER: u32 = 2276;

/// What is known of a value.
#[derive(Debug, Clone)]
pub(super) struct Val<'a> {
    pub set: Set,
    /// The column that it is a copy of, as the server says.
    pub origin: Option<Source>,
    pub sure: bool,
    /// Its type's OID; 0 when it is not known.
    pub kind: u32,
    /// Evaluating it cannot fail, and does nothing else.
    pub plain: bool,
    /// How many stored values a text can be made of.
    pub weight: u32,
    /// How many collations of their own are in it. Of two, neither is taken, and what compares such
    /// values fails; but not of NULL.
    pub collations: u8,
    /// Of a column that the server computes only where it is used: what doing so tells, by failing or by
    /// what it does on the way.
    pub when_used: Set,
    /// The columns of the row that it is.
    pub row: Option<Rc<Cols<'a>>>,
}

impl<'a> Val<'a> {
    /// Whatever it is made of.
    pub fn of(set: Set) -> Self {
        Self {
            set,
            origin: None,
            sure: false,
            kind: 0,
            plain: false,
            weight: 1,
            collations: 0,
            when_used: NOTHING,
            row: None,
        }
    }

    pub fn constant() -> Self {
        Self {
            kind: UNKNOWN,
            plain: true,
            ..Self::of(NOTHING)
        }
    }

    pub fn parameter() -> Self {
        Self {
            kind: PARAMETER,
            ..Self::constant()
        }
    }

    pub fn anything() -> Self {
        Self::of(ANYTHING)
    }

    pub fn is_text(&self) -> bool {
        TEXTS.contains(&self.kind)
    }

    /// Does neither have to become another type where both can stand?
    pub fn is_like(&self, other: &Self) -> bool {
        let any = self.kind == UNKNOWN || other.kind == UNKNOWN;
        let same = self.kind == other.kind && self.kind != 0;
        let texts = self.is_text() && other.is_text();
        any || same || (texts && collations([self, other]) < 2)
    }

    /// Where both become one type, can it hold this value?
    fn fits(&self, other: &Self) -> bool {
        let as_it_is = self.kind == other.kind && self.kind != 0;
        let widened: &[u32] = match self.kind {
            _ if as_it_is || self.set == NOTHING || other.kind == UNKNOWN => return true,
            INT8 => &[21, 23, NUMERIC, 700, 701],
            NUMERIC => &[21, 23, INT8],
            TIMESTAMP => &[DATE],
            DATE => &[],
            _ => return self.is_scalar(),
        };
        widened.contains(&other.kind)
    }

    /// Whole rows of the same columns, or one and the same value, need not become anything.
    fn is_row_of(&self, other: &Self) -> bool {
        let rows = self.row.is_some() && other.row.is_some() && self.set == other.set;
        rows || std::ptr::eq(self, other)
    }

    pub fn is_scalar(&self) -> bool {
        self.is_text() || SCALARS.contains(&self.kind)
    }
}

/// Where all of these are compared, can one of them be too large for what it has to become?
pub(super) fn clash<'v, 'a: 'v>(vals: impl Iterator<Item = &'v Val<'a>>) -> bool {
    let (mut long, mut oid, mut exact, mut float) = (false, false, false, false);
    let mut parameter = false;
    for val in vals {
        long |= val.kind == INT8;
        oid |= val.kind == OID;
        exact |= val.kind == NUMERIC;
        float |= FLOATS.contains(&val.kind);
        parameter |= val.kind == PARAMETER;
    }
    (long && (oid || parameter)) || (exact && (float || parameter))
}

/// Where all of these become one type, can one fail to?
pub(super) fn bends(vals: &[&Val<'_>]) -> bool {
    let mut kinds: Vec<&Val<'_>> = Vec::new();
    for val in vals {
        if val.kind == 0 && val.set != NOTHING && !vals.iter().all(|v| v.is_row_of(val)) {
            return true;
        }
        let alike = |k: &&Val<'_>| {
            let both = (k.set == NOTHING) == (val.set == NOTHING);
            both && k.kind == val.kind
        };
        // A long list has few kinds.
        if !kinds.iter().any(alike) {
            kinds.push(val);
        }
    }
    let fits = |val: &Val<'_>| kinds.iter().all(|other| val.fits(other));
    vals.len() > 1 && !kinds.iter().all(|val| val.row.is_some() || fits(val))
}

/// The type that all of them have; literals have whatever the others have.
pub(super) fn common(vals: &[Val<'_>]) -> u32 {
    let mut kinds = vals.iter().map(|v| v.kind).filter(|&k| k != UNKNOWN);
    let Some(first) = kinds.next() else {
        return UNKNOWN;
    };
    match kinds.all(|kind| kind == first) {
        true => first,
        false => 0,
    }
}

/// All collations that are in any of these.
pub(super) fn collations<'v, 'a: 'v>(vals: impl IntoIterator<Item = &'v Val<'a>>) -> u8 {
    let each = vals.into_iter().map(|v| v.collations);
    each.fold(0, u8::saturating_add)
}

#[derive(Debug, Clone)]
pub(super) struct Col<'a> {
    /// None: it can be any.
    pub name: Option<&'a str>,
    pub val: Val<'a>,
}

/// Columns in order; between `head` and `tail` there can be others, of unknown names and number.
#[derive(Debug, Clone, Default)]
pub(super) struct Cols<'a> {
    pub head: Vec<Col<'a>>,
    pub rest: Option<Set>,
    pub tail: Vec<Col<'a>>,
}

impl<'a> Cols<'a> {
    /// Of nothing is known more than where it comes from.
    pub fn unknown(set: Set) -> Self {
        Self {
            rest: Some(set),
            ..Self::default()
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Col<'a>> {
        self.head.iter().chain(&self.tail)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Col<'a>> {
        self.head.iter_mut().chain(&mut self.tail)
    }

    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    pub fn sets(&self) -> Vec<Set> {
        self.iter().map(|c| c.val.set).chain(self.rest).collect()
    }

    pub fn push(&mut self, name: Option<&'a str>, val: Val<'a>) {
        let col = Col { name, val };
        match self.rest {
            None => self.head.push(col),
            Some(_) => self.tail.push(col),
        }
    }
}

impl<'a> Resolver<'a> {
    /// Columns of unknown names and number come next.
    pub(super) fn push_rest(&mut self, cols: &mut Cols<'a>, set: Set) {
        let tail = std::mem::take(&mut cols.tail);
        for col in &tail {
            // By what name they are used from here on nobody knows.
            self.decide(col.val.when_used);
        }
        let sets = tail.iter().map(|c| c.val.set).chain(cols.rest).chain([set]);
        let all = self.sets.all(sets);
        cols.rest = Some(all);
    }

    pub(super) fn append(&mut self, cols: &mut Cols<'a>, more: &Cols<'a>) {
        self.work += more.len();
        for col in &more.head {
            cols.push(col.name, col.val.clone());
        }
        if let Some(rest) = more.rest {
            self.push_rest(cols, rest);
        }
        for col in &more.tail {
            cols.push(col.name, col.val.clone());
        }
    }

    /// What is in any of them, all of which are used.
    pub(super) fn all_of(&mut self, cols: &Cols<'a>) -> Set {
        self.use_all(cols);
        self.sets.all(cols.sets())
    }

    /// The server computes all of them.
    pub(super) fn use_all(&mut self, cols: &Cols<'a>) {
        self.work += cols.len();
        for col in cols.iter() {
            self.decide(col.val.when_used);
        }
    }

    /// What can be at a position, counted from 0, when there are `count` columns.
    pub(super) fn at(&mut self, cols: &Cols<'a>, index: usize, count: Option<usize>) -> Set {
        if let Some(col) = cols.head.get(index) {
            self.decide(col.val.when_used);
            return col.val.set;
        }
        if cols.rest.is_none() {
            return ANYTHING;
        }
        if let Some(count) = count {
            let behind = count.checked_sub(cols.tail.len());
            let col = behind.and_then(|b| cols.tail.get(index.checked_sub(b)?));
            if let Some(col) = col {
                self.decide(col.val.when_used);
                return col.val.set;
            }
            return cols.rest.unwrap_or(ANYTHING);
        }
        self.use_all(cols);
        let tail = cols.tail.iter().map(|c| c.val.set);
        self.sets.all(tail.chain(cols.rest))
    }

    /// The arms of a set operation: the first one names the columns, all of them fill them.
    pub(super) fn merged(&mut self, a: &Cols<'a>, b: &Cols<'a>) -> Cols<'a> {
        let count = match (a.rest, b.rest) {
            (None, None) if a.len() != b.len() => return Cols::unknown(ANYTHING),
            (None, _) => Some(a.len()),
            (_, None) => Some(b.len()),
            (Some(_), Some(_)) => None,
        };
        let known = count.unwrap_or_else(|| a.head.len().min(b.head.len()));
        let mut out = Cols::default();
        self.work += known;
        for i in 0..known {
            let (left, right) = (self.at(a, i, count), self.at(b, i, count));
            let set = self.sets.union(left, right);
            let first = a
                .head
                .get(i)
                .or_else(|| a.tail.get(i.checked_sub(a.head.len())?));
            let first = first.filter(|_| a.rest.is_none() || i < a.head.len());
            let second = b.head.get(i);
            if !matches!((first, second), (Some(x), Some(y)) if x.val.is_like(&y.val)) {
                // Becoming another type can fail.
                self.decide(set);
            }
            let kind = match (first, second) {
                (Some(x), Some(y)) if x.val.kind == y.val.kind => x.val.kind,
                _ => 0,
            };
            let weights = [first, second].into_iter().flatten().map(|c| c.val.weight);
            let both = [first, second].into_iter().flatten().map(|c| &c.val);
            let val = Val {
                kind,
                collations: collations(both),
                plain: true,
                weight: weights.max().unwrap_or(u32::MAX),
                ..Val::of(set)
            };
            out.push(first.and_then(|c| c.name), val);
        }
        if count.is_none() {
            let left = a.sets().into_iter().skip(known);
            let sets: Vec<Set> = left.chain(b.sets().into_iter().skip(known)).collect();
            let rest = self.sets.all(sets);
            self.push_rest(&mut out, rest);
        }
        out
    }

    /// An alias's column list renames by position.
    pub(super) fn renamed(
        &mut self,
        cols: Rc<Cols<'a>>,
        names: impl Iterator<Item = &'a str>,
    ) -> Rc<Cols<'a>> {
        let mut names = names.peekable();
        if names.peek().is_none() {
            return cols;
        }
        let mut cols = Rc::unwrap_or_clone(cols);
        self.work += cols.len();
        if let Some(rest) = cols.rest {
            // The names can reach into the columns behind those of unknown number.
            self.push_rest(&mut cols, rest);
        }
        for (i, name) in names.enumerate() {
            match (cols.head.get_mut(i), cols.rest) {
                (Some(col), _) => col.name = Some(name),
                (None, Some(rest)) => cols.head.push(Col {
                    name: Some(name),
                    val: Val::of(rest),
                }),
                (None, None) => break,
            }
        }
        Rc::new(cols)
    }
}
