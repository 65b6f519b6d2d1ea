//! How clients prove who they are, besides a token as the password: OAUTHBEARER by libpq 18, client
//! certificates made by openssl, both at once; and TLS from the first byte on, and protocol 3.2.

use std::process::Command;
use std::time::Duration;

use weir_tests::certificates::{Authority, Issued};
use weir_tests::oidc::Provider;
use weir_tests::paths;
use weir_tests::postgres::{self, Server};
use weir_tests::proc::{Scratch, eventually, free_port};
use weir_tests::psql::{Output, Psql};
use weir_tests::weir::TARGET;
use weir_tests::wire;

use crate::shop::{ALICE, BOB, Shop, shop_on, shop_with};

const SOON: Duration = Duration::from_secs(20);

/// What the provider's people may do here: alice, by her group staff, what the tests' bundle says.
const GRANTS: &str = r#"
@id("grant.e2e.robots")
permit (principal in Group::"robots",
        action in [Action::"connect", Action::"read"], resource in Target::"orders-prod");
"#;

/// Weir with a port for each way in.
struct Doors {
    shop: Shop,
    provider: Provider,
    people: Authority,
    mesh: Authority,
    /// `auth = "oauth"`
    oauth: u16,
    /// `auth = ["certificate", "password"]`, of the authority `people`
    either: u16,
    /// `auth = "certificate"`, of the authority `mesh`
    machines: u16,
    /// `auth = "certificate+oauth"`, of the authority `people`
    both: u16,
    home: Scratch,
}

fn doors(name: &str) -> Doors {
    let provider = Provider::start().unwrap();
    let home = Scratch::new(&format!("{name}-home")).unwrap();
    let people = Authority::new(home.path(), "people").unwrap();
    let mesh = Authority::new(home.path(), "mesh").unwrap();
    mesh.revoke(&[]).unwrap();
    let ports: Vec<u16> = (0..4).map(|_| free_port().unwrap()).collect();
    let dir = home.path().display().to_string();
    let authorities = format!(
        r#"
[[identity.certificates]]
name = "people"
ca = "{dir}/people.crt"
shared_subjects = true
[[identity.certificates.rule]]
cn = "alice"
kind = "user"
groups = ["staff"]
[[identity.certificates.rule]]
email = "*@staff.example"
kind = "user"
groups = ["staff"]

[[identity.certificates]]
name = "mesh"
ca = "{dir}/mesh.crt"
crl = "{dir}/mesh.crl"
subject_prefix = "mesh:"
max_session_seconds = 6
[[identity.certificates.rule]]
uri = "spiffe://shop.example/job/*"
kind = "workload"
groups = ["robots"]
"#
    );
    let listeners = [
        "auth = \"oauth\"\noauth = { scope = \"openid db:read\" }",
        "auth = [\"certificate\", \"password\"]\nclient_certificates = \"people\"",
        "auth = \"certificate\"\nclient_certificates = \"mesh\"",
        "auth = \"certificate+oauth\"\nclient_certificates = \"people\"",
    ];
    let listeners = listeners.iter().zip(&ports).map(|(lines, port)| {
        format!(
            "[[postgres.listener]]\nlisten = \"127.0.0.1:{port}\"\ntarget = \"{TARGET}\"\n\
             max_connections = 100\n\
             tls = {{ cert = \"{dir}/weir.crt\", key = \"{dir}/weir.key\" }}\n{lines}\n"
        )
    });
    let extra = provider.configuration() + &authorities + &listeners.collect::<String>();
    let shop = shop_with(
        name,
        |bundle| bundle.add("robots.cedar", GRANTS),
        |setup| {
            setup.tls = true;
            setup.home = Some(home.path().to_path_buf());
            setup.extra = extra;
        },
    );
    let [oauth, either, machines, both] = ports[..] else {
        unreachable!("four ports")
    };
    Doors {
        shop,
        provider,
        people,
        mesh,
        oauth,
        either,
        machines,
        both,
        home,
    }
}

/// libpq 18 as psycopg brings it along, with a hook that hands it tokens, as a program would that
/// gets them in its own way. What a test says comes after this.
const LIBPQ: &str = r#"
import ctypes, glob, os, sys, psycopg, psycopg_binary
E = os.environ
lib = ctypes.CDLL(glob.glob(os.path.join(
    os.path.dirname(psycopg_binary.__file__), '..', 'psycopg_binary.libs', 'libpq-*.so*'))[0])
assert lib.PQlibVersion() >= 180000 and psycopg.pq.version() == lib.PQlibVersion()
lib.PQsslAttribute.restype = ctypes.c_char_p
lib.PQsslAttribute.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
lib.PQfullProtocolVersion.argtypes = [ctypes.c_void_p]
class Request(ctypes.Structure):
    _fields_ = [('discovery', ctypes.c_char_p), ('scope', ctypes.c_char_p),
                ('step', ctypes.c_void_p), ('cleanup', ctypes.c_void_p),
                ('token', ctypes.c_char_p), ('user', ctypes.c_void_p)]
asked, token = [], E.get('TOKEN', '').encode()
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def hook(kind, conn, data):
    if kind != 1:   # PQAUTHDATA_OAUTH_BEARER_TOKEN
        return 0
    request = ctypes.cast(data, ctypes.POINTER(Request)).contents
    asked.append((request.discovery.decode(), (request.scope or b'').decode()))
    request.token = token
    return 1
lib.PQsetAuthDataHook(hook)
def connect(port, **more):
    options = dict(host='localhost', hostaddr='127.0.0.1', port=port, dbname=E['DB'], user='whoever',
                   sslmode='verify-full', sslrootcert=E['CA'], connect_timeout=20, **more)
    return psycopg.connect(autocommit=True, **options)
def by_oauth(port, issuer=E.get('ISSUER'), **more):
    return connect(port, oauth_issuer=issuer, oauth_client_id='weir-cli', **more)
def version(conn):
    return lib.PQfullProtocolVersion(conn.pgconn.pgconn_ptr)
def alpn(conn):
    return (lib.PQsslAttribute(conn.pgconn.pgconn_ptr, b'alpn') or b'').decode()
def refused(attempt):
    try:
        attempt()
    except psycopg.Error as e:
        return f'{e.sqlstate}: {e}'
    raise SystemExit('it was let in')
"#;

impl Doors {
    /// What a Python program with libpq 18 prints.
    fn python(&self, port: u16, token: &str, program: &str) -> String {
        let mut python = Command::new(paths::venv().join("bin/python"));
        python
            .args(["-c", &format!("{LIBPQ}{program}")])
            .env("PORT", port.to_string())
            .env("DB", &self.shop.database)
            .env("CA", self.home.join("weir.crt"))
            .env("HOME", self.home.path())
            .env("TOKEN", token)
            .env("ISSUER", self.provider.issuer())
            // The provider of the tests has no TLS, which libpq insists on.
            .env("PGOAUTHDEBUG", "UNSAFE");
        said(&mut python)
    }

    /// Stock psql with a certificate, or with none.
    fn psql(&self, port: u16, shown: Option<&Issued>, password: &str) -> Psql {
        let mut database = format!("dbname={}", self.shop.database);
        match shown {
            Some(Issued { cert, key }) => {
                database += &format!(" sslcert={} sslkey={}", cert.display(), key.display());
            }
            None => database += " sslcert=/nonexistent",
        }
        Psql {
            port,
            user: "whoever".into(),
            database,
            password: password.into(),
            ..self.shop.psql(ALICE)
        }
    }
}

fn said(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{text}{errors}");
    text
}

fn ask(psql: &Psql) -> Output {
    psql.run("SELECT 'in', count(*) FROM customers").unwrap()
}

fn assert_in(psql: &Psql) {
    let out = ask(psql);
    assert!(out.ok() && out.stdout == "in|20\n", "{}", out.all());
}

fn assert_out(psql: &Psql, why: &str) {
    let out = ask(psql);
    assert_eq!(out.status.code(), Some(2), "{}", out.all());
    assert!(
        out.stdout.is_empty() && out.stderr.contains(why),
        "{why}: {}",
        out.all()
    );
}

#[test]
fn libpq_18_finds_the_issuer_and_comes_back_with_a_token() {
    let doors = doors("oauth");
    let alice = doors.provider.login("alice").unwrap();
    let out = doors.python(
        doors.oauth,
        &alice,
        r#"
with by_oauth(E['PORT'], max_protocol_version='latest', sslnegotiation='direct') as conn:
    print(asked, version(conn), alpn(conn))
    print(conn.execute("SELECT id, name, ssn FROM customers WHERE id = 3").fetchone())
    print(conn.execute("SELECT id, ssn FROM customers WHERE id = %s", (3,), binary=True).fetchone())
# One that knows the issuer's document asks for a token first, and connects once.
asked.clear()
with by_oauth(E['PORT'], E['ISSUER'] + '/.well-known/openid-configuration') as conn:
    print(len(asked), conn.execute('SELECT 1').fetchone())
"#,
    );
    let issuer = doors.provider.issuer();
    assert_eq!(
        out,
        format!(
            "[('{issuer}/.well-known/openid-configuration', 'openid db:read')] 30002 postgresql\n\
             (3, 'Customer 3', '[redacted]')\n(3, '[redacted]')\n1 (1,)\n"
        )
    );
    // Nobody was refused: asking where tokens come from is no failed login.
    let log = doors.shop.weir.log();
    assert!(!log.contains("refused"), "{log}");
    for part in [
        "WARN proto_pg",
        "WARN net",
        "WARN server::adapters",
        "ERROR",
    ] {
        assert!(!log.contains(part), "{log}");
    }
    assert_eq!(log.matches("session opened").count(), 2, "{log}");
}

#[test]
fn libpq_18_is_told_what_is_wrong() {
    let doors = doors("oauth-refused");
    let alice = doors.provider.login("alice").unwrap();
    let (head, _) = alice.rsplit_once('.').unwrap();
    let eve = doors.provider.login("eve").unwrap();
    let forged = format!("{head}.{}", eve.rsplit_once('.').unwrap().1);
    let program = "print(refused(lambda: by_oauth(E['PORT'])), len(asked))";
    for (token, expect) in [
        (forged.as_str(), "the access token is not valid"),
        ("a b", "not in the correct format"),
        // A good token of somebody who may do nothing here: known, and not permitted.
        (&eve, "no grant permits"),
    ] {
        let out = doors.python(doors.oauth, token, program);
        assert!(out.contains(expect), "{expect:?} is not in {out}");
    }
    // Which issuer to trust is for the user to say.
    let out = doors.python(
        doors.oauth,
        &alice,
        "print(refused(lambda: connect(E['PORT'])), asked)",
    );
    assert!(out.contains("oauth_issuer") && out.contains("[]"), "{out}");
    let elsewhere = "print(refused(lambda: by_oauth(E['PORT'], 'https://other.example')), asked)";
    let out = doors.python(doors.oauth, &alice, elsewhere);
    assert!(out.contains("is incompatible with oauth_issuer"), "{out}");
    // Nor is a token sent to a server that asks for it as a password, when the user forbids that.
    let program = "print(refused(lambda: by_oauth(E['PORT'], require_auth='oauth')), len(asked))";
    let out = doors.python(doors.shop.weir.pg_port, &alice, program);
    assert!(out.contains("requirement \"oauth\" failed"), "{out}");
    // An older client says that it does not know how, at once; the other port serves it.
    let psql = doors.psql(doors.oauth, None, &alice);
    assert_out(
        &psql,
        "none of the server's SASL authentication mechanisms are supported",
    );
    assert_in(&doors.psql(doors.shop.weir.pg_port, None, &alice));
}

#[test]
fn a_held_statement_waits_and_can_be_given_up_by_libpq_18() {
    let doors = doors("oauth-held");
    let alice = doors.provider.login("alice").unwrap();
    let update = "UPDATE accounts SET balance = balance + 1 WHERE id = 7";
    let program = format!(
        r#"
import threading
conn = by_oauth(E['PORT'], min_protocol_version='3.2', max_protocol_version='3.2')
notices = []
held = threading.Event()
conn.add_notice_handler(lambda n: (notices.append(n.message_primary), held.set()))
# By its own key, of 32 bytes, over TLS as the connection itself.
def give_up():
    held.wait(20)
    conn.cancel_safe(timeout=20)
thread = threading.Thread(target=give_up)
thread.start()
print(refused(lambda: conn.execute("{update} /* mark-given-up */"))[:5], len(notices) > 0)
thread.join()
# What runs is stopped, too.
threading.Timer(1, lambda: conn.cancel_safe(timeout=20)).start()
print(refused(lambda: conn.execute("SELECT count(*) FROM generate_series(1, 20000000000)"))[:5])
print(conn.execute('SELECT 1').fetchone())
print(conn.execute("{update} /* mark-granted */").statusmessage)
"#
    );
    let bob = doors.shop.token(BOB);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| doors.python(doors.oauth, &alice, &program));
        let id = eventually("the second hold", Duration::from_secs(60), || {
            let page = doors
                .shop
                .weir
                .api(&bob, "GET", "/approvals?state=open", None)?;
            let page = page.ok()?.to_string();
            let found = page.contains("mark-granted").then_some(());
            Ok(found.and_then(|()| doors.shop.weir.open_hold(&bob).ok()))
        })
        .unwrap();
        let approved = doors.shop.weir.approve(&bob, id["id"].as_str().unwrap());
        assert_eq!(approved.unwrap().status, 200);
        let out = client.join().unwrap();
        assert_eq!(out, "57014 True\n57014\n(1,)\nUPDATE 1\n");
    });
    assert!(!doors.shop.reached("mark-given-up"));
}

#[test]
fn certificates_name_people_and_machines() {
    let doors = doors("certificates");
    let alice = doors.people.issue("alice", "").unwrap();
    let mail = doors
        .people
        .issue("mail", "email:kim@staff.example")
        .unwrap();
    let nobody = doors
        .people
        .issue("eve", "email:eve@elsewhere.example")
        .unwrap();
    let two = "email:a@staff.example,email:b@staff.example";
    let two = doors.people.issue("two", two).unwrap();
    let job = doors
        .mesh
        .issue("job", "URI:spiffe://shop.example/job/nightly")
        .unwrap();
    let token = doors.provider.login("alice").unwrap();

    // psql 15, without any password.
    assert_in(&doors.psql(doors.either, Some(&alice), ""));
    assert_in(&doors.psql(doors.either, Some(&mail), ""));
    assert_in(&doors.psql(doors.machines, Some(&job), ""));
    let known = "nobody is known here by this client certificate";
    assert_out(&doors.psql(doors.either, Some(&nobody), ""), known);
    assert_out(&doors.psql(doors.either, Some(&two), ""), known);
    // A token is of no help to a certificate that names nobody; without one, it is asked for.
    assert_out(&doors.psql(doors.either, Some(&nobody), &token), known);
    assert_in(&doors.psql(doors.either, None, &token));
    let required = "connection requires a valid client certificate";
    assert_out(&doors.psql(doors.machines, None, &token), required);
    // Each authority speaks for its own names only, whatever is in its certificates.
    let stolen = doors
        .people
        .issue("stolen", "URI:spiffe://shop.example/job/nightly")
        .unwrap();
    assert_out(&doors.psql(doors.machines, Some(&stolen), ""), "SSL error");
    assert_out(&doors.psql(doors.either, Some(&job), ""), "SSL error");
    // Ports that ask for none are not disturbed by one.
    assert_in(&doors.psql(doors.shop.weir.pg_port, Some(&nobody), &token));

    let session = doors.shop.weir.session_of(
        &doors.shop.token(crate::shop::OLGA),
        "mesh:spiffe://shop.example/job/nightly",
    );
    let text = eventually("the transcript", SOON, || {
        let out = doors
            .shop
            .weir
            .cli(None, &["replay", session.as_ref().unwrap()])?;
        Ok(out
            .stdout
            .contains("in|20")
            .then_some(out.stdout.clone())
            .or_else(|| out.stdout.contains("customers").then_some(out.stdout)))
    })
    .unwrap();
    assert!(
        text.contains("Workload mesh:spiffe://shop.example/job/nightly [robots]"),
        "{text}"
    );
}

#[test]
fn a_certificate_ends_by_time_and_by_revocation() {
    let doors = doors("certificates-end");
    let job = doors
        .mesh
        .issue("job", "URI:spiffe://shop.example/job/nightly")
        .unwrap();
    let program = format!(
        r#"
import time
conn = connect(E['PORT'], sslcert='{}', sslkey='{}')
print(conn.execute('SELECT 1').fetchone())
time.sleep(7)
print(refused(lambda: conn.execute('SELECT 1'))[:5])
"#,
        job.cert.display(),
        job.key.display()
    );
    let out = doors.python(doors.machines, "", &program);
    assert_eq!(out, "(1,)\n28000\n");
    // Weir reads the list again within half a minute.
    doors.mesh.revoke(&[&job]).unwrap();
    let psql = doors.psql(doors.machines, Some(&job), "");
    eventually("the revocation", Duration::from_secs(60), || {
        Ok((!ask(&psql).ok()).then_some(()))
    })
    .unwrap();
    assert_out(&psql, "SSL error");
    let other = doors
        .mesh
        .issue("other", "URI:spiffe://shop.example/job/hourly")
        .unwrap();
    assert_in(&doors.psql(doors.machines, Some(&other), ""));
}

#[test]
fn a_stolen_token_is_not_enough_where_both_are_needed() {
    let doors = doors("both");
    let alice = doors.people.issue("alice", "").unwrap();
    let mail = doors
        .people
        .issue("mail", "email:kim@staff.example")
        .unwrap();
    let token = doors.provider.login("alice").unwrap();
    let with = |issued: Option<&Issued>, token: &str| {
        let shown = issued.map_or("sslcertmode='disable'".to_owned(), |i| {
            format!(
                "sslcert='{}', sslkey='{}'",
                i.cert.display(),
                i.key.display()
            )
        });
        let program = format!(
            r#"
try:
    with by_oauth(E['PORT'], {shown}) as conn:
        print(conn.execute("SELECT name FROM customers WHERE id = 3").fetchone())
except psycopg.Error as e:
    print(e)
"#
        );
        doors.python(doors.both, token, &program)
    };
    assert_eq!(with(Some(&alice), &token), "('Customer 3',)\n");
    let said = with(Some(&mail), &token);
    assert!(said.contains("do not belong together"), "{said}");
    let said = with(None, &token);
    assert!(
        said.contains("requires a valid client certificate"),
        "{said}"
    );
    let said = with(Some(&alice), "wrong");
    assert!(said.contains("the access token is not valid"), "{said}");
}

/// The way from Weir to a server of version 18: TLS from the first byte on, protocol 3.2, a login that
/// is bound to the TLS under it.
#[test]
fn the_newest_way_to_the_server() {
    let cluster = postgres::shared_of(Server::Eighteen).unwrap();
    let lines = format!(
        "tls = \"verify-ca\"\ntls_ca = \"{}\"\ntls_negotiation = \"direct\"\n\
         max_protocol = \"3.2\"\nauth = [\"scram-sha-256-plus\"]",
        cluster.certificate().display()
    );
    let shop = shop_on(cluster, "newest-way", |_| {}, |setup| setup.target = lines);
    let psql = shop.psql(ALICE);
    let out = psql.run("SELECT count(*) FROM customers").unwrap();
    assert_eq!(out.stdout, "20\n", "{}", out.all());
    // The server's long key is used, over direct TLS again.
    let psql = psql
        .spawn("SELECT count(*) FROM generate_series(1, 20000000000) /* mark-newest-way */;")
        .unwrap();
    eventually("the statement to run", SOON, || {
        Ok(shop.reached("mark-newest-way").then_some(()))
    })
    .unwrap();
    psql.signal(weir_tests::proc::Signal::Int).unwrap();
    let out = psql.wait(SOON).unwrap();
    assert!(out.stderr.contains("57014"), "{}", out.all());
}

/// And to an older one: it answers that it speaks 3.0 only, and binds the login as well.
#[test]
fn an_older_server_is_spoken_to_as_it_can() {
    let lines = "tls = \"require\"\nmax_protocol = \"3.2\"\nauth = [\"scram-sha-256-plus\"]";
    let shop = shop_with("older-way", |_| {}, |setup| setup.target = lines.into());
    let out = shop
        .psql(ALICE)
        .run("SELECT count(*) FROM customers")
        .unwrap();
    assert_eq!(out.stdout, "20\n", "{}", out.all());
}

/// What comes before the TLS handshake is not read as if it had come after it.
#[test]
fn bytes_before_tls_are_not_believed() {
    use std::io::{Read, Write};
    let doors = doors("injected");
    let request = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let startup = wire::startup(&[("user", "mallory"), ("database", "shop")]);
    for port in [doors.oauth, doors.either, doors.shop.weir.pg_port] {
        let mut tcp = wire::raw(port).unwrap();
        tcp.write_all(&[&request[..], &startup].concat()).unwrap();
        let mut said = Vec::new();
        tcp.read_to_end(&mut said).ok();
        // An error in clear, or nothing; no S that would go on with what was sent.
        assert!(said.is_empty() || said[0] == b'E', "{said:?}");
    }
}
