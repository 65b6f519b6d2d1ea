//! Expressions: of a wanted type, over the columns in scope.

use super::generate::Generator;
use super::tables::{Column, Type};

/// How deep expressions nest.
const DEPTH: u32 = 3;

impl Generator {
    /// An expression of a type. `labelled`: may labelled columns be in it?
    pub fn expression(
        &mut self,
        kind: Type,
        scope: &[Column],
        labelled: bool,
        depth: u32,
    ) -> String {
        if depth >= DEPTH || self.chance(30) {
            return self.leaf(kind, scope, labelled);
        }
        if self.chance(6) {
            return self.scalar_subquery(kind, scope, labelled);
        }
        let e = |g: &mut Self, kind| g.expression(kind, scope, labelled, depth + 1);
        if self.chance(18) {
            let condition = e(self, Type::Bool);
            let (a, b) = (e(self, kind), e(self, kind));
            return match self.below(4) {
                0 => format!("CASE WHEN {condition} THEN {a} ELSE {b} END"),
                1 => format!("coalesce({a}, {b})"),
                2 => format!("CASE WHEN {condition} THEN {a} END"),
                _ => format!("({a})"),
            };
        }
        match kind {
            Type::Int => {
                let (a, b, t) = (e(self, kind), e(self, kind), e(self, Type::Text));
                let d = e(self, Type::Date);
                match self.below(11) {
                    0 => format!("({a} % 7 + {b} % 5)"),
                    1 => format!("({a} % 3 - {b} % 4)"),
                    2 => format!("abs({a} % 100)"),
                    3 => format!("length({t})"),
                    4 => format!("ascii({t})"),
                    5 => format!("strpos({t}, 'e')"),
                    6 => format!("greatest({a}, {b})"),
                    7 => format!("extract(year FROM {d})::integer"),
                    8 => format!("nullif({a}, {b})"),
                    9 => format!("least({a}, 3)"),
                    _ => format!("({a} # 3)"),
                }
            }
            Type::Num => {
                let (a, b, i) = (e(self, kind), e(self, kind), e(self, Type::Int));
                match self.below(6) {
                    0 => format!("({a} + {b})"),
                    1 => format!("({a} * 1.5)"),
                    2 => format!("round({a}, 1)"),
                    3 => format!("({i})::numeric"),
                    4 => format!("({a} / 4)"),
                    _ => format!("floor({a})"),
                }
            }
            Type::Text => self.text(scope, labelled, depth),
            Type::Date => {
                let d = e(self, Type::Date);
                match self.below(3) {
                    0 => format!("({d} + 3)"),
                    1 => format!("date_trunc('month', {d})::date"),
                    _ => format!("greatest({d}, date '2024-06-01')"),
                }
            }
            Type::Bool => self.condition(scope, labelled, depth),
            Type::Json => {
                let t = e(self, Type::Text);
                let i = e(self, Type::Int);
                format!("jsonb_build_object('a', {t}, 'b', {i})")
            }
            Type::Texts => {
                let t = e(self, Type::Text);
                format!("ARRAY[{t}, 'z']")
            }
        }
    }

    fn text(&mut self, scope: &[Column], labelled: bool, depth: u32) -> String {
        let e = |g: &mut Self, kind| g.expression(kind, scope, labelled, depth + 1);
        let (a, b) = (e(self, Type::Text), e(self, Type::Text));
        match self.below(14) {
            0 => format!("({a} || {b})"),
            1 => format!("upper({a})"),
            2 => format!("substr({a}, 2, 5)"),
            3 => format!("left({a}, 4)"),
            4 => format!("reverse({a})"),
            5 => format!("md5({a})"),
            6 => format!("concat({a}, '-', {b})"),
            7 => format!("replace({a}, 'a', 'b')"),
            8 => format!("({})::text", e(self, Type::Int)),
            9 => format!("({})::text", e(self, Type::Date)),
            10 => format!("({} ->> 'lang')", e(self, Type::Json)),
            11 => format!("array_to_string({}, ',')", e(self, Type::Texts)),
            12 => format!("lpad({a}, 6, '*')"),
            _ => format!("format('%s/%s', {a}, {b})"),
        }
    }

    /// A truth value.
    pub fn condition(&mut self, scope: &[Column], labelled: bool, depth: u32) -> String {
        if depth >= DEPTH {
            return self.leaf(Type::Bool, scope, labelled);
        }
        let e = |g: &mut Self, kind| g.expression(kind, scope, labelled, depth + 1);
        match self.below(13) {
            0 => format!("({} AND {})", e(self, Type::Bool), e(self, Type::Bool)),
            1 => format!("({} OR {})", e(self, Type::Bool), e(self, Type::Bool)),
            2 => format!("(NOT {})", e(self, Type::Bool)),
            3 => format!("({} < {})", e(self, Type::Int), e(self, Type::Int)),
            4 => format!("({} = {})", e(self, Type::Text), e(self, Type::Text)),
            5 => format!("({} LIKE '%o%')", e(self, Type::Text)),
            6 => format!("({} IS NOT NULL)", e(self, Type::Text)),
            7 => format!("({} BETWEEN 1 AND 9)", e(self, Type::Int)),
            8 => format!("({} > {})", e(self, Type::Date), e(self, Type::Date)),
            9 => format!("({} IN ('Oslo', 'red', 'in', 'paid'))", e(self, Type::Text)),
            10 => format!("({} >= {})", e(self, Type::Num), e(self, Type::Num)),
            11 => format!("('t1' = ANY ({}))", e(self, Type::Texts)),
            _ => self.exists(scope, labelled),
        }
    }

    pub fn leaf(&mut self, kind: Type, scope: &[Column], labelled: bool) -> String {
        let fit: Vec<&Column> = scope
            .iter()
            .filter(|c| c.kind == kind && (labelled || !c.labelled))
            .collect();
        // Where labelled columns may be, they are to be.
        let secret: Vec<&Column> = fit.iter().copied().filter(|c| c.labelled).collect();
        if !secret.is_empty() && self.chance(50) {
            return secret[self.below(secret.len())].name.clone();
        }
        if !fit.is_empty() && self.chance(80) {
            return fit[self.below(fit.len())].name.clone();
        }
        match kind {
            Type::Int => self.below(20).to_string(),
            Type::Text => ["'Oslo'", "'e'", "'item 3'", "'x'"][self.below(4)].to_owned(),
            Type::Num => ["1.25", "30.5", "4.0"][self.below(3)].to_owned(),
            Type::Date => ["date '2024-05-05'", "date '2021-08-01'"][self.below(2)].to_owned(),
            Type::Bool => ["true", "false"][self.below(2)].to_owned(),
            Type::Json => "jsonb '{\"lang\": \"en\"}'".to_owned(),
            Type::Texts => "ARRAY['t1', 'u0']".to_owned(),
        }
    }

    /// An aggregate over an expression; its type.
    pub fn aggregate(&mut self, scope: &[Column], labelled: bool) -> (String, Type) {
        let e = |g: &mut Self, kind| g.expression(kind, scope, labelled, 1);
        match self.below(10) {
            0 => ("count(*)::integer".into(), Type::Int),
            1 => (
                format!("count({})::integer", e(self, Type::Text)),
                Type::Int,
            ),
            2 => (
                format!("sum({} % 1000)::integer", e(self, Type::Int)),
                Type::Int,
            ),
            3 => (format!("min({})", e(self, Type::Text)), Type::Text),
            4 => (format!("max({})", e(self, Type::Date)), Type::Date),
            5 => (format!("round(avg({}), 2)", e(self, Type::Num)), Type::Num),
            6 => (format!("bool_or({})", e(self, Type::Bool)), Type::Bool),
            7 => {
                let order = self.key(scope);
                let text = e(self, Type::Text);
                (
                    format!("string_agg({text}, ',' ORDER BY {order})"),
                    Type::Text,
                )
            }
            8 => {
                let order = self.key(scope);
                let text = e(self, Type::Text);
                (format!("array_agg({text} ORDER BY {order})"), Type::Texts)
            }
            _ => {
                let filter = self.expression(Type::Bool, scope, false, 1);
                let int = self.expression(Type::Int, scope, labelled, 1);
                (format!("(max({int}) FILTER (WHERE {filter}))"), Type::Int)
            }
        }
    }

    pub fn window(&mut self, scope: &[Column], labelled: bool) -> (String, Type) {
        let order = self.order_keys(scope, false);
        let partition = match self.chance(50) {
            true => format!("PARTITION BY {} ", self.leaf(Type::Text, scope, false)),
            false => String::new(),
        };
        let over = format!("OVER ({partition}ORDER BY {order})");
        let text = self.expression(Type::Text, scope, labelled, 2);
        let int = self.expression(Type::Int, scope, labelled, 2);
        match self.below(6) {
            0 => (format!("(row_number() {over})::integer"), Type::Int),
            1 => (format!("lag({text}) {over}"), Type::Text),
            2 => (format!("first_value({int}) {over}"), Type::Int),
            3 => (format!("(rank() {over})::integer"), Type::Int),
            4 => (format!("(sum({int} % 100) {over})::integer"), Type::Int),
            _ => (format!("max({text}) {over}"), Type::Text),
        }
    }

    /// Keys that leave no two rows equal, so far as unlabelled columns can.
    pub fn order_keys(&mut self, scope: &[Column], labelled: bool) -> String {
        let mut keys = Vec::new();
        if labelled || self.chance(40) {
            keys.push(self.expression(Type::Int, scope, labelled, 2));
        }
        let plain = scope.iter().filter(|c| !c.labelled && c.kind != Type::Json);
        keys.extend(plain.map(|c| c.name.clone()));
        // A bare number would be a position.
        let keys: Vec<String> = keys
            .into_iter()
            .map(|k| {
                if k.parse::<u32>().is_ok() {
                    format!("({k} + 0)")
                } else {
                    k
                }
            })
            .collect();
        match keys.is_empty() {
            true => "(1 + 0)".into(),
            false => keys.join(", "),
        }
    }

    fn key(&mut self, scope: &[Column]) -> String {
        self.order_keys(scope, false)
    }
}
