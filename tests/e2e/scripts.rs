//! Labelled columns in what is no plain read: COPY, cursors, prepared statements, copies of rows,
//! errors, notices, plans. Each step says what comes, for who must not see and for who may: a step
//! that merely showed nothing would pass with everything refused.

use weir_tests::dataset::leaks;
use weir_tests::wire::{Client, Reply};

use crate::shop::{ALICE, ANNA, CAROL, assert_no_leak, assert_refused, shop, shop_with};

/// What comes of a statement for who must not see the labelled columns. Never a planted value.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// This command tag, and nothing else.
    Tag(&'static str),
    /// So many rows, all like this one.
    Rows(usize, &'static [Option<&'static str>]),
    /// So many lines of COPY, of which this is the first.
    Copied(usize, &'static str),
    /// Data of COPY that no line can be cut from, with this in it.
    Holds(&'static str),
    /// A plan: at least one row, and no text in it.
    EmptyPlan,
    /// A refusal of Weir's, SQLSTATE 42501.
    Refused,
    /// The server's own SQLSTATE, and not its text.
    Withheld(&'static str),
}
use Comes::{Copied, EmptyPlan, Holds, Refused, Rows, Tag, Withheld};

/// What comes of the same statement with clearance.
#[derive(Debug, Clone, Copy)]
enum Cleared {
    /// Planted values.
    Planted,
    /// No error, and nothing planted: the statement shows none.
    Passes,
    /// This text of the server's.
    Says(&'static str),
    /// An error with this SQLSTATE. With a detector that might have found something in a format that
    /// cannot be masked, clearance for labels is not enough.
    Fails(&'static str),
}
use Cleared::{Fails, Passes, Planted, Says};

type Step = (&'static str, Comes, Cleared);

const SECRET: Option<&str> = Some("[redacted]");

const SCRIPTS: &[&[Step]] = &[
    &[(
        "COPY customers TO STDOUT",
        Copied(
            20,
            "1\tCustomer 1\t[redacted]\t[redacted]\t[redacted]\tprefers tea, order 1\t100.25",
        ),
        Planted,
    )],
    &[(
        "COPY customers (ssn) TO STDOUT",
        Copied(20, "[redacted]"),
        Planted,
    )],
    &[(
        "COPY customers (id, card) TO STDOUT",
        Copied(20, "1\t[redacted]"),
        Planted,
    )],
    // The default options, spelled out as drivers do.
    &[(
        "COPY customers (id, ssn) TO STDOUT WITH DELIMITER AS E'\t' NULL AS E'\\\\N'",
        Copied(20, "1\t[redacted]"),
        Planted,
    )],
    &[(
        "COPY customers (id, ssn) TO STDOUT (NULL '\\N', DELIMITER E'\t', FORMAT text)",
        Copied(20, "1\t[redacted]"),
        Planted,
    )],
    &[(
        "COPY customers (id, ssn) TO STDOUT (DELIMITER '-')",
        Copied(20, "1-[redacted]"),
        Passes,
    )],
    &[(
        "COPY customers (id, ssn) TO STDOUT (NULL '912')",
        Refused,
        Planted,
    )],
    &[(
        "COPY customers (ssn, name) TO STDOUT WITH (FORMAT csv, HEADER)",
        Copied(21, "ssn,name"),
        Planted,
    )],
    &[(
        "COPY customers (name, ssn) TO STDOUT WITH CSV DELIMITER ';' QUOTE '''' FORCE QUOTE *",
        Copied(20, "'Customer 1';'[redacted]'"),
        Planted,
    )],
    // How the lines are encoded is not followed.
    &[(
        "COPY customers TO STDOUT WITH (FORMAT csv, ENCODING 'LATIN1')",
        Refused,
        Fails("42501"),
    )],
    &[(
        "COPY customers TO STDOUT WITH (FORMAT binary)",
        Holds("[redacted]"),
        Planted,
    )],
    &[(
        "COPY customers (id, balance) TO STDOUT (FORMAT binary)",
        Holds("PGCOPY"),
        Passes,
    )],
    &[(
        "COPY (SELECT id, name FROM customers WHERE id < 3 ORDER BY id) TO STDOUT (FORMAT csv)",
        Copied(2, "1,Customer 1"),
        Passes,
    )],
    &[(
        "COPY (SELECT email FROM customers) TO STDOUT",
        Copied(20, "[redacted]"),
        Planted,
    )],
    &[(
        "COPY (SELECT upper(card) FROM customers) TO STDOUT",
        Copied(20, "\\N"),
        Planted,
    )],
    &[(
        "COPY (SELECT code FROM customer_view) TO STDOUT (FORMAT csv)",
        Copied(20, "\"[redacted]\""),
        Planted,
    )],
    &[(
        "COPY customers TO '/tmp/weir-must-not-exist'",
        Refused,
        Fails("42501"),
    )],
    &[
        ("BEGIN", Tag("BEGIN"), Passes),
        (
            "DECLARE c CURSOR FOR SELECT ssn, email FROM customers",
            Tag("DECLARE CURSOR"),
            Passes,
        ),
        ("FETCH ALL FROM c", Rows(20, &[SECRET, SECRET]), Planted),
        ("COMMIT", Tag("COMMIT"), Passes),
    ],
    &[
        ("BEGIN", Tag("BEGIN"), Passes),
        (
            "DECLARE c SCROLL CURSOR FOR SELECT ssn AS x FROM customers",
            Tag("DECLARE CURSOR"),
            Passes,
        ),
        ("FETCH 2 FROM c", Rows(2, &[SECRET]), Planted),
        ("MOVE FORWARD 3 IN c", Tag("MOVE 3"), Passes),
        ("FETCH BACKWARD 2 FROM c", Rows(2, &[SECRET]), Planted),
        ("CLOSE c", Tag("CLOSE CURSOR"), Passes),
        ("COMMIT", Tag("COMMIT"), Passes),
    ],
    &[
        ("BEGIN", Tag("BEGIN"), Passes),
        (
            "DECLARE c BINARY CURSOR FOR SELECT card FROM customers",
            Tag("DECLARE CURSOR"),
            Passes,
        ),
        ("FETCH ALL FROM c", Rows(20, &[SECRET]), Planted),
        ("COMMIT", Tag("COMMIT"), Passes),
    ],
    &[
        ("BEGIN", Tag("BEGIN"), Passes),
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT email FROM customers",
            Tag("DECLARE CURSOR"),
            Passes,
        ),
        ("COMMIT", Tag("COMMIT"), Passes),
        ("FETCH ALL FROM c", Rows(20, &[SECRET]), Planted),
    ],
    &[
        (
            "PREPARE p AS SELECT ssn FROM customers WHERE id = $1",
            Tag("PREPARE"),
            Passes,
        ),
        ("EXECUTE p(3)", Rows(1, &[SECRET]), Planted),
        ("DEALLOCATE p", Tag("DEALLOCATE"), Passes),
    ],
    &[
        (
            "PREPARE p(text) AS SELECT $1, email FROM customers",
            Tag("PREPARE"),
            Passes,
        ),
        ("EXECUTE p('x')", Rows(20, &[Some("x"), SECRET]), Planted),
        ("DEALLOCATE ALL", Tag("DEALLOCATE ALL"), Passes),
    ],
    &[
        (
            "CREATE TEMP TABLE t AS SELECT ssn AS plain FROM customers",
            Refused,
            Passes,
        ),
        ("SELECT plain FROM t", Refused, Planted),
    ],
    &[
        (
            "CREATE TEMP VIEW v AS SELECT ssn AS plain FROM customers",
            Refused,
            Passes,
        ),
        ("SELECT plain FROM v", Refused, Planted),
    ],
    &[
        (
            "SELECT ssn AS plain INTO TEMP u FROM customers",
            Refused,
            Passes,
        ),
        ("SELECT plain FROM u", Refused, Planted),
    ],
];

#[test]
fn copies_and_cursors() {
    // Not in production: there DDL waits for people.
    let shop = shop_with("copies", |_| {}, |setup| setup.env = "staging".into());
    for script in SCRIPTS {
        for cleared in [false, true] {
            let mut client = shop.connect(if cleared { CAROL } else { ALICE });
            for (sql, comes, with_clearance) in *script {
                let reply = client.query(sql).unwrap();
                if cleared {
                    assert_cleared(sql, &reply, *with_clearance);
                } else {
                    assert_comes(sql, &reply, *comes);
                }
            }
            assert_eq!(client.query("ROLLBACK").unwrap().status, b'I', "{script:?}");
            usable(&mut client, script[0].0);
        }
    }
    assert!(!std::path::Path::new("/tmp/weir-must-not-exist").exists());
}

/// What the server says about values when it fails, warns or explains.
const ALOUD: &[Step] = &[
    (
        "SELECT ssn::integer FROM customers",
        Withheld("22P02"),
        Planted,
    ),
    (
        "SELECT 1 / (length(email) - length(email)) FROM customers",
        Withheld("22012"),
        Says("division by zero"),
    ),
    (
        "SELECT CAST(email AS date) FROM customers",
        Withheld("22007"),
        Planted,
    ),
    (
        "SELECT replace(card, '-', '')::integer FROM customers",
        Withheld("22003"),
        Planted,
    ),
    (
        "SELECT xmlparse(document email) FROM customers",
        Withheld("2200M"),
        Planted,
    ),
    (
        "SELECT jsonb_path_query(to_jsonb(ssn), 'strict $.x') FROM customers",
        Withheld("2203A"),
        Says("can only be applied to an object"),
    ),
    // The server adds the whole row that failed.
    (
        "UPDATE customers SET name = NULL WHERE id = 4",
        Withheld("23502"),
        Planted,
    ),
    (
        "EXPLAIN ANALYZE SELECT * FROM customers WHERE ssn = (SELECT max(ssn) FROM customers)",
        EmptyPlan,
        Says("Seq Scan on customers"),
    ),
    (
        "EXPLAIN (ANALYZE, VERBOSE) SELECT email FROM customers",
        EmptyPlan,
        Says("Output: email"),
    ),
    (
        "EXPLAIN VERBOSE SELECT * FROM customers WHERE card > '4111-1111-1111-1119'",
        EmptyPlan,
        Says("Seq Scan on public.customers"),
    ),
    (
        "INSERT INTO probe SELECT ssn FROM customers RETURNING v",
        Refused,
        Planted,
    ),
    (
        "INSERT INTO customers SELECT id, name, email, ssn, card, notes, balance FROM customers",
        // Every value stays under the labels that it had; what the server says would show some.
        Withheld("23505"),
        Fails("23505"),
    ),
];

#[test]
fn errors_and_plans() {
    let shop = shop("errors");
    let (mut anna, mut carol) = (shop.connect(ANNA), shop.connect(CAROL));
    for (sql, comes, with_clearance) in ALOUD {
        for binary in [false, true] {
            let ask = |client: &mut Client| match binary {
                false => client.query(sql).unwrap(),
                true => client.extended(sql, &[], 1).unwrap(),
            };
            assert_comes(sql, &ask(&mut anna), *comes);
            assert_cleared(sql, &ask(&mut carol), *with_clearance);
            usable(&mut anna, sql);
        }
    }
}

/// A function's body is nobody's to read: whatever it says aloud keeps its place and loses its text.
#[test]
fn notices_and_errors_of_functions() {
    let shop = shop("notices");
    shop.direct(
        "CREATE FUNCTION public.tell(wanted integer, how text) RETURNS integer LANGUAGE plpgsql AS $$
         DECLARE secret text := (SELECT ssn FROM public.customers WHERE id = wanted);
         BEGIN
             IF how = 'error' THEN
                 RAISE EXCEPTION 'it is %', secret USING ERRCODE = 'WE001', DETAIL = secret, HINT = secret;
             END IF;
             RAISE NOTICE 'it is %', secret USING DETAIL = secret, HINT = secret;
             RETURN wanted;
         END $$",
    );
    let mut alice = shop.connect(ALICE);
    let noticed = alice.query("SELECT tell(3, 'notice')").unwrap();
    assert_comes("a notice", &noticed, Rows(1, &[None]));
    let [notice] = noticed.notices.as_slice() else {
        panic!("one notice was to come: {:?}", noticed.notices);
    };
    assert!(notice.message().contains("withheld"), "{notice:?}");
    let failed = alice.query("SELECT tell(3, 'error')").unwrap();
    assert_comes("an error", &failed, Withheld("WE001"));
    // What the server would have said.
    let said = shop
        .psql_direct("SELECT tell(3, 'notice'); SELECT tell(3, 'error')")
        .unwrap();
    assert_eq!(said.matches("912-45-7003").count(), 6, "{said}");
}

fn assert_comes(sql: &str, reply: &Reply, comes: Comes) {
    assert_no_leak(sql, reply);
    if !matches!(comes, Refused | Withheld(_)) {
        assert!(reply.error().is_none(), "{sql}: {:?}", reply.error());
    }
    match comes {
        Tag(tag) => {
            assert_eq!(reply.tags, [tag], "{sql}");
            assert!(reply.rows.is_empty() && reply.copied.is_empty(), "{sql}");
        }
        Rows(count, like) => {
            assert_eq!(reply.rows.len(), count, "{sql}: {reply:?}");
            for row in 0..count {
                let shown: Vec<Option<String>> =
                    (0..like.len()).map(|c| reply.text(row, c)).collect();
                let shown: Vec<Option<&str>> = shown.iter().map(Option::as_deref).collect();
                assert_eq!(shown, like, "{sql}: row {row}");
                assert_eq!(reply.rows[row].len(), like.len(), "{sql}: row {row}");
            }
        }
        Copied(count, first) => {
            let text = String::from_utf8_lossy(&reply.copied);
            assert_eq!(text.lines().count(), count, "{sql}: {text}");
            assert_eq!(text.lines().next(), Some(first), "{sql}");
        }
        Holds(part) => {
            let text = String::from_utf8_lossy(&reply.copied);
            assert!(text.contains(part), "{sql}: {text}");
        }
        EmptyPlan => {
            assert!(!reply.rows.is_empty(), "{sql}: {reply:?}");
            assert!(
                reply.rows.iter().flatten().all(Option::is_none),
                "{sql}: {reply:?}"
            );
        }
        Refused => assert_refused(sql, reply),
        Withheld(code) => {
            let error = reply
                .error()
                .unwrap_or_else(|| panic!("{sql} passed: {reply:?}"));
            assert_eq!(error.sqlstate(), code, "{sql}: {error:?}");
            assert!(error.message().contains("withheld"), "{sql}: {error:?}");
            // Detail, hint and where may hold values, too.
            for field in ['D', 'H', 'W'] {
                assert_eq!(error.get(field), "", "{sql}: {error:?}");
            }
        }
    }
}

fn assert_cleared(sql: &str, reply: &Reply, cleared: Cleared) {
    let bytes = reply.bytes();
    let text = String::from_utf8_lossy(&bytes);
    match cleared {
        Planted => assert!(
            leaks(&bytes).is_some(),
            "{sql} shows nothing with clearance: the step proves nothing: {reply:?}"
        ),
        Passes => assert!(reply.error().is_none(), "{sql}: {:?}", reply.error()),
        Says(expect) => assert!(text.contains(expect), "{sql}: {text}"),
        Fails(code) => assert_eq!(
            reply.error().map(weir_tests::wire::Fields::sqlstate),
            Some(code),
            "{sql}: {reply:?}"
        ),
    }
}

fn usable(client: &mut Client, after: &str) {
    let reply = client.query("SELECT 1").unwrap();
    assert_eq!(
        reply.text(0, 0).as_deref(),
        Some("1"),
        "after {after}: {reply:?}"
    );
}
