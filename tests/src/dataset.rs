//! The planted data: a shop whose labelled columns hold values that must never reach a client.

/// Run by the superuser in a new database whose owner is the target's login.
pub const SCHEMA: &str = r#"
SET ROLE weir;
CREATE TABLE public.customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    ssn text NOT NULL,
    card text NOT NULL,
    notes text,
    balance numeric(12,2) NOT NULL
);
INSERT INTO public.customers
SELECT n,
       'Customer ' || n,
       'zq' || n || '.planted@leak.example',
       '912-45-' || lpad((7000 + n)::text, 4, '0'),
       '4111-1111-1111-' || lpad((1100 + n)::text, 4, '0'),
       'prefers tea, order ' || n,
       n * 100.25
FROM generate_series(1, 20) AS n;

CREATE VIEW public.customer_view AS
    SELECT id, name, ssn AS code, left(email, 40) AS contact FROM public.customers;
CREATE MATERIALIZED VIEW public.customer_copy AS
    SELECT id, ssn AS tax_number FROM public.customers;
CREATE FUNCTION public.ssn_of(wanted integer) RETURNS text LANGUAGE sql STABLE
    AS 'SELECT ssn FROM public.customers WHERE id = wanted';
CREATE FUNCTION public.everybody() RETURNS SETOF public.customers LANGUAGE sql STABLE
    AS 'SELECT * FROM public.customers';

CREATE TABLE public.orders (
    id integer NOT NULL,
    customer_id integer NOT NULL,
    item text NOT NULL,
    amount numeric(12,2) NOT NULL,
    placed date NOT NULL,
    PRIMARY KEY (id, placed)
) PARTITION BY RANGE (placed);
CREATE TABLE public.orders_2025 PARTITION OF public.orders
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.orders_2026 PARTITION OF public.orders
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO public.orders
SELECT n, 1 + n % 20, 'item ' || n, n * 3.5, date '2025-07-01' + n
FROM generate_series(1, 300) AS n;

CREATE TABLE public.accounts (
    id integer PRIMARY KEY,
    owner text NOT NULL,
    balance integer NOT NULL
);
INSERT INTO public.accounts SELECT n, 'owner ' || n, 1000 FROM generate_series(1, 50) AS n;
-- For counting what got through.
CREATE TABLE public.probe (v text NOT NULL);
ANALYZE;
"#;

/// Parts of the labelled values. None of them may appear in anything that a client receives, in any
/// encoding that [`leaks`] knows. The numbers are of a kind that is not given out, so no detector knows
/// them: where they are hidden, it is for their label.
pub const PLANTED: &[&str] = &[
    "912-45-70",
    "planted@leak",
    "leak.example",
    "4111-1111",
    "1111-1111-11",
];

/// Finds planted values in what a client received: as they are, in hex as bytea shows it, in base64,
/// reversed, or without their separators.
pub fn leaks(received: &[u8]) -> Option<String> {
    let lower = received.to_ascii_lowercase();
    for planted in PLANTED {
        for (how, needle) in disguises(planted) {
            if find(&lower, &needle.to_ascii_lowercase()) {
                return Some(format!("{planted:?} {how}"));
            }
        }
    }
    None
}

fn disguises(planted: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = planted.as_bytes();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    let plain: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(u8::is_ascii_alphanumeric)
        .collect();
    let mut all = vec![
        ("as it is", bytes.to_vec()),
        ("in hex", hex.into_bytes()),
        ("reversed", reversed),
    ];
    if plain.len() >= 7 {
        all.push(("without separators", plain));
    }
    // Base64 of a value depends on where it starts: look for the part that does not.
    for skip in 0..3 {
        let middle = base64_middle(bytes, skip);
        if middle.len() >= 6 {
            all.push(("in base64", middle));
        }
    }
    all
}

/// The characters of the base64 text that depend only on `bytes`, when `skip` bytes stand before it.
fn base64_middle(bytes: &[u8], skip: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let start = (3 - skip) % 3;
    let whole = bytes.get(start..).unwrap_or_default();
    let mut out = Vec::new();
    for group in whole.chunks_exact(3) {
        let n = group.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        for shift in [18, 12, 6, 0] {
            out.extend(ALPHABET.get(n >> shift & 63));
        }
    }
    out
}

pub fn find(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_hidden() {
        for (received, expect) in [
            ("id | 912-45-7003", true),
            ("{\"code\":\"912-45-7003\"}", true),
            ("\\x3931322d34352d37303033", true),
            ("ODEyLTQ1", false),
            ("xOTEyLTQ1LTcwMDM=", true),
            ("3007-54-219", true),
            ("912457003", true),
            ("ZQ1.PLANTED@LEAK.EXAMPLE", true),
            ("4111-1111-1111-1101", true),
            ("4111111111111101", true),
            ("********1111-1111-1101", true),
            ("****-****-****-1101", false),
            ("z***@***", false),
            ("", false),
        ] {
            assert_eq!(leaks(received.as_bytes()).is_some(), expect, "{received}");
        }
    }
}
