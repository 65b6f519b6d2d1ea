//! Labelled columns, asked for in every way that a client has. Each trick is a row of a table.

use weir_tests::dataset::leaks;
use weir_tests::weir::Setup;
use weir_tests::wire::{Client, bind, execute, frame, parse};

use crate::shop::{ALICE, CAROL, Shop, assert_no_leak, assert_refused, shop, shop_with};

/// What should come of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expect {
    /// Rows come, masked.
    Masked,
    /// Masked or refused: both keep the secret.
    NoLeak,
}
use Expect::{Masked, NoLeak};

/// Reads of labelled columns. With clearance, each of them shows planted values.
const READS: &[(Expect, &str)] = &[
    (Masked, "SELECT ssn FROM customers"),
    (Masked, "SELECT ssn AS harmless FROM customers"),
    (
        Masked,
        "SELECT id, name, email, ssn FROM customers ORDER BY id",
    ),
    (Masked, "SELECT * FROM customers"),
    (Masked, "SELECT c.* FROM customers AS c"),
    (Masked, "TABLE customers"),
    (Masked, "SELECT card FROM customers"),
    (Masked, "SELECT card AS harmless, id FROM customers"),
    (NoLeak, "SELECT left(card, 12) FROM customers"),
    (NoLeak, "SELECT right(card, 14) AS id FROM customers"),
    (NoLeak, "SELECT reverse(card) FROM customers"),
    (NoLeak, "SELECT replace(card, '-', '') FROM customers"),
    (
        NoLeak,
        "SELECT replace(card, '-', '')::numeric FROM customers",
    ),
    (
        NoLeak,
        "SELECT split_part(card, '-', 1) || '-1111' FROM customers",
    ),
    (
        NoLeak,
        "SELECT encode(convert_to(card, 'UTF8'), 'hex') FROM customers",
    ),
    (NoLeak, "SELECT array_agg(card) FROM customers"),
    (
        NoLeak,
        "SELECT jsonb_build_object('x', card) FROM customers",
    ),
    (
        NoLeak,
        "SELECT q.a FROM (SELECT card || name AS a FROM customers) AS q",
    ),
    (Masked, "SELECT code FROM customer_view"),
    // An expression, so no label covers it by itself, and a detector may find the address.
    (NoLeak, "SELECT contact AS id FROM customer_view"),
    (NoLeak, "SELECT tax_number FROM customer_copy"),
    (
        Masked,
        "SELECT s FROM (SELECT ssn AS s FROM customers) AS t",
    ),
    (
        Masked,
        "WITH t(x) AS (SELECT ssn FROM customers) SELECT x FROM t",
    ),
    (
        Masked,
        "SELECT a.ssn FROM customers a JOIN orders o ON o.customer_id = a.id",
    ),
    (
        NoLeak,
        "SELECT id, ssn FROM customers UNION ALL SELECT id, item FROM orders",
    ),
    (NoLeak, "SELECT ssn || '' FROM customers"),
    (NoLeak, "SELECT 'x' || ssn FROM customers"),
    (NoLeak, "SELECT substr(ssn, 1, 11) FROM customers"),
    (NoLeak, "SELECT reverse(ssn) FROM customers"),
    (NoLeak, "SELECT replace(ssn, '-', '') FROM customers"),
    (
        NoLeak,
        "SELECT encode(convert_to(ssn, 'UTF8'), 'base64') FROM customers",
    ),
    (NoLeak, "SELECT convert_to(email, 'UTF8') FROM customers"),
    (NoLeak, "SELECT CASE WHEN true THEN ssn END FROM customers"),
    (NoLeak, "SELECT coalesce(ssn, '') FROM customers"),
    (NoLeak, "SELECT max(ssn) FROM customers"),
    (NoLeak, "SELECT string_agg(email, ',') FROM customers"),
    (NoLeak, "SELECT array_agg(ssn) FROM customers"),
    (
        NoLeak,
        "SELECT (SELECT ssn FROM customers WHERE id = 1) FROM orders LIMIT 1",
    ),
    (NoLeak, "SELECT row_to_json(c) FROM customers c"),
    (NoLeak, "SELECT to_jsonb(c) ->> 'ssn' FROM customers c"),
    (NoLeak, "SELECT json_agg(c) FROM customers c"),
    (NoLeak, "SELECT c FROM customers c"),
    (NoLeak, "SELECT c::text FROM customers c"),
    (NoLeak, "SELECT ROW(ssn, id) FROM customers"),
    (NoLeak, "SELECT ssn_of(3)"),
    (NoLeak, "SELECT * FROM everybody()"),
    (NoLeak, "SELECT e.ssn AS id FROM everybody() AS e"),
    (
        NoLeak,
        "SELECT first_value(ssn) OVER (ORDER BY id) FROM customers",
    ),
    (
        NoLeak,
        "SELECT x FROM customers, LATERAL (SELECT ssn AS x) AS l",
    ),
    (NoLeak, "SELECT unnest(ARRAY[ssn, email]) FROM customers"),
    (NoLeak, "VALUES ((SELECT min(ssn) FROM customers))"),
    (
        NoLeak,
        "SELECT query_to_xml('select ssn from customers', true, true, '')::text",
    ),
    (
        NoLeak,
        "UPDATE customers SET notes = notes WHERE id = 4 RETURNING ssn",
    ),
    (
        NoLeak,
        "SELECT * FROM (TABLE customers) AS t(a, b, c, d, e, f, g)",
    ),
    (NoLeak, "SELECT DISTINCT ON (ssn) ssn FROM customers"),
    (
        NoLeak,
        "SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'customers'",
    ),
    (
        NoLeak,
        "SELECT histogram_bounds::text FROM pg_stats WHERE attname = 'ssn'",
    ),
];

#[test]
fn reads_of_labelled_columns_in_text() {
    each(|client, sql| client.query(sql).unwrap());
}

#[test]
fn reads_of_labelled_columns_by_the_extended_protocol_in_text_and_binary() {
    each(|client, sql| {
        let mut reply = client.extended(sql, &[], 0).unwrap();
        let binary = client.extended(sql, &[], 1).unwrap();
        reply.frames.extend(binary.frames);
        reply
    });
}

/// Describe of the statement only: the portal's rows come without a description of their own.
#[test]
fn reads_of_labelled_columns_by_named_statements() {
    each(|client, sql| {
        let mut out = parse("named", sql);
        out.extend(frame(b'D', b"Snamed\0"));
        out.extend(bind("a", "named", &[], &[]));
        out.extend(execute("a", 3));
        out.extend(execute("a", 0));
        out.extend(bind("b", "named", &[], &[1]));
        out.extend(execute("b", 0));
        out.extend(frame(b'C', b"Snamed\0"));
        out.extend(frame(b'S', b""));
        client.send_raw(&out).unwrap();
        client.reply().unwrap()
    });
}

fn each(mut ask: impl FnMut(&mut Client, &str) -> weir_tests::wire::Reply) {
    let shop = shop("reads");
    let mut alice = shop.connect(ALICE);
    let mut carol = shop.connect(CAROL);
    let mut seen = 0;
    for (expect, sql) in READS {
        let reply = ask(&mut alice, sql);
        assert_no_leak(sql, &reply);
        match reply.error() {
            None => assert!(!reply.rows.is_empty(), "{sql} gave no rows"),
            Some(error) => {
                assert_eq!(*expect, NoLeak, "{sql}: {error:?}");
                assert_refused(sql, &reply);
            }
        }
        let cleared = ask(&mut carol, sql);
        let shown = leaks(&cleared.bytes()).is_some();
        seen += usize::from(shown);
        if *expect == Masked {
            assert!(
                shown,
                "{sql} shows nothing with clearance: the row proves nothing"
            );
        }
        usable(&mut alice, sql);
    }
    // If clearance showed little, the table above would be a test of nothing.
    assert!(
        seen * 2 > READS.len(),
        "only {seen} of {} show something at all",
        READS.len()
    );
}

fn usable(client: &mut Client, after: &str) {
    let reply = client.query("SELECT 1").unwrap();
    assert_eq!(
        reply.text(0, 0).as_deref(),
        Some("1"),
        "after {after}: {reply:?}"
    );
}

/// Values that differ only where they are masked must give streams that do not differ at all.
#[test]
fn what_is_masked_cannot_be_told_apart() {
    let shop = shop("interference");
    let mut alice = shop.connect(ALICE);
    let read = |alice: &mut Client| -> Vec<Vec<u8>> {
        let asks = READS
            .iter()
            .filter(|(expect, _)| *expect == Masked)
            .map(|(_, sql)| *sql);
        asks.filter(|sql| !sql.contains("FROM customers ORDER BY"))
            .flat_map(|sql| {
                [
                    alice.query(sql).unwrap().bytes(),
                    alice.extended(sql, &[], 1).unwrap().bytes(),
                ]
            })
            .collect()
    };
    let before = read(&mut alice);
    // The same length, other characters: what keeps the length must keep nothing else.
    shop.direct(
        "UPDATE customers SET ssn = translate(ssn, '0123456789', '5678901234'),
             email = translate(email, 'abcdefgh', 'stuvwxyz'),
             card = translate(card, '0123456789', '5678901234');
         VACUUM FULL customers; CLUSTER customers USING customers_pkey",
    );
    let after = read(&mut alice);
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(
            String::from_utf8_lossy(before),
            String::from_utf8_lossy(after),
            "read {i} tells masked values apart"
        );
    }
}

/// Two tables of one name, one of them without labels: what a name means when a statement is judged
/// must be what it means when it runs, or nothing is shown.
#[test]
fn names_that_change_their_meaning() {
    // Not in production: there DDL waits for people.
    let shop = shop_with("meanings", |_| {}, |setup| setup.env = "staging".into());
    let twin = "DROP SCHEMA IF EXISTS x CASCADE; CREATE SCHEMA x AUTHORIZATION weir;
        CREATE TABLE x.customers (a integer); ALTER TABLE x.customers OWNER TO weir";
    let read = "SELECT 'q' || c FROM customers c";

    // Bound while it meant one thing, run when it means another.
    for (before, sql, after) in [
        (
            "SET search_path = x, public",
            "COPY customers TO STDOUT",
            "SET search_path = public",
        ),
        (
            "PREPARE p AS SELECT item FROM orders",
            "EXECUTE p",
            "DEALLOCATE p; PREPARE p AS SELECT ssn FROM customers",
        ),
        (
            "DECLARE c CURSOR FOR SELECT item FROM orders",
            "FETCH ALL FROM c",
            "CLOSE c; DECLARE c CURSOR FOR SELECT ssn FROM customers",
        ),
    ] {
        shop.direct(twin);
        let mut alice = shop.connect(ALICE);
        alice.query("BEGIN").unwrap();
        alice.query(before).unwrap();
        let mut out = parse("s", sql);
        out.extend(bind("late", "s", &[], &[]));
        out.extend(frame(b'D', b"Plate\0"));
        out.extend(frame(b'S', b""));
        alice.send_raw(&out).unwrap();
        alice.reply().unwrap();
        for step in after.split("; ") {
            alice.query(step).unwrap();
        }
        alice
            .send_raw(&[execute("late", 0), frame(b'S', b"")].concat())
            .unwrap();
        assert_no_leak(sql, &alice.reply().unwrap());
    }

    // Another session takes the harmless one away while the statement waits for its lock.
    for sql in [
        read,
        "SELECT * FROM customers",
        "SELECT c::text::integer FROM customers c",
    ] {
        shop.direct(twin);
        let mut alice = shop.connect(ALICE);
        let mut other = shop.connect(("dora@example.test", &["staff", "dba"]));
        alice.query("SET search_path = x, public").unwrap();
        alice.query("SELECT 1 FROM customers").unwrap();
        other.query("BEGIN").unwrap();
        let renamed = other
            .query("ALTER TABLE x.customers RENAME TO gone")
            .unwrap();
        assert!(renamed.error().is_none(), "{:?}", renamed.error());
        alice
            .send_raw(&frame(b'Q', &[sql.as_bytes(), b"\0"].concat()))
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        other.query("COMMIT").unwrap();
        assert_no_leak(sql, &alice.reply().unwrap());
    }
}

#[test]
fn clearance_shows_and_lack_of_it_does_not() {
    let shop = shop("clearance");
    let sql = "SELECT ssn FROM customers WHERE id = 5";
    let seen = shop.psql(CAROL).run(sql).unwrap();
    assert_eq!(seen.stdout, "912-45-7005\n", "{}", seen.all());
    let masked = shop.psql(ALICE).run(sql).unwrap();
    assert!(
        masked.ok() && leaks(masked.all().as_bytes()).is_none(),
        "{}",
        masked.all()
    );
    assert_ne!(
        masked.stdout.trim(),
        "",
        "a masked value is still a value: {}",
        masked.all()
    );
}

/// Values that are too large to be held: looked at through windows, wherever in them something stands,
/// by both protocols and in both formats.
#[test]
fn what_is_found_in_a_very_large_value_does_not_pass() {
    let shop = shop("large-values");
    let mut client = shop.connect(ALICE);
    const HALF: usize = 9_000_000;
    let sql = format!(
        "SELECT 1, repeat('x', {HALF}) || ' jane@example.org ' || repeat('y', {HALF}), NULL, 'tail'"
    );
    let length = 2 * HALF + " jane@example.org ".len();
    for way in 0..3 {
        let reply = match way {
            0 => client.query(&sql),
            format => client.extended(&sql, &[], format - 1),
        };
        let reply = reply.unwrap();
        assert!(reply.error().is_none(), "{way}: {:?}", reply.error());
        let shown = reply.text(0, 1).unwrap();
        assert_eq!(shown.len(), length, "{way}");
        let clear = shown.bytes().take_while(|c| *c == b'x').count();
        assert!(clear < HALF && clear > HALF - (2 << 20), "{way}: {clear}");
        assert!(shown.bytes().skip(clear).all(|c| c == b'*'), "{way}");
        assert_eq!(reply.text(0, 2), None, "{way}");
        assert_eq!(reply.text(0, 3).as_deref(), Some("tail"), "{way}");
        usable(&mut client, &sql);
    }
    // Larger than what is ever looked at as a whole, with nothing in it.
    let sql = "SELECT repeat('x', 70000000)";
    let shown = client.query(sql).unwrap().text(0, 0).unwrap();
    assert!(shown.len() == 70_000_000 && shown.bytes().all(|c| c == b'x'));
    usable(&mut client, sql);
    // Beside a column that policy hides, such a row cannot pass.
    let sql = "SELECT repeat('x', 70000000), ssn FROM customers";
    let reply = client.query(sql);
    let said = reply.map(|r| r.error().map(|e| e.message().to_owned()));
    let ended = match &said {
        Ok(error) => error.is_some(),
        Err(_) => true,
    };
    assert!(ended, "{said:?}");
}

/// With such a configuration of the masker.
fn searched(name: &str, config: &str) -> Shop {
    let configure = |setup: &mut Setup| {
        let mut plugins = setup.plugins.iter_mut();
        let plugin = plugins.find(|p| p.name == "mask-pii").unwrap();
        plugin.config = config.into();
    };
    shop_with(name, |_| {}, configure)
}

/// Columns of text that no label covers, in every format, whether the host searches them or the plugin
/// does in its sandbox: both come to the same.
#[test]
fn free_text_is_searched_by_the_host_as_by_the_plugin() {
    let select = "SELECT n, CASE WHEN n % 7 = 3 THEN 'paid with 4111 1111 1111 1111, call 212-555-0123' \
                  ELSE 'order ' || n END, \
                  CASE WHEN n = 5 THEN '{\"pan\": 4111111111111111, \"m\": \"jane@example.org\"}'::jsonb \
                  END, ARRAY['x', CASE WHEN n = 6 THEN 'jane@example.org' END] \
                  FROM generate_series(1, 40) AS n";
    let mut seen = Vec::new();
    for (name, config) in [("text-host", ""), ("text-plugin", "inspect = \"on\"")] {
        let shop = searched(name, config);
        let mut client = shop.connect(ALICE);
        shop.direct(&format!(
            "INSERT INTO probe SELECT q.text FROM ({select}) AS q(n, text) ORDER BY q.n"
        ));
        let replies = [
            client.query(select).unwrap(),
            client.extended(select, &[], 0).unwrap(),
            client.extended(select, &[], 1).unwrap(),
            client.query("COPY probe TO STDOUT").unwrap(),
        ];
        for reply in &replies {
            assert!(reply.error().is_none(), "{:?}", reply.error());
            let bytes = String::from_utf8_lossy(&reply.bytes()).into_owned();
            for secret in ["4111", "212-555", "jane@"] {
                assert!(!bytes.contains(secret), "{name}: {bytes}");
            }
        }
        let [plain, .., copied] = &replies;
        assert_eq!(plain.rows.len(), 40);
        let cell = |row, column| plain.text(row, column);
        let marked = cell(2, 1);
        assert_eq!(marked.as_deref(), Some("paid with [card], call [phone]"));
        assert_eq!(cell(0, 1).as_deref(), Some("order 1"));
        assert_eq!(
            cell(4, 2).as_deref(),
            Some("{\"m\": \"[email]\", \"pan\": null}")
        );
        assert_eq!(cell(5, 3), None, "an array with a finding is NULL");
        assert_eq!(cell(6, 3).as_deref(), Some("{x,NULL}"));
        let lines = String::from_utf8_lossy(&copied.copied).into_owned();
        let found = lines.matches("paid with [card], call [phone]\n").count();
        assert_eq!((found, lines.lines().count()), (6, 40), "{lines}");
        seen.push(replies.map(|r| (r.rows, r.copied)));
    }
    assert!(seen.windows(2).all(|both| both[0] == both[1]));
}

/// A plugin judges whole values: what it inspects is held until all of it is there, or shown to nobody.
#[test]
fn a_plugin_gets_large_values_whole() {
    let shop = searched("large-inspected", "inspect = \"on\"");
    let mut client = shop.connect(ALICE);
    let shown = |client: &mut Client, n: usize| {
        let sql = format!("SELECT repeat('x', {n}) || ' jane@example.org'");
        let reply = client.query(&sql).unwrap();
        assert!(reply.error().is_none(), "{n}: {:?}", reply.error());
        reply.text(0, 0).unwrap()
    };
    let whole = shown(&mut client, 5 << 20);
    let kept = whole.strip_suffix(" [email]").expect("the plugin's edit");
    assert!(kept.len() == 5 << 20 && kept.bytes().all(|c| c == b'x'));
    assert_eq!(shown(&mut client, 9 << 20), "[redacted]");
    usable(&mut client, "large values");
}
