//! Commands and files: how they are replayed, by what they are found, and what nobody finds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::proc::eventually;
use weir_tests::sshd::Way;
use weir_tests::weir::Weir;

use super::{PEOPLE, SOON, is_missing, replayed, rig, security, session_of, sessions_of};

/// An argument, and what is in files.
const ARGUMENT: &str = "argument-6623";
const CONTENT: &str = "content-of-a-file-9914";
/// A command that takes longer does not end.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a script against the host; the sessions that it opens are over then.
fn run(way: &Way, name: &str, text: &str) -> std::process::Output {
    let out = way.script(name, text, LIMIT).unwrap();
    assert!(out.status.success(), "{name}: {out:?}");
    out
}

fn hash(file: &Path) -> String {
    let out = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// Output and errors apart, and how it ended.
fn commands(weir: &Weir, way: &Way) {
    let script = "ssh -F $CFG box 'printf \"one\\ntwo\\n\"; printf \"wrong\\n\" >&2; exit 5' \
                  2>err >out; test $? = 5 && test \"$(cat out err)\" = \"$(printf 'one\\ntwo\\nwrong')\"";
    run(way, "exec", script);
    let id = session_of(weir, "frida");
    let text = replayed(weir, &id, "text");
    for line in [
        ": printf \"one",
        "│ one\n",
        "│ two\n",
        "┆ wrong\n",
        "→ exit 5\n",
        " failed (exit 5)",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

/// Which file, how large, and what was in it, which itself is nowhere.
fn files(weir: &Weir, way: &Way) {
    let book: String = (0..20_000).map(|n| format!("{CONTENT} {n}\n")).collect();
    let (file, size) = (way.dir.join("book"), book.len());
    std::fs::write(&file, book).unwrap();
    let hash = hash(&file);
    let here = file.display();
    let there = way.dir.join("work/files").display().to_string();
    let cases = [
        (
            "sftp-put",
            format!("echo put {here} {there}/sftp | sftp -q -b - -F $CFG box"),
            "sftp",
        ),
        (
            "sftp-get",
            format!("echo get {here} got | sftp -q -b - -F $CFG box"),
            "",
        ),
        (
            "scp-up",
            format!("scp -q -O -F $CFG {here} box:{there}/scp-o"),
            "scp-o",
        ),
        ("scp-down", format!("scp -q -O -F $CFG box:{here} got"), ""),
        (
            "scp-new",
            format!("scp -q -F $CFG {here} box:{there}/scp"),
            "scp",
        ),
    ];
    let before = sessions_of(weir, "frida").len();
    let script: Vec<&str> = cases.iter().map(|(_, line, _)| line.as_str()).collect();
    run(way, "files", &format!("set -e\n{}", script.join("\n")));
    let ids = sessions_of(weir, "frida").split_off(before);
    assert_eq!(ids.len(), cases.len(), "a session each");
    for ((name, _, written), id) in cases.iter().zip(&ids) {
        let text = replayed(weir, id, "text");
        let path = match *written {
            "" => here.to_string(),
            file => format!("{there}/{file}"),
        };
        let told = |line: &str| line.contains(&hash) && line.contains(&format!("{size} bytes"));
        assert!(text.lines().any(told), "{name}: {text}");
        assert!(text.contains(&path), "{name}: {path} is not in {text}");
        assert!(
            !text.contains(CONTENT),
            "{name}: it holds what is in the file"
        );
    }
    for format in ["jsonl", "asciicast-v2"] {
        let all = replayed(weir, &ids[0], format);
        assert!(!all.contains(CONTENT), "{format} holds what is in the file");
    }
}

/// Of what nobody reads: how much came from each side, and its hash.
fn streams(weir: &Weir, way: &Way) {
    let there = way.dir.join("work/streams");
    let (up, down) = (format!("{CONTENT} up"), format!("{CONTENT} down"));
    let script = format!(
        "mkdir p r; git init -q --bare r.git; printf '{up}' >u; printf '{down}' >d
         ssh -F $CFG box \"git-upload-pack '$D/r.git'\" <u >got 2>err; echo $?
         rsync -a -e \"ssh -F $CFG\" u box:$D/r/ && cmp u r/u; rsync -a -e \"ssh -F $CFG\" box:$D/d p/ && cmp d p/d"
    );
    let before = sessions_of(weir, "frida").len();
    run(way, "streams", &script);
    let ids = sessions_of(weir, "frida").split_off(before);
    assert_eq!(ids.len(), 3, "a session each");
    let sent = hash(&there.join("u"));
    for (id, kind) in ids.iter().zip(["git", "rsync up", "rsync down"]) {
        let text = replayed(weir, id, "text");
        let told = |line: &&str| line.contains("; from the client ");
        let line = text.lines().find(told);
        let line = line.unwrap_or_else(|| panic!("{kind}: {text}"));
        assert_eq!(line.matches(" bytes, sha256 ").count(), 2, "{kind}: {line}");
        let whole = format!("from the client {} bytes, sha256 {sent}", up.len());
        assert_eq!(line.contains(&whole), kind == "git", "{kind}: {line}");
        assert!(
            !text.contains(CONTENT),
            "{kind}: it holds what is in the file"
        );
    }
}

fn audit(weir: &Weir, args: &[&str]) -> Vec<Value> {
    let all = [&["audit", "--format", "jsonl", "--limit", "1000"], args].concat();
    let out = weir.cli(Some(&security(weir)), &all).unwrap();
    assert!(out.ok(), "{}", out.all());
    let entries = out.stdout.lines().map(|l| serde_json::from_str(l).unwrap());
    entries.collect()
}

/// By program and by path; never by what was given to a program.
fn is_found(weir: &Weir, way: &Way) {
    let file = way.dir.join("counted");
    std::fs::write(&file, "a b c\n").unwrap();
    let path = file.display().to_string();
    run(
        way,
        "found",
        &format!("ssh -F $CFG box 'wc -w {path}'; ssh -F $CFG box 'basename {ARGUMENT}'"),
    );
    let of = |args: &[&str]| {
        audit(
            weir,
            &[&["--action", "ssh:exec", "--user", "frida"], args].concat(),
        )
    };
    eventually("both to be in the index", SOON, || {
        let done = of(&["--outcome", "done"]);
        Ok((done.len() >= 2).then_some(()))
    })
    .unwrap();
    for (what, args) in [
        ("wc", &["--resource", "SshProgram::wc"][..]),
        ("wc", &["--resource", "wc"]),
        ("wc", &["--text", "wc"]),
        ("wc", &["--text", &path]),
        ("wc", &["--resource", "SshProgram::wc", "--target", "web1"]),
        ("basename", &["--text", "basename"]),
        ("basename", &["--resource", "basename"]),
    ] {
        let found = of(args);
        assert_eq!(found.len(), 1, "{args:?}: {found:?}");
        let statement = found[0]["statement"].as_str().unwrap_or_default();
        assert!(statement.contains(what), "{args:?}: {found:?}");
    }
    let sent = audit(weir, &["--action", "ssh:sftp_write", "--user", "frida"]);
    assert!(!sent.is_empty());
    let there = format!("{}/sftp", way.dir.join("work/files").display());
    let sent = audit(weir, &["--action", "ssh:sftp_write", "--text", &there]);
    assert_eq!(sent.len(), 1, "{sent:?}");
    for args in [&["--text", ARGUMENT][..], &["--resource", ARGUMENT]] {
        assert_eq!(audit(weir, args), [] as [Value; 0], "{args:?}");
    }
    let all = format!("{:?}", audit(weir, &["--user", "frida"]));
    assert!(!all.contains(ARGUMENT), "{all}");
}

/// A package verifies with a key alone; it says what happened and holds nothing of the files.
fn is_packed(weir: &Weir) {
    let package = weir.home.join("evidence.zip").display().to_string();
    let args = [
        "evidence",
        "--from",
        "2020-01-01",
        "--out",
        &package,
        "--sample",
        "50",
    ];
    let out = weir.cli(Some(&security(weir)), &args).unwrap();
    assert!(out.ok(), "{}", out.all());
    let mut lines = out.stdout.lines();
    let key = lines
        .find_map(|l| l.strip_prefix("package signed with the key you trust: "))
        .unwrap_or_else(|| panic!("{}", out.all()));
    let out = weir
        .bare_cli(&["verify", &package, "--log-key", key])
        .unwrap();
    assert!(
        out.ok() && out.stdout.ends_with("verified\n"),
        "{}",
        out.all()
    );
    let files = crate::packages::unzip(Path::new(&package));
    let all: Vec<u8> = files.into_iter().flat_map(|(_, data)| data).collect();
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(all.contains("ssh:exec"), "nothing of SSH is in the package");
    assert!(!all.contains(CONTENT), "the package holds what is in files");
}

fn segments(dir: &Path, session: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            segments(&path, session, found);
        } else if path.extension().is_some_and(|e| e == "rec")
            && path.to_string_lossy().contains(session)
        {
            found.push(path);
        }
    }
}

#[test]
fn commands_and_files_are_found_and_verified() {
    if is_missing() {
        return;
    }
    let (mut rig, _bundle) = rig("ssh-finds");
    let way = rig.way("frida", PEOPLE).unwrap();
    commands(&rig.weir, &way);
    files(&rig.weir, &way);
    streams(&rig.weir, &way);
    is_found(&rig.weir, &way);
    // Verified, and every decision is the same when it is made again.
    crate::decisions::decided_again(&rig.weir);
    is_packed(&rig.weir);
    let id = session_of(&rig.weir, "frida");
    rig.weir.stop();
    // One byte of what is stored.
    let mut found = Vec::new();
    segments(&rig.weir.home.join("data/recordings"), &id, &mut found);
    let segment = found.first().expect("no segment of the session is stored");
    let mut changed = std::fs::read(segment).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(segment, &changed).unwrap();
    let out = rig.weir.cli(None, &["verify", "--session", &id]).unwrap();
    assert!(!out.ok() && out.stdout.contains(&id), "{}", out.all());
    assert!(out.stdout.ends_with("NOT VERIFIED\n"), "{}", out.all());
}
