//! Operators and functions of PostgreSQL's own that cannot fail, whatever values they are given: a list
//! of what somebody has looked at. All others could tell by an error what a value is.

use pg_raw_parse::raw::A_Expr_Kind;

use super::cols::{BOOL, INT8, PARAMETER, TEXT, UNKNOWN, Val, bends, clash, collations};

/// Stored values in one text. Each can be long, and a text that becomes too long is an error.
const MAX_WEIGHT: u32 = 64;

/// What an operator or a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Result {
    /// It cannot fail.
    pub total: bool,
    /// The type's OID; 0 when it is not known.
    pub kind: u32,
    pub weight: u32,
}

impl Result {
    pub const FAILS: Self = Self {
        total: false,
        kind: 0,
        weight: 1,
    };

    fn gives(kind: u32) -> Self {
        Self {
            total: true,
            kind,
            weight: 1,
        }
    }

    fn grows(args: &[&Val<'_>]) -> Self {
        let weight = args.iter().map(|v| v.weight).fold(0, u32::saturating_add);
        Self {
            total: weight <= MAX_WEIGHT,
            kind: TEXT,
            weight,
        }
    }
}

pub(super) fn compares(operator: &str) -> bool {
    matches!(operator, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=")
}

pub(super) fn operator(kind: A_Expr_Kind::Type, name: &str, args: &[&Val<'_>]) -> Result {
    let scalars = args.len() > 1 && args.iter().all(|v| v.is_scalar());
    let scalars = scalars && !clash(args.iter().copied());
    let scalars = scalars && collations(args.iter().copied()) < 2;
    // The values in parentheses become one type.
    let scalars = scalars && !(kind == A_Expr_Kind::AEXPR_IN && bends(args));
    match kind {
        A_Expr_Kind::AEXPR_OP if name == "||" => {
            let literal = |v: &Val<'_>| matches!(v.kind, UNKNOWN | PARAMETER);
            let text = args.iter().any(|v| v.is_text() && !literal(v));
            match scalars && text {
                true => Result::grows(args),
                false => Result::FAILS,
            }
        }
        A_Expr_Kind::AEXPR_OP
        | A_Expr_Kind::AEXPR_DISTINCT
        | A_Expr_Kind::AEXPR_NOT_DISTINCT
        | A_Expr_Kind::AEXPR_IN
            if scalars && compares(name) =>
        {
            Result::gives(BOOL)
        }
        A_Expr_Kind::AEXPR_BETWEEN
        | A_Expr_Kind::AEXPR_NOT_BETWEEN
        | A_Expr_Kind::AEXPR_BETWEEN_SYM
        | A_Expr_Kind::AEXPR_NOT_BETWEEN_SYM
            if scalars =>
        {
            Result::gives(BOOL)
        }
        _ => Result::FAILS,
    }
}

/// Division by a whole number that is neither 0 nor -1, and what is left over. Of binary fractions it can
/// fail: what is left can be too small for them.
pub(super) fn divided(args: &[&Val<'_>]) -> Result {
    match args.first().map_or(0, |v| v.kind) {
        // The number that is written there is no shorter than that.
        21 | 23 => Result::gives(23),
        kind @ (20 | 1700) => Result::gives(kind),
        _ => Result::FAILS,
    }
}

pub(super) fn function(name: &str, args: &[Val<'_>]) -> Result {
    /// Whole numbers, whose sums cannot overflow: they become longer types.
    const INTEGERS: &[u32] = &[21, 23, 20];
    let scalars = args.iter().all(Val::is_scalar);
    let all: Vec<&Val<'_>> = args.iter().collect();
    if collations(args) > 1 {
        return Result::FAILS;
    }
    let first_text = args.first().is_some_and(Val::is_text);
    const BYTEA: u32 = 17;
    let one = args.len() == 1;
    // A number that is no constant could be one that is not allowed.
    let constant = |v: &Val<'_>| matches!(v.kind, UNKNOWN | PARAMETER);
    let constants = args.iter().skip(1).all(constant);
    // A default has the values' type, or they have its.
    let typed = constants && !bends(&all);
    match name {
        "lower" | "upper" | "casefold" | "reverse" | "initcap" | "btrim" | "ltrim" | "rtrim"
            if one && first_text =>
        {
            Result {
                weight: args.first().map_or(1, |v| v.weight),
                ..Result::gives(TEXT)
            }
        }
        "left" | "right" if args.len() == 2 && first_text && constants => Result {
            weight: args.first().map_or(1, |v| v.weight),
            ..Result::gives(TEXT)
        },
        "md5" if one && first_text => Result::gives(TEXT),
        "crc32" | "crc32c" if args.iter().all(|v| v.kind == BYTEA) => Result::gives(INT8),
        "length" | "char_length" | "character_length" | "octet_length" if one && first_text => {
            Result::gives(23)
        }
        "concat" | "concat_ws" if scalars => Result::grows(&all),
        "count" => Result::gives(INT8),
        "min" | "max" | "any_value" if one && scalars => Result {
            weight: args.first().map_or(1, |v| v.weight),
            ..Result::gives(args.first().map_or(0, |v| v.kind))
        },
        "sum" if one && args.iter().all(|v| matches!(v.kind, 21 | 23)) => Result::gives(INT8),
        "sum" | "avg" if one && args.iter().all(|v| INTEGERS.contains(&v.kind)) => {
            Result::gives(1700)
        }
        "now" if args.is_empty() => Result::gives(1184),
        "bool_and" | "bool_or" | "every" if one && scalars => Result::gives(BOOL),
        // Not the aggregates that put values into one: how long that may be is soon reached.
        "to_json" | "to_jsonb" if one && scalars => Result {
            total: true,
            kind: 0,
            weight: u32::MAX,
        },
        "first_value" | "last_value" | "lag" | "lead" if typed => {
            let first = args.first();
            Result {
                weight: first.map_or(1, |v| v.weight),
                ..Result::gives(first.map_or(0, |v| v.kind))
            }
        }
        _ => Result::FAILS,
    }
}
