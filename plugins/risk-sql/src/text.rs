//! Rules over how the text is written: injected, obfuscated, or talking to a model.

use weir_plugin::{SqlFacts, SqlOp};

use crate::Hit;
use crate::lex::{Kind, Token, code};

pub fn hits(op: &SqlOp, tokens: &[Token<'_>]) -> Vec<Hit> {
    let code = code(tokens);
    let mut hits = Vec::new();
    if always_true(&code) {
        let writes = op.facts.contains(SqlFacts::WRITES);
        let text = "a condition that is always true opens the WHERE clause";
        let hit = Hit::new("tautology", if writes { 75 } else { 60 }, text);
        hits.push(hit.label(if writes { "bulk_write" } else { "bulk_read" }));
    }
    if nothing_filtered(&code) && op.facts.contains(SqlFacts::WRITES) {
        let text = "the WHERE clause is always true: every row";
        hits.push(Hit::new("bulk_write", 60, text).label("bulk_write"));
    }
    if union_probe(&code) {
        let text = "UNION SELECT with bare NULLs, as somebody does who counts columns";
        hits.push(Hit::new("union_probe", 50, text));
    }
    comments(tokens, &mut hits);
    if built_of_codes(&code) {
        let text = "text put together from character codes";
        hits.push(Hit::new("obfuscated", 50, text));
    }
    if let Some(phrase) = injection(tokens) {
        let text = format!("text that speaks to a model: {phrase:?}");
        hits.push(Hit::new("prompt_injection", 80, text).label("prompt_injection"));
    }
    hits
}

/// `OR 1=1`, `OR 'a'='a'`, `OR TRUE`, `OR id = id`, `OR 2 > 1`, also in parentheses or negated.
fn always_true(code: &[Token<'_>]) -> bool {
    code.iter().enumerate().any(|(i, token)| {
        if !(token.is("or") || token.is_symbol("||") && numbers_around(code, i)) {
            return false;
        }
        let rest = code.get(i + 1..).unwrap_or_default();
        let inside = rest.iter().position(|t| !t.is_symbol("(")).unwrap_or(0);
        is_true(rest.get(inside..).unwrap_or_default())
    })
}

/// `1 || 1` is no condition; kept apart so that `||` between texts never counts.
fn numbers_around(code: &[Token<'_>], i: usize) -> bool {
    let number = |i: usize| code.get(i).is_some_and(|t| t.kind == Kind::Number);
    i > 0 && number(i - 1) && number(i + 1)
}

/// Does an expression that is always true begin here?
fn is_true(code: &[Token<'_>]) -> bool {
    match code {
        [not, rest @ ..] if not.is("not") => {
            matches!(rest, [t, end, ..] if t.is("false") && ends(end))
                || matches!(rest, [t] if t.is("false"))
        }
        [t] => t.is("true"),
        [t, end, ..] if t.is("true") && ends(end) => true,
        [a, op, b, rest @ ..] if rest.first().is_none_or(ends) => {
            let same = a.kind == b.kind && a.text.eq_ignore_ascii_case(b.text);
            let constant = |t: &Token<'_>| matches!(t.kind, Kind::Number | Kind::String);
            let name = |t: &Token<'_>| matches!(t.kind, Kind::Word | Kind::Quoted);
            if op.is_symbol("=") || op.is_symbol("<=") || op.is_symbol(">=") || op.is("like") {
                same && (constant(a) || (name(a) && name(b)))
            } else if op.is_symbol("<>") || op.is_symbol("!=") {
                !same && constant(a) && constant(b)
            } else if op.is_symbol("<") || op.is_symbol(">") {
                constant(a) && constant(b)
            } else {
                false
            }
        }
        _ => false,
    }
}

/// Does a condition end before this token?
fn ends(token: &Token<'_>) -> bool {
    const WORDS: &[&str] = &[
        "and",
        "or",
        "order",
        "group",
        "limit",
        "offset",
        "having",
        "union",
        "returning",
        "for",
        "fetch",
        "then",
        "except",
        "intersect",
        "window",
    ];
    token.is_symbol(")") || token.is_symbol(";") || WORDS.iter().any(|w| token.is(w))
}

/// `WHERE TRUE`, `WHERE 1=1` and nothing after it. `WHERE 1=1 AND …` comes from query builders.
fn nothing_filtered(code: &[Token<'_>]) -> bool {
    code.iter().enumerate().any(|(i, token)| {
        let rest = code.get(i + 1..).unwrap_or_default();
        token.is("where") && is_true(rest) && {
            let width = if rest.first().is_some_and(|t| t.is("true")) {
                1
            } else {
                3
            };
            let width = if rest.first().is_some_and(|t| t.is("not")) {
                2
            } else {
                width
            };
            !rest.get(width).is_some_and(|t| t.is("and"))
        }
    })
}

/// `UNION [ALL] SELECT NULL, NULL, NULL`.
fn union_probe(code: &[Token<'_>]) -> bool {
    code.iter().enumerate().any(|(i, token)| {
        if !token.is("union") {
            return false;
        }
        let rest = code.get(i + 1..).unwrap_or_default();
        let skip = usize::from(rest.first().is_some_and(|t| t.is("all")));
        let rest = rest.get(skip..).unwrap_or_default();
        let Some((select, list)) = rest.split_first() else {
            return false;
        };
        let nulls = list
            .iter()
            .take_while(|t| t.is("null") || t.is_symbol(","))
            .filter(|t| t.is("null"));
        select.is("select") && nulls.count() >= 3
    })
}

/// Comments that stand for whitespace, or that cut off the rest of a statement.
fn comments(tokens: &[Token<'_>], hits: &mut Vec<Hit>) {
    let comment = |t: &Token<'_>| t.kind == Kind::Comment;
    let empty = tokens
        .iter()
        .filter(|t| comment(t) && t.text.trim().is_empty());
    if empty.count() >= 3 {
        let text = "comments in place of spaces";
        hits.push(Hit::new("obfuscated", 50, text));
    }
    if tokens.iter().any(|t| comment(t) && t.text.starts_with('!')) {
        let text = "a comment that other databases run as code";
        hits.push(Hit::new("code_in_comment", 40, text));
    }
    // … name = 'admin' --' AND password = '…'
    let cut = tokens.windows(2).any(|w| {
        matches!(w, [before, after]
            if before.kind == Kind::String && comment(after) && looks_like_the_rest(after.text))
    });
    if cut {
        let text = "a comment that hides the rest of a condition";
        hits.push(Hit::new("code_in_comment", 60, text));
    }
}

/// A quote that closes nothing, then code.
fn looks_like_the_rest(comment: &str) -> bool {
    let Some(rest) = comment.trim_start().strip_prefix('\'') else {
        return false;
    };
    let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric());
    rest.trim().is_empty()
        || rest.trim_start().starts_with([';', ')'])
        || words.find(|w| !w.is_empty()).is_some_and(|w| {
            ["and", "or", "limit", "order"]
                .iter()
                .any(|k| w.eq_ignore_ascii_case(k))
        })
}

/// `chr(112) || chr(103) || …`
fn built_of_codes(code: &[Token<'_>]) -> bool {
    let calls = code
        .windows(3)
        .filter(|w| matches!(w, [f, open, n] if f.is("chr") && open.is_symbol("(") && n.kind == Kind::Number));
    calls.count() >= 4
}

/// Phrases that have no business in data or comments of a database, unless somebody wants to
/// steer the model that reads them. Compared in lower case, with single spaces.
const PHRASES: &[&str] = &[
    "ignore previous instructions",
    "ignore all previous instructions",
    "ignore the previous instructions",
    "ignore your previous instructions",
    "ignore your instructions",
    "ignore all prior instructions",
    "ignore prior instructions",
    "ignore the above instructions",
    "ignore everything above",
    "disregard previous instructions",
    "disregard all previous",
    "disregard the above",
    "disregard your instructions",
    "forget your instructions",
    "forget all previous instructions",
    "override your instructions",
    "you are now in developer mode",
    "you are now dan",
    "new system prompt",
    "reveal your system prompt",
    "print your system prompt",
    "do not tell the user",
    "without telling the user",
    "do not mention this to the user",
    "<|im start|>",
    "<|system|>",
    "[system prompt]",
    "<system>",
    "### system:",
    "### instruction:",
];

fn injection(tokens: &[Token<'_>]) -> Option<&'static str> {
    let speaks = |t: &&Token<'_>| {
        matches!(t.kind, Kind::String | Kind::Comment | Kind::Quoted) && t.text.len() >= 8
    };
    tokens.iter().filter(speaks).find_map(|token| {
        let text = flatten(token.text);
        PHRASES.iter().copied().find(|p| text.contains(p))
    })
}

/// Lower case, every run of spaces, underscores and invisible characters one space.
fn flatten(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let invisible = matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
        );
        if invisible {
            continue;
        }
        let c = if c == '_' || c == '*' { ' ' } else { c };
        if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}
