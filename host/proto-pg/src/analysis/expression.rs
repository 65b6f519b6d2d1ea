//! The walk's other half: expressions and what stands in FROM.

use pg_raw_parse::raw::{A_Expr_Kind, SubLinkType};
use pg_raw_parse::{ConstValue, Node, nodes};
use pipeline::Action;

use super::found::Call;
use super::functions::{self, Nature, nature};
use super::names;
use super::settings;
use super::symbols;
use super::walk::{Item, Walk};

impl<'t> Walk<'t, '_> {
    pub(super) fn expression(&mut self, item: Item<'t>) {
        let i = &item;
        match item.node {
            Node::A_Const(c) => {
                self.found.literals |= matches!(c.val(), Some(ConstValue::String(_)));
            }
            Node::None
            | Node::SQLValueFunction(_)
            | Node::SetToDefault(_)
            | Node::CurrentOfExpr(_)
            | Node::A_Star(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::BitString(_) => {}
            Node::MergeSupportFunc(_) => self.keyword("merge_action"),
            Node::ParamRef(_) => self.found.parameters = true,
            // A field or attribute name inside an indirection.
            Node::String(s) => {
                let name = s.sval().unwrap_or_default();
                self.found.fields.insert(name.into());
            }
            Node::NodeList(list) => self.parts(list, i),
            Node::ColumnRef(c) => self.column(c),
            Node::FuncCall(f) => self.call(f, i),
            Node::A_Expr(e) => {
                // BETWEEN stands there as if it were an operator.
                if matches!(
                    e.kind,
                    A_Expr_Kind::AEXPR_BETWEEN
                        | A_Expr_Kind::AEXPR_NOT_BETWEEN
                        | A_Expr_Kind::AEXPR_BETWEEN_SYM
                        | A_Expr_Kind::AEXPR_NOT_BETWEEN_SYM
                ) {
                    for name in ["<", ">", "<=", ">="] {
                        self.implied(name);
                    }
                } else {
                    self.operator(e.name());
                }
                self.part(e.lexpr(), i);
                self.part(e.rexpr(), i);
            }
            Node::BoolExpr(e) => self.parts(e.args(), i),
            Node::TypeCast(e) => {
                // A constant with a harmless type of its own can become nothing else.
                let settled = matches!(e.arg(), Node::A_Const(_)) && !self.converts(e.type_name());
                if !settled {
                    self.part(e.arg(), i);
                }
                self.type_name(e.type_name(), i);
            }
            Node::TypeName(t) => self.type_name(Some(t), i),
            Node::CollateClause(e) => self.part(e.arg(), i),
            Node::SubLink(e) => {
                self.operator(e.oper_name());
                self.found.arrays |= e.sub_link_type == SubLinkType::ARRAY_SUBLINK;
                // `IN (SELECT …)` has none of its own.
                self.implied("=");
                self.part(e.testexpr(), i);
                self.part(e.subselect(), i);
            }
            Node::A_Indices(e) => {
                self.part(e.lidx(), i);
                self.part(e.uidx(), i);
            }
            Node::A_Indirection(e) => {
                self.part(e.arg(), i);
                self.parts(e.indirection(), i);
            }
            Node::A_ArrayExpr(e) => {
                self.found.arrays = true;
                self.parts(e.elements(), i);
            }
            Node::RowExpr(e) => self.parts(e.args(), i),
            Node::CoalesceExpr(e) => self.parts(e.args(), i),
            Node::MinMaxExpr(e) => self.parts(e.args(), i),
            Node::CaseExpr(e) => {
                self.implied("=");
                self.part(e.arg(), i);
                self.parts(e.args(), i);
                self.part(e.defresult(), i);
            }
            Node::CaseWhen(e) => {
                self.part(e.expr(), i);
                self.part(e.result(), i);
            }
            Node::NullTest(e) => self.part(e.arg(), i),
            Node::BooleanTest(e) => self.part(e.arg(), i),
            Node::GroupingFunc(e) => self.parts(e.args(), i),
            Node::GroupingSet(e) => self.parts(e.content(), i),
            Node::NamedArgExpr(e) => self.part(e.arg(), i),
            Node::MultiAssignRef(e) => self.part(e.source(), i),
            Node::ResTarget(e) => {
                self.parts(e.indirection(), i);
                self.part(e.val(), i);
            }
            Node::SortBy(e) => {
                self.operator(e.use_op());
                self.part(e.node(), i);
            }
            Node::WindowDef(w) => self.window(Some(w), i),
            Node::IndexElem(e) => self.part(e.expr(), i),
            _ => self.source(item),
        }
    }

    /// What stands in FROM.
    fn source(&mut self, item: Item<'t>) {
        let i = &item;
        match item.node {
            Node::RangeVar(r) => self.range_var(r, i),
            Node::RangeSubselect(r) => self.part(r.subquery(), i),
            Node::JoinExpr(j) => {
                // USING and NATURAL compare.
                self.implied("=");
                self.part(j.larg(), i);
                self.part(j.rarg(), i);
                self.part(j.quals(), i);
            }
            Node::RangeFunction(r) => {
                for function in r.functions() {
                    // Each is a list of the call and its column definitions.
                    let Some(pair) = function.as_node_list() else {
                        self.odd("a function in FROM");
                        continue;
                    };
                    self.part(pair.get(0).unwrap_or(Node::None), i);
                    let columns = pair.get(1).and_then(|c| c.as_node_list());
                    for column in columns.into_iter().flat_map(|c| c.iter()) {
                        match column {
                            Node::ColumnDef(c) => self.type_name(c.type_name(), i),
                            _ => self.odd("a function in FROM"),
                        }
                    }
                }
                // What is put into these columns is cast to their types.
                for column in r.coldeflist() {
                    self.type_name(column.type_name(), i);
                }
            }
            Node::RangeTableSample(r) => {
                let method = r.method().iter().next_back().and_then(Node::as_str);
                if !matches!(
                    method,
                    Some("bernoulli" | "system" | "system_rows" | "system_time")
                ) {
                    self.odd("a sampling method");
                }
                self.part(r.relation(), i);
                self.parts(r.args(), i);
                self.part(r.repeatable(), i);
            }
            Node::RangeTableFunc(r) => {
                self.part(r.docexpr(), i);
                self.part(r.rowexpr(), i);
                self.parts(r.namespaces(), i);
                for column in r.columns() {
                    self.part(column.colexpr(), i);
                    self.part(column.coldefexpr(), i);
                    self.type_name(column.type_name(), i);
                }
            }
            Node::JsonTable(r) => {
                self.keyword("json_table");
                self.json_value(r.context_item(), i);
                self.parts(r.passing(), i);
                for column in r.columns() {
                    self.part(Node::JsonTableColumn(column), i);
                }
                self.behavior(r.on_error(), i);
            }
            Node::JsonTableColumn(c) => {
                self.type_name(c.type_name(), i);
                self.behavior(c.on_empty(), i);
                self.behavior(c.on_error(), i);
                self.parts(c.columns(), i);
            }
            _ => self.xml_and_json(item),
        }
    }

    fn xml_and_json(&mut self, item: Item<'t>) {
        let i = &item;
        for name in keywords(item.node) {
            self.keyword(name);
        }
        match item.node {
            Node::XmlExpr(e) => {
                self.parts(e.named_args(), i);
                self.parts(e.args(), i);
            }
            Node::XmlSerialize(e) => {
                self.part(e.expr(), i);
                self.type_name(e.type_name(), i);
            }
            Node::JsonValueExpr(e) => self.json_value(Some(e), i),
            Node::JsonArgument(e) => self.json_value(e.val(), i),
            Node::JsonIsPredicate(e) => self.part(e.expr(), i),
            Node::JsonParseExpr(e) => {
                self.json_value(e.expr(), i);
                self.returns(e.output(), i);
            }
            Node::JsonScalarExpr(e) => {
                self.part(e.expr(), i);
                self.returns(e.output(), i);
            }
            Node::JsonSerializeExpr(e) => {
                self.json_value(e.expr(), i);
                self.returns(e.output(), i);
            }
            Node::JsonKeyValue(e) => {
                self.part(e.key(), i);
                self.json_value(e.value(), i);
            }
            Node::JsonObjectConstructor(e) => {
                for pair in e.exprs() {
                    self.part(Node::JsonKeyValue(pair), i);
                }
                self.returns(e.output(), i);
            }
            Node::JsonArrayConstructor(e) => {
                for value in e.exprs() {
                    self.json_value(Some(value), i);
                }
                self.returns(e.output(), i);
            }
            Node::JsonArrayQueryConstructor(e) => {
                self.part(e.query(), i);
                self.returns(e.output(), i);
            }
            Node::JsonObjectAgg(e) => {
                self.json_aggregate(e.constructor(), i);
                if let Some(pair) = e.arg() {
                    self.part(Node::JsonKeyValue(pair), i);
                }
            }
            Node::JsonArrayAgg(e) => {
                self.json_aggregate(e.constructor(), i);
                self.json_value(e.arg(), i);
            }
            Node::JsonFuncExpr(e) => {
                self.json_value(e.context_item(), i);
                self.part(e.pathspec(), i);
                self.parts(e.passing(), i);
                self.behavior(e.on_empty(), i);
                self.behavior(e.on_error(), i);
                self.returns(e.output(), i);
            }
            Node::JsonBehavior(e) => self.part(e.expr(), i),
            _ => self.odd("an expression"),
        }
    }

    /// A keyword of a newer grammar, which an older server takes for a function of that name.
    fn keyword(&mut self, name: &str) {
        let meant = self.snapshot.find_functions(None, name, self.path);
        let foreign = meant.iter().any(|f| &*f.schema != "pg_catalog");
        // On a server that does not have the keyword, somebody's function could be newer than what is
        // known.
        let since = symbols::keyword_since(name);
        let newer = meant.is_empty()
            && since.is_some_and(|sign| {
                let signs = self
                    .snapshot
                    .find_functions(Some("pg_catalog"), sign, self.path);
                signs.is_empty()
            });
        if foreign {
            self.function(None, name);
        }
        self.found.anywhere |= foreign || newer;
        self.found.unknown_names |= newer;
        self.found.opaque |= newer;
    }

    fn json_value(&mut self, value: Option<&'t nodes::JsonValueExpr>, item: &Item<'t>) {
        if let Some(value) = value {
            self.part(value.raw_expr(), item);
            self.part(value.formatted_expr(), item);
        }
    }

    fn behavior(&mut self, behavior: Option<&'t nodes::JsonBehavior>, item: &Item<'t>) {
        if let Some(behavior) = behavior {
            self.part(behavior.expr(), item);
        }
    }

    fn json_aggregate(&mut self, c: Option<&'t nodes::JsonAggConstructor>, item: &Item<'t>) {
        if let Some(c) = c {
            self.part(c.agg_filter(), item);
            self.parts(c.agg_order(), item);
            self.window(c.over(), item);
            self.returns(c.output(), item);
        }
    }

    /// RETURNING of a JSON expression is a cast.
    fn returns(&mut self, output: Option<&'t nodes::JsonOutput>, item: &Item<'t>) {
        self.type_name(output.and_then(|o| o.type_name()), item);
    }

    fn window(&mut self, window: Option<&'t nodes::WindowDef>, item: &Item<'t>) {
        if let Some(w) = window {
            self.parts(w.partition_clause(), item);
            for sort in w.order_clause() {
                self.part(Node::SortBy(sort), item);
            }
            self.part(w.start_offset(), item);
            self.part(w.end_offset(), item);
        }
    }

    fn column(&mut self, column: &'t nodes::ColumnRef) {
        let fields = column.fields();
        match fields.iter().next_back() {
            Some(Node::A_Star(_)) => {}
            Some(Node::String(s)) => {
                if !self.snapshot.read_types().is_empty() {
                    self.column_names.insert(s.sval().unwrap_or_default());
                }
                if fields.len() > 1 {
                    self.found
                        .fields
                        .insert(s.sval().unwrap_or_default().into());
                }
            }
            _ => self.odd("a column reference"),
        }
    }

    fn type_name(&mut self, name: Option<&'t nodes::TypeName>, item: &Item<'t>) {
        let Some(name) = name else {
            return;
        };
        if name.pct_type {
            self.odd("%TYPE");
        }
        if let Some(last) = name.names().iter().next_back().and_then(|s| s.sval()) {
            self.conversion(last);
            if !name.array_bounds().is_empty() {
                self.found.array_names.insert(last.into());
            }
        }
        self.parts(name.typmods(), item);
    }

    /// Does a cast to this type run code that is not PostgreSQL's own?
    fn converts(&self, name: Option<&'t nodes::TypeName>) -> bool {
        let last = name.and_then(|name| name.names().iter().next_back()?.sval());
        last.is_none_or(|last| {
            self.snapshot.conversion(last).is_some() || !self.snapshot.has_type(last)
        })
    }

    /// What a cast to a type of this name runs.
    pub(super) fn conversion(&mut self, type_name: &str) {
        let snapshot = self.snapshot;
        self.found.type_names.insert(type_name.into());
        if !snapshot.has_type(type_name) && !symbols::is_serial(type_name) {
            // Newer than what is known: it can come with code.
            self.found.unknown_names = true;
            self.found.opaque = true;
            self.found.anywhere = true;
        }
        if let Some(conversion) = snapshot.conversion(type_name) {
            self.found.opaque = true;
            self.found.anywhere = true;
            for (schema, name) in &conversion.functions {
                self.function(Some(schema), name);
            }
        }
    }

    /// Operators run functions; one that users made runs theirs. Whether it can be meant is looked at
    /// when all of the statement's types are known.
    fn operator(&mut self, name: &'t pg_raw_parse::list::NodeList) {
        let (schema, name) = names::qualified(name);
        if !name.is_empty() {
            self.operator_named(schema, name);
        }
    }

    /// An operator that a construct stands for.
    fn implied(&mut self, name: &str) {
        self.operator_named(None, name);
    }

    fn operator_named(&mut self, schema: Option<&str>, name: &str) {
        self.found.arrays |= name == "||";
        if !self.snapshot.foreign_operators(name).is_empty() {
            let operator = (schema.map(Into::into), name.into());
            self.found.operators.insert(operator);
        } else if !symbols::is_operator(name) {
            // Newer than what is known, and somebody's own.
            self.found.unknown_names = true;
            self.found.opaque = true;
            self.found.anywhere = true;
        }
    }

    fn call(&mut self, f: &'t nodes::FuncCall, item: &Item<'t>) {
        let (schema, name) = names::qualified(f.funcname());
        // The grammar itself adds the schema to `json_object(…)`.
        if schema == Some("pg_catalog") && name.starts_with("json_") {
            self.keyword(name);
        }
        let own_setting = name == "set_config" && self.set_config(schema, f);
        if !own_setting {
            self.function(schema, name);
        }
        self.parts(f.args(), item);
        for sort in f.agg_order() {
            self.part(Node::SortBy(sort), item);
        }
        self.part(f.agg_filter(), item);
        self.window(f.over(), item);
    }

    /// Notes a call of a function by name: all that can be meant.
    pub(super) fn function(&mut self, schema: Option<&str>, name: &str) {
        self.found.arrays |= name.starts_with("array_");
        let found = self.snapshot.find_functions(schema, name, self.path);
        if found.is_empty() {
            let nature = nature(name, false);
            self.found.unknown_names = true;
            self.found.opaque = true;
            let key = (self.schema_of(schema), name.into());
            let call = Call {
                known: false,
                volatile: true,
                security_definer: false,
                dangerous: nature.dangerous(),
                plain: false,
                own: false,
            };
            self.found.calls.insert(key, call);
            return;
        }
        for f in found {
            let nature = match functions::known(name) {
                // What a trusted extension does besides computing, it does with its arguments.
                None if f.trusted && f.volatile => Nature::Keeps,
                // What others have made is opaque whatever it is called.
                None if !f.pure => Nature::Plain,
                _ => nature(name, f.volatile),
            };
            // Code of its own may do anything, also to the search path.
            self.found.sets_path |= !f.pure && f.volatile;
            self.found.writes |= match f.trusted {
                true => functions::known(name).is_some_and(Nature::writes),
                false => (!f.pure && f.volatile) || nature.writes(),
            };
            self.found.opaque |= !f.pure || nature == Nature::Reads;
            let call = Call {
                known: true,
                volatile: f.volatile,
                security_definer: f.security_definer,
                dangerous: nature.dangerous(),
                // What writes or keeps is asked about, like code that is not PostgreSQL's own.
                plain: f.pure && nature == Nature::Plain,
                own: f.pure,
            };
            self.found.calls.insert((f.schema, name.into()), call);
        }
    }

    /// `set_config` with constants is SET, when it is PostgreSQL's own; anything else could set what is
    /// pinned, or carry a value out of a masked column.
    /// True when it is that, and noted.
    fn set_config(&mut self, schema: Option<&str>, f: &'t nodes::FuncCall) -> bool {
        let mut args = f.args().iter();
        let (name, value) = (args.next(), args.next());
        let name = name.and_then(|name| match name {
            Node::ColumnRef(_) => self.setting,
            name => constant(name),
        });
        self.found.sets_reading |= name.is_none_or(settings::is_reading);
        let refusal = match (name, value) {
            (Some(name), Some(value)) => {
                let role = constant(value).and_then(|v| settings::role(name, v));
                self.found.roles.extend(role.map(Into::into));
                let of_path = name.eq_ignore_ascii_case("search_path") || settings::is_role(name);
                self.found.sets_path |= of_path;
                match constant(value) {
                    Some(value) => settings::refuse(name, Some(value)),
                    None if matches!(value, Node::ParamRef(_)) => settings::refuse(name, None),
                    None => Some("set_config needs a constant or a parameter as its value".into()),
                }
            }
            _ => Some("set_config needs constants as its arguments".into()),
        };
        if let Some(refusal) = refusal {
            self.found.refuse.get_or_insert(refusal);
            return false;
        }
        let meant = self
            .snapshot
            .find_functions(schema, "set_config", self.path);
        let own = matches!(meant.as_slice(), [one] if one.pure);
        if !own {
            return false;
        }
        self.found.database.insert(Action::PostgresSession);
        let key = ("pg_catalog".into(), "set_config".into());
        let call = Call {
            known: true,
            volatile: true,
            security_definer: false,
            dangerous: false,
            plain: true,
            own: true,
        };
        self.found.calls.insert(key, call);
        true
    }
}

/// How an older server names what the newer grammar has a node for.
fn keywords(node: Node<'_>) -> &'static [&'static str] {
    match node {
        Node::JsonParseExpr(_) => &["json"],
        Node::JsonScalarExpr(_) => &["json_scalar"],
        Node::JsonSerializeExpr(_) => &["json_serialize"],
        Node::JsonObjectConstructor(_) => &["json_object"],
        Node::JsonArrayConstructor(_) | Node::JsonArrayQueryConstructor(_) => &["json_array"],
        Node::JsonObjectAgg(_) => &["json_objectagg"],
        Node::JsonArrayAgg(_) => &["json_arrayagg"],
        Node::JsonFuncExpr(_) => &["json_exists", "json_query", "json_value"],
        _ => &[],
    }
}

/// The text of a string constant; none when it has a backslash, which a server could read otherwise.
pub(super) fn constant(node: Node<'_>) -> Option<&str> {
    let node = match node {
        Node::TypeCast(cast) => cast.arg(),
        node => node,
    };
    match node {
        Node::A_Const(c) => match c.val() {
            Some(ConstValue::String(s)) if !s.contains('\\') => Some(s),
            _ => None,
        },
        _ => None,
    }
}
