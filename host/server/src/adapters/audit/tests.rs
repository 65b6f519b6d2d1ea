//! What the index is told of a record: nothing that could be a value, whatever a client, a database or a
//! plugin puts where.

use std::collections::BTreeMap;
use std::path::Path;

use control::index::IndexLimits;
use recorder::doc::{
    ActorDoc, BinaryDoc, BundleDoc, EndDoc, FindingDoc, LargeDoc, NamedDoc, ParameterDoc,
    PluginDoc, RelationDoc, RiskDoc, ScopeDoc, SqlDoc, TargetDoc,
};
use uuid::Uuid;

use super::*;

mod hosts;

/// Stands for what must not be in the index.
const SECRET: &str = "Hunter2secret";

fn person(subject: &str) -> PrincipalDoc {
    PrincipalDoc {
        actor: ActorDoc {
            kind: "User".into(),
            subject: subject.into(),
            groups: vec!["dba".into()],
            mfa: true,
            autonomous: false,
            owner: None,
            attrs: BTreeMap::from([("email".into(), SECRET.into())]),
        },
        on_behalf_of: vec![],
        issuer: "https://issuer.test".into(),
        expires_ns: 1,
        token_id: Some(SECRET.into()),
        login: None,
        amr: vec![],
        acr: None,
    }
}

fn bundle() -> BundleDoc {
    BundleDoc {
        name: "default".into(),
        version: 1,
        digest: "ab".into(),
    }
}

fn session() -> StartDoc {
    StartDoc {
        retention_days: None,
        v: 1,
        salt: String::new(),
        who: person("alice"),
        target: TargetDoc {
            name: "shop".into(),
            protocol: "postgres".into(),
            env: "prod".into(),
            tags: BTreeMap::from([("note".into(), SECRET.into())]),
        },
        scope: ScopeDoc::Database("shop".into()),
        source: "192.0.2.7".into(),
        bundle: bundle(),
        key: None,
        attrs: BTreeMap::from([("application_name".into(), SECRET.into())]),
    }
}

fn action(text: &str, parsed: bool, column: &str) -> ActionDoc {
    let relation = RelationDoc {
        name: "public.Users".into(),
        path: vec![],
        labels: vec!["pii".into()],
    };
    // The client calls something so; no server has said that there is such a thing.
    let said = RelationDoc {
        name: SECRET.into(),
        path: vec![],
        labels: vec![],
    };
    let access = |resource: &str, flags: &[&str]| AccessDoc {
        action: "postgres:select".into(),
        kind: "PgTable".into(),
        resource: resource.into(),
        path: vec![],
        target: None,
        labels: vec!["pii".into()],
        flags: flags.iter().map(|f| (*f).to_owned()).collect(),
    };
    ActionDoc {
        basis: None,
        facts: FactsDoc::Sql(SqlDoc {
            text: text.into(),
            runs: vec![NamedDoc {
                name: "p".into(),
                text: format!("SELECT '{SECRET}'"),
                parameters: parameters(),
            }],
            kind: "select".into(),
            parsed,
            has_where: true,
            has_limit: false,
            limit: None,
            multi_statement: false,
            touches_catalog: false,
            writes: false,
            locks: false,
            read_only_txn: false,
            reads: vec![relation, said],
            writes_to: vec![],
            functions: vec!["pg_catalog.lower".into(), SECRET.into()],
        }),
        accesses: vec![
            AccessDoc {
                action: "data:compute".into(),
                kind: "PgColumn".into(),
                resource: format!("shop.public.Users.{column}"),
                ..access("", &[])
            },
            access("shop.public.Users", &[]),
            access(&format!("shop.public.{SECRET}"), &["unknown"]),
        ],
        risk: RiskDoc {
            set: None,
            fleeting: false,
            score: 70,
            labels: vec!["bulk-read".into()],
            findings: vec![FindingDoc {
                code: "no-limit".into(),
                message: format!("it reads {SECRET}"),
            }],
            demands: vec![format!("refuse {SECRET}")],
            plugins: vec![PluginDoc {
                name: "risk-sql".into(),
                version: "1".into(),
                digest: "cd".into(),
            }],
        },
        bundle: bundle(),
        policies: vec!["grant.read".into()],
    }
}

fn parameters() -> Vec<ParameterDoc> {
    vec![
        ParameterDoc::Text(SECRET.into()),
        ParameterDoc::Hex(SECRET.into()),
        ParameterDoc::Binary(BinaryDoc {
            hex: SECRET.into(),
            of: Some("text".into()),
            text: Some(SECRET.into()),
        }),
        ParameterDoc::Large(LargeDoc {
            sha256: SECRET.into(),
            bytes: 1 << 21,
            start: Box::new(ParameterDoc::Text(SECRET.into())),
        }),
    ]
}

/// The column is what a client wrote, until the server has shown that there is one.
fn intent(text: &str, column: &str) -> FollowedBody {
    FollowedBody::Intent(Box::new(IntentDoc {
        salt: SECRET.into(),
        action: action(text, true, column),
        decision: "permit".into(),
        approval: Some(ApprovalDoc {
            hold: "hold-1".into(),
            rules: vec!["risky".into()],
            approvers: vec!["bob".into()],
            shown: vec![format!("about {SECRET}")],
        }),
        fingerprint: SECRET.into(),
        parameters: parameters(),
        masked: vec![format!("public.users.{column}")],
    }))
}

fn refused(text: &str, parsed: bool) -> FollowedBody {
    FollowedBody::Refused(Box::new(RefusedDoc {
        salt: SECRET.into(),
        action: action(text, parsed, SECRET),
        kind: "denied".into(),
        reason: format!("no {SECRET}"),
        fingerprint: SECRET.into(),
        parameters: parameters(),
        hold: None,
        shown: vec![SECRET.into()],
    }))
}

fn outcome_of(kind: &str, detail: &str) -> FollowedBody {
    FollowedBody::Outcome(OutcomeDoc {
        salt: SECRET.into(),
        outcome: kind.into(),
        detail: detail.into(),
        ..OutcomeDoc::unknown()
    })
}

fn control_doc() -> FollowedBody {
    FollowedBody::Control(Box::new(ControlDoc {
        salt: SECRET.into(),
        who: Some(person("olga")),
        action: "audit:read".into(),
        resource: "System".into(),
        refused: Some(format!("because of {SECRET}")),
        detail: format!("GET /v1/audit/actions: {{\"text\":\"{SECRET}\"}}"),
    }))
}

/// Wherever a statement can have a value.
fn statements() -> Vec<String> {
    [
        "SELECT * FROM users WHERE password = '§'",
        "SELECT * FROM users WHERE password = E'\\x41§'",
        "SELECT * FROM users WHERE password = $$§$$ -- §",
        "/* § */ SELECT * FROM users /* /* § */ */",
        "SELECT * FROM users WHERE password = \"§\"",
        "SELECT 1 AS \"§\"",
        "SELECT U&'§', U&\"§\", N'§', B'01'",
        "ALTER ROLE bob PASSWORD '§'",
        "SET app.token = §",
        "SET app.token TO §",
        "ALTER ROLE bob SET app.token = §",
        "COMMENT ON TABLE users IS '§'",
        "DO $do$ BEGIN RAISE '§'; END $do$",
        "NOTIFY channel, '§'",
        "COPY users FROM PROGRAM 'echo §'",
        "INSERT INTO users VALUES (1, '§'), (2, '§')",
        "SELECT 'a\\' || § || 'b'",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''§'''",
        "SELECT '{\"§\": 1}'::jsonb->>'§'",
        "SELECT * FROM users WHERE password = 'unfinished §",
    ]
    .map(|sql| sql.replace('§', SECRET))
    .into()
}

fn holds(dir: &Path, needle: &str) -> bool {
    let needle = needle.to_ascii_lowercase();
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let bytes = bytes.to_ascii_lowercase();
        bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
    })
}

#[test]
fn no_value_is_in_a_byte_of_the_index() {
    let dir = std::env::temp_dir().join(format!("weir-audit-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    let index = Index::open(&dir.join("index"), IndexLimits::default()).unwrap();
    let feed = Feed::new(index);
    let (stream, control) = (Uuid::now_v7(), Uuid::now_v7());
    let mut records = Vec::new();
    let mut add = |stream: Uuid, action: Option<u64>, body: FollowedBody| {
        records.push(Followed {
            stream,
            n: records.len() as u64,
            at_ns: 1_800_000_000_000_000_000,
            action,
            body,
        });
    };
    add(stream, None, FollowedBody::Start(Box::new(session())));
    let mut seq = 0;
    for sql in statements() {
        assert!(sql.contains(SECRET), "{sql}");
        for (kind, detail) in [
            ("done", "SELECT 1"),
            ("failed", "42703"),
            ("done", &format!("NOTICE: no \"{SECRET}\"")),
        ] {
            let column = if kind == "done" { "ssn" } else { SECRET };
            add(stream, Some(seq), intent(&sql, column));
            add(stream, Some(seq), outcome_of(kind, detail));
            seq += 1;
        }
        add(stream, Some(seq), refused(&sql, true));
        add(stream, Some(seq + 1), refused(&sql, false));
        seq += 2;
    }
    // What is taken for a name until the server says that it is none, if it ever does.
    let unquoted = format!("SELECT 1 FROM users WHERE password = {SECRET}");
    add(stream, Some(seq), refused(&unquoted, false));
    add(stream, Some(seq + 1), intent(&unquoted, SECRET));
    add(stream, Some(seq + 1), outcome_of("failed", "22012"));
    add(stream, Some(seq + 2), intent(&unquoted, SECRET));
    add(stream, Some(seq + 3), intent(&unquoted, SECRET));
    add(stream, Some(seq + 3), outcome_of("cancelled", ""));
    add(stream, Some(seq + 4), intent(&unquoted, SECRET));
    add(stream, Some(seq + 4), outcome_of("unknown", ""));
    add(stream, Some(seq + 5), refused(&unquoted, true));
    let end = EndDoc::new("killed", &format!("by olga: {SECRET}"));
    add(stream, None, FollowedBody::End(end));
    add(control, None, control_doc());
    add(control, None, FollowedBody::Unreadable);
    let place = Place {
        file: 1,
        chain: [1; 32],
    };
    for parcel in records.chunks(7) {
        feed.take(parcel, place).unwrap();
    }
    // The test looks at what is there, and the words are.
    for there in [
        "alice",
        "olga",
        "ALTER ROLE bob PASSWORD ?",
        "shop.public.Users",
        "no-limit",
        "PgColumn::shop.public.Users.ssn",
    ] {
        assert!(holds(&dir, there), "{there} is not there");
    }
    assert!(!holds(&dir, SECRET), "a value is in the index");
    drop(feed);
    assert!(!holds(&dir, SECRET), "a value is in the closed index");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn known_names_in_quotes_stay() {
    let dir = std::env::temp_dir().join(format!("weir-audit-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    let feed = Feed::new(Index::open(&dir.join("index"), IndexLimits::default()).unwrap());
    let text = |sql: &str, parsed| feed.text(&action(sql, parsed, "ssn"));
    let found = text(
        "SELECT \"Ssn\" AS x FROM public.\"Users\" WHERE id = 7",
        true,
    )
    .unwrap();
    assert_eq!(
        found.carried,
        "SELECT ? AS x FROM public.\"Users\" WHERE id = ?"
    );
    assert_eq!(
        found.known,
        "SELECT ? AS ? FROM public.\"Users\" WHERE ? = ?"
    );
    assert!(text("SELECT 1", false).is_err());
    assert!(text("SELECT 'a\\' 'b", true).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_erasure_takes_the_session_out_of_the_index() {
    let dir = std::env::temp_dir().join(format!("weir-audit-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    let feed = Feed::new(Index::open(&dir.join("index"), IndexLimits::default()).unwrap());
    let (session, control) = (Uuid::now_v7(), Uuid::now_v7());
    let record = |stream, n, action, body| Followed {
        stream,
        n,
        at_ns: 1_800_000_000_000_000_000,
        action,
        body,
    };
    let records = [
        record(
            session,
            0,
            None,
            FollowedBody::Start(Box::new(self::session())),
        ),
        record(
            session,
            1,
            Some(1),
            intent("SELECT zebra FROM \"Users\"", "ssn"),
        ),
        record(session, 2, Some(1), outcome_of("done", "SELECT 1")),
    ];
    let place = Place {
        file: 1,
        chain: [1; 32],
    };
    feed.take(&records, place).unwrap();
    assert!(holds(&dir, "zebra") && holds(&dir, "alice"));
    let erasure = FollowedBody::Erasure(Box::new(ErasureDoc {
        salt: String::new(),
        session: session.to_string(),
        who: Some(person("olga")),
        reason: format!("asked for by {SECRET}"),
        outcome: None,
    }));
    feed.take(&[record(control, 5, None, erasure)], place)
        .unwrap();
    for gone in ["zebra", "alice", SECRET] {
        assert!(!holds(&dir, gone), "{gone} is still there");
    }
    assert!(holds(&dir, &session.to_string()) && holds(&dir, "olga"));
    feed.take(&records, place).unwrap();
    assert!(!holds(&dir, "zebra"), "it came back");
    std::fs::remove_dir_all(&dir).unwrap();
}
