//! Names that nobody wrote: PostgreSQL makes them up for expressions, and a star hides them.

use pipeline::LabelCatalog;

use super::bypass::{Run, SECRET};
use crate::catalog::tests::server::Server;

const LEAKS: &[&str] = &[
    // A star names the columns of a set operation, and what flows into them is not its own.
    "SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp",
    "SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp ORDER BY 1",
    "WITH q AS (SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp) SELECT title FROM q",
    "WITH RECURSIVE q AS (SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp) SELECT title FROM q",
    "SELECT x.title FROM emp c, LATERAL (SELECT * FROM dept WHERE false UNION ALL SELECT c.id, c.ssn) x",
    "SELECT s.zzz FROM (SELECT r.* FROM (SELECT 1 AS i, 'x'::text AS zzz) r WHERE false UNION ALL SELECT id, ssn FROM emp) s",
    "SELECT s.zzz FROM (TABLE dept UNION ALL SELECT id, ssn FROM emp) s (i, zzz)",
    "SELECT s.title FROM ((SELECT * FROM dept WHERE false) UNION ALL (SELECT id, 'x' FROM emp UNION SELECT id, ssn FROM emp)) s",
    "INSERT INTO dept SELECT 1, x.title FROM (SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp) x RETURNING *;;SELECT title FROM dept",
    "CREATE TABLE q1 AS SELECT x.title FROM (SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp) x;;SELECT title FROM q1",
    "UPDATE dept SET title = s.title FROM (SELECT * FROM dept WHERE false UNION ALL SELECT id, ssn FROM emp) s RETURNING dept.title;;SELECT title FROM dept",
    // A name that PostgreSQL made up, mentioned.
    r#"SELECT s."coalesce" FROM (SELECT coalesce(ssn, '') FROM emp) s"#,
    r#"SELECT s."case" FROM (SELECT CASE WHEN true THEN ssn END FROM emp) s"#,
    r#"SELECT s."row" FROM (SELECT ROW(ssn, 1) FROM emp) s"#,
    r#"SELECT s."array" FROM (SELECT ARRAY[ssn] FROM emp) s"#,
    r#"SELECT s."array" FROM (SELECT ARRAY(SELECT ssn FROM emp)) s"#,
    r#"SELECT s."greatest" FROM (SELECT greatest(ssn, '') FROM emp) s"#,
    r#"SELECT s."nullif" FROM (SELECT nullif(ssn, '') FROM emp) s"#,
    r#"SELECT s."?column?" FROM (SELECT ssn || '' FROM emp) s"#,
    r#"SELECT s."xmlconcat" FROM (SELECT xmlconcat(xmlelement(name x, ssn)) FROM emp) s"#,
    r#"SELECT s."xmlelement" FROM (SELECT xmlelement(name x, ssn) FROM emp) s"#,
    r#"SELECT s."current_user" FROM (SELECT CASE WHEN true THEN ssn ELSE current_user END FROM emp) s"#,
    r#"SELECT s."text" FROM (SELECT (ssn || '')::text FROM emp) s"#,
    r#"SELECT s."upper" FROM (SELECT upper(ssn) FROM emp) s"#,
    r#"SELECT s."timezone" FROM (SELECT ('2000-01-01 ' || substr(ssn, 1, 2) || ':00')::timestamp AT TIME ZONE 'UTC' || ssn AS timezone FROM emp) s"#,
    r#"WITH q AS (SELECT coalesce(ssn, '') FROM emp) SELECT "coalesce" FROM q"#,
    r#"CREATE TABLE q2 AS SELECT s."coalesce" AS z FROM (SELECT coalesce(ssn, '') FROM emp) s;;SELECT z FROM q2"#,
    r#"INSERT INTO dept SELECT 1, s."coalesce" FROM (SELECT coalesce(ssn, '') FROM emp) s;;SELECT title FROM dept"#,
    // The ELSE of a CASE gives the name.
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE current_catalog END FROM emp) s",
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE current_schema END FROM emp) s",
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE current_date::text END FROM emp) s",
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE localtimestamp::text END FROM emp) s",
    "SELECT s.current_time FROM (SELECT CASE WHEN true THEN ssn ELSE current_time::text END FROM emp) s",
    "SELECT s.title FROM (SELECT CASE WHEN true THEN ssn ELSE (SELECT title FROM dept LIMIT 1) END FROM emp) s",
    // A scalar sub-select with a star has one, too.
    "SELECT s.note FROM (SELECT CASE WHEN true THEN ssn ELSE (SELECT * FROM (SELECT note FROM base) b LIMIT 1) END FROM emp) s",
    "SELECT s.a FROM (SELECT CASE WHEN true THEN ssn ELSE (TABLE x.twin LIMIT 1) END FROM emp) s",
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE (TABLE x.twin LIMIT 1) END FROM emp) s",
    "SELECT x.a FROM dept, LATERAL (SELECT (SELECT * FROM x.twin UNION ALL SELECT ssn FROM emp LIMIT 1)) x",
];

/// Values that have nothing to do with what is labelled, beside it.
const CLEAN: &[(&str, &str)] = &[
    (
        "SELECT s.name FROM (SELECT name, coalesce(ssn, '') FROM emp) s ORDER BY 1",
        "ada;bob",
    ),
    (
        r#"SELECT s."coalesce" FROM (SELECT coalesce(title, '') FROM dept) s"#,
        "x",
    ),
    (
        "SELECT * FROM dept UNION ALL SELECT id, title FROM dept",
        "x",
    ),
    (
        "SELECT d.title, (SELECT count(*) FROM emp) AS n FROM dept d",
        "x",
    ),
];

#[test]
fn nobody_wrote_the_name() {
    let server = Server::start("made_up");
    let mut wrong = Vec::new();
    for texts in LEAKS {
        let mut run = Run::on(&server);
        for sql in texts.split(";;") {
            let seen = run.text(sql).unwrap_or_default();
            if seen.contains(SECRET) || seen.contains("111") {
                wrong.push(format!("LEAK {sql}\n    {seen}"));
            }
        }
        let mut run = Run::on(&server);
        run.world.labels = LabelCatalog::default();
        let seen: Vec<String> = texts.split(";;").filter_map(|sql| run.text(sql)).collect();
        if !seen.join(";").contains("111") {
            wrong.push(format!("TESTS NOTHING {texts}\n    {seen:?}"));
        }
    }
    for (sql, expect) in CLEAN {
        let seen = Run::on(&server).text(sql).unwrap_or_default();
        if !seen.contains(expect) {
            wrong.push(format!("OVERMASKED {sql}\n    {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
