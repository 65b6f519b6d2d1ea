//! Function calls: what they give, and what of their arguments others can see.

use pg_raw_parse::nodes;

use super::super::names;
use super::cols::{Val, collations};
use super::item::Lookup;
use super::sets::{ANYTHING, EVERYTHING, NOTHING, Set};
use super::{At, Resolver, totals};
use crate::analysis::functions::{self, Nature};
use crate::analysis::telling::{self, Telling};

/// The worst of what a name can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// It can read whatever it wants.
    pub reads: bool,
    /// Its arguments are stored, or sent to others.
    pub keeps: bool,
    /// PostgreSQL's own, and nobody else's.
    pub own: bool,
    pub exists: bool,
    /// The server computes it also where nobody uses it.
    pub fixed: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn meaning(&mut self, schema: Option<&'a str>, name: &'a str) -> Meaning {
        if let Some(known) = self.functions.get(&(schema, name)) {
            return *known;
        }
        let path = match self.among {
            Some(_) => crate::catalog::Path::Unknown,
            None => self.path,
        };
        let found = self.snapshot.find_functions(schema, name, path);
        let mut meaning = Meaning {
            reads: found.is_empty(),
            keeps: found.is_empty() && functions::nature(name, false).keeps(),
            own: !found.is_empty(),
            exists: !found.is_empty(),
            fixed: found.is_empty(),
        };
        for f in found {
            let nature = functions::nature(name, f.volatile);
            meaning.fixed |= !f.pure || f.trusted || f.volatile || f.returns_set;
            meaning.reads |= !f.pure || nature == Nature::Reads;
            meaning.keeps |= match functions::known(name) {
                None if f.trusted => f.volatile,
                None if !f.pure => false,
                _ => nature.keeps(),
            };
            meaning.own &= f.pure && !f.trusted && &*f.schema == "pg_catalog";
        }
        self.functions.insert((schema, name), meaning);
        meaning
    }

    pub(super) fn is_own_function(&mut self, name: &'a str) -> bool {
        self.meaning(None, name).own
    }

    /// What a function gives for arguments of this set.
    pub(super) fn called(&mut self, schema: Option<&'a str>, name: &'a str, set: Set) -> Val<'a> {
        let meaning = self.meaning(schema, name);
        self.fixed |= meaning.fixed;
        if meaning.keeps {
            let kept = if meaning.reads { ANYTHING } else { set };
            self.sink(kept, None);
        }
        if meaning.reads {
            // Whether it may be called is asked, and what it gives is not shown; what it does in there,
            // its arguments can decide.
            self.decide(set);
            return Val::anything();
        }
        let told = match meaning.own {
            true => self.told(telling::function(name)),
            false => NOTHING,
        };
        if meaning.own && name == telling::LOCKS {
            // How many there are tells, too.
            self.decide(told);
        }
        Val::of(self.sets.union(set, told))
    }

    /// What is told besides what something is made of.
    pub(super) fn told(&mut self, telling: Telling) -> Set {
        match telling {
            Telling::Nothing => NOTHING,
            Telling::Places => self.sets.of(self.snapshot.keys().to_vec()),
            Telling::Changes => EVERYTHING,
        }
    }

    pub(super) fn call(&mut self, f: &'a nodes::FuncCall, at: At) -> Val<'a> {
        let (schema, name) = names::qualified(f.funcname());
        let args: Vec<Val<'a>> = f.args().iter().map(|arg| self.expr(arg, at)).collect();
        let given = self.sets.all(args.iter().map(|v| v.set));
        let mut deciding = Vec::new();
        if f.agg_distinct {
            deciding.push(given);
        }
        for sort in f.agg_order() {
            deciding.push(self.expr(sort.node(), at).set);
        }
        deciding.push(self.expr(f.agg_filter(), at).set);
        deciding.push(self.window(f.over(), at));
        let deciding = self.sets.all(deciding);
        self.decide(deciding);
        if let Some(field) = self.column_call(f, schema, name, &args) {
            return field;
        }
        let mut val = self.called(schema, name, given);
        val.set = self.sets.union(val.set, deciding);
        let meaning = self.meaning(schema, name);
        let own = meaning.own && !f.func_variadic && !self.snapshot.bends(false);
        let total = match own {
            true => totals::function(name, &args),
            false => totals::Result::FAILS,
        };
        if !total.total {
            self.decide(given);
        }
        if matches!(name, "min" | "max") && f.over().is_none() {
            self.own_extremes = self.sets.union(self.own_extremes, given);
        }
        let plain = args.iter().all(|v| v.plain) && total.total;
        Val {
            kind: total.kind,
            plain,
            weight: total.weight,
            collations: collations(&args),
            ..val
        }
    }

    /// `column(row)` is the same as `row.column`, when no function has that name.
    fn column_call(
        &mut self,
        f: &'a nodes::FuncCall,
        schema: Option<&str>,
        name: &'a str,
        args: &[Val<'a>],
    ) -> Option<Val<'a>> {
        let [row] = args else {
            return None;
        };
        if schema.is_some() || f.over().is_some() || f.agg_star {
            return None;
        }
        let exists = self.meaning(None, name).exists;
        let field = match &row.row {
            Some(cols) => {
                let cols = cols.clone();
                match self.in_cols(&cols, name) {
                    Lookup::Found(field) => Some(field),
                    Lookup::Missing(_) => None,
                }
            }
            None => self
                .row_type(row.kind)
                .and_then(|r| r.column_named(name))
                .map(|_| Val::of(row.set)),
        };
        field.filter(|_| !exists).map(|field| Val {
            sure: false,
            ..field
        })
    }

    /// A window's clauses; gives what is in them.
    pub(super) fn window(&mut self, window: Option<&'a nodes::WindowDef>, at: At) -> Set {
        let Some(w) = window else {
            return NOTHING;
        };
        // Rows are sorted for it, whoever looks at what it gives.
        self.fixed = true;
        let mut sets = Vec::new();
        for node in w.partition_clause() {
            sets.push(self.expr(node, at).set);
        }
        for sort in w.order_clause() {
            sets.push(self.expr(sort.node(), at).set);
        }
        sets.push(self.expr(w.start_offset(), at).set);
        sets.push(self.expr(w.end_offset(), at).set);
        let set = self.sets.all(sets);
        self.decide(set);
        set
    }
}
