//! What fuzzing starts from, and the words that it mixes: made from what the tests have anyway, so
//! that a new statement there is a new seed here.

mod ssh;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_tests::wire::{bind, cstr, execute, frame, parse, startup};

/// Where a target's seeds lie, and its dictionary if it has one.
pub struct Seeds {
    pub dir: PathBuf,
    pub dictionary: Option<PathBuf>,
}

/// Writes them below `out`.
pub fn write(root: &Path, out: &Path, target: &str) -> Result<Seeds> {
    let dir = out.join("seeds").join(target);
    std::fs::create_dir_all(&dir)?;
    let mut dictionary = None;
    let seeds = match target {
        "frames" => frames(),
        "transport" => transport(),
        "keys" => keys(),
        "walker" | "resolver" => {
            let mut statements = statements(root)?;
            if target == "resolver" {
                statements.extend(queries(root)?);
            }
            let path = out.join(format!("{target}.dict"));
            std::fs::write(&path, words(&statements))?;
            dictionary = Some(path);
            statements.into_iter().map(String::into_bytes).collect()
        }
        "shell" => command_lines(root)?,
        "transfers" => ssh::transfers(),
        "mask" => ssh::mask(),
        "relay" => ssh::relay(),
        "userauth" => ssh::userauth(),
        "jump" => ssh::jump(),
        "gate" => ssh::gate(),
        "lines" => ssh::lines(),
        "records" => ssh::records(),
        _ => bail!(
            "nothing for the fuzz target {target} to start from: add seeds to xtask/src/seeds"
        ),
    };
    for (n, seed) in seeds.iter().enumerate() {
        std::fs::write(dir.join(format!("{n:03}")), seed)?;
    }
    Ok(Seeds { dir, dictionary })
}

/// The command lines that are read in the tests of `shell`: rows of a command line and what it runs.
fn command_lines(root: &Path) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for name in ["rows", "programs", "more"] {
        let path = root.join(format!("host/shell/src/tests/{name}.rs"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let strings = text.split("r##\"").skip(1).step_by(2);
        all.extend(strings.filter_map(|s| {
            s.split_once("\"##")
                .map(|(line, _)| line.as_bytes().to_vec())
        }));
    }
    Ok(all)
}

/// The statements of the oracle's corpus; each also on the one labelled table that the walker knows.
fn statements(root: &Path) -> Result<BTreeSet<String>> {
    let corpus = root.join("tests/oracle/corpus.jsonl");
    let corpus = std::fs::read_to_string(&corpus).context("tests/oracle/corpus.jsonl")?;
    let mut all = BTreeSet::new();
    for line in corpus.lines() {
        let line: Value = serde_json::from_str(line)?;
        let sql = line.get("sql").and_then(Value::as_str);
        let sql = sql.context("a line without sql")?;
        all.insert(sql.replace("emp", "t").replace("name", "ssn"));
        all.insert(sql.to_owned());
    }
    Ok(all)
}

/// The queries that the resolver is compared with a server on.
fn queries(root: &Path) -> Result<Vec<String>> {
    let path = root.join("host/proto-pg/src/analysis/tests/truth.sql");
    let all = std::fs::read_to_string(&path).context("truth.sql")?;
    let all = all.split(";\n").map(|sql| sql.trim().to_owned());
    Ok(all.filter(|sql| !sql.is_empty()).collect())
}

/// Every word of the statements, as libFuzzer wants a dictionary.
fn words(statements: &BTreeSet<String>) -> String {
    let words: BTreeSet<&str> = statements
        .iter()
        .flat_map(|s| s.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|w| w.len() > 1)
        .collect();
    words.iter().map(|w| format!("\"{w} \"\n")).collect()
}

/// An Ed25519 key of SSH, and its certificate with an option of each kind; nobody signed it.
fn keys() -> Vec<Vec<u8>> {
    let string = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        [&len.to_be_bytes(), bytes].concat()
    };
    let point = string(&[2; 32]);
    let key = [string(b"ssh-ed25519"), point.clone()].concat();
    let address = string(b"10.0.0.0/8");
    let command = string(b"id");
    let certificate = [
        string(b"ssh-ed25519-cert-v01@openssh.com"),
        string(&[1; 32]),
        point,
        // Serial number, kind, key id, one principal, and the time from the first second to the second.
        vec![0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1],
        string(b"id"),
        string(&string(b"dora")),
        vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2],
        string(
            &[
                string(b"force-command"),
                string(&command),
                string(b"source-address"),
                string(&address),
            ]
            .concat(),
        ),
        string(&[string(b"permit-pty"), string(b"")].concat()),
        string(b""),
        string(&key),
        string(&[string(b"ssh-ed25519"), string(&[3; 64])].concat()),
    ];
    let mut all = ssh::signatures(&key);
    all.extend([key, certificate.concat()]);
    all
}

/// Both sides of sessions as they are: one message each, and many behind one another.
fn frames() -> Vec<Vec<u8>> {
    let start = startup(&[
        ("user", "alice"),
        ("database", "shop"),
        ("options", "-c a=b"),
    ]);
    let described = b"\0\x02id\0\0\0\x40\0\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
                      ssn\0\0\0\x40\0\0\x02\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01";
    let mut all = vec![
        vec![0, 0, 0, 8, 4, 210, 22, 47],
        vec![0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 2],
        start,
        frame(b'p', &cstr("a token")),
        frame(b'Q', &cstr("SELECT ssn FROM t")),
        parse("s", "SELECT ssn FROM t WHERE id = $1"),
        bind("p", "s", &[Some("1"), None], &[0, 1]),
        frame(b'D', b"Ss\0"),
        frame(b'C', b"Pp\0"),
        execute("p", 10),
        frame(b'S', b""),
        frame(b'd', b"1\t912-45-7001\n"),
        frame(b'T', described),
        frame(b'D', b"\0\x02\0\0\0\x011\xff\xff\xff\xff"),
        frame(b'E', b"SERROR\0C42501\0Mrefused\0\0"),
        frame(b'R', &[0, 0, 0, 10, b'S', b'C', b'R', b'A', b'M', 0, 0]),
        frame(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        frame(b'S', b"client_encoding\0UTF8\0"),
        frame(b'Z', b"T"),
    ];
    all.push(all.concat());
    all
}

/// How a leg of SSH begins, from either side, and what two of them can be told to do once they have keys. The first
/// byte is the target's own: 2 for messages to a server, 3 for those to a client, from 4 on for a script.
fn transport() -> Vec<Vec<u8>> {
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let kexinit = |kex: &str| {
        let mut all = vec![20];
        all.extend([7; 16]);
        let ciphers = "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr";
        let macs = "hmac-sha2-256-etm@openssh.com,hmac-sha2-256";
        for list in [
            kex,
            "ssh-ed25519",
            ciphers,
            ciphers,
            macs,
            macs,
            "none",
            "none",
            "",
            "",
        ] {
            all.extend(string(list.as_bytes()));
        }
        all.extend([0; 5]);
        all
    };
    let point = [9; 32];
    let init = [&[30][..], &string(&point)].concat();
    let host_key = [&string(b"ssh-ed25519")[..], &string(b"")].concat();
    let signature = host_key.clone();
    let reply = [
        &[31][..],
        &string(&host_key),
        &string(&point),
        &string(&signature),
    ]
    .concat();
    let messages = |mode: u8, all: &[&[u8]]| {
        let mut out = vec![mode];
        for message in all {
            out.extend((message.len() as u16).to_be_bytes());
            out.extend_from_slice(message);
        }
        out
    };
    let client = kexinit("curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com");
    let server = kexinit("curve25519-sha256,kex-strict-s-v00@openssh.com");
    let old = kexinit("curve25519-sha256");
    let ignore = [2, 0, 0, 0, 0];
    vec![
        b"\0SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        b"\x01hello\r\nSSH-1.99-x\n".to_vec(),
        messages(2, &[&client, &init, &[21]]),
        messages(3, &[&server, &reply, &[21]]),
        messages(2, &[&ignore, &old, &ignore, &init, &[21]]),
        messages(3, &[&old, &ignore, &reply, &[21]]),
        // Messages, key exchanges by both, bytes in pieces, an hour.
        vec![
            4, 0, 90, 1, 90, 10, 0, 11, 0, 4, 9, 5, 200, 6, 0, 7, 0, 12, 255, 0, 9, 6, 0, 7, 0,
        ],
        vec![4, 0, 255, 14, 255, 6, 0, 1, 9, 7, 0],
    ]
}
