//! OpenSSH's scp on both ends, with the reader between them.

use std::fs;
use std::process::{Command, Output};

use aws_lc_rs::digest;

use crate::scp::{self, Scp};
use crate::transfer::bridge::{Dir, Log, Policy, have, script, through};
use crate::transfer::{Content, Direction};

fn reader(command: &str) -> Scp {
    let words: Vec<&str> = command.split_whitespace().collect();
    Scp::new(scp::Command::parse(&words, true).unwrap())
}

fn copy(dir: &Dir, args: &[&str], policy: Policy) -> (Output, Log) {
    let script = script(dir);
    let mut client = Command::new("scp");
    client.args(["-q", "-O", "-S", &script]).args(args);
    client.current_dir(&dir.0);
    let serve = |command: &str| {
        let mut server = Command::new("sh");
        server.args(["-c", command]);
        server
    };
    through(dir, client, serve, reader, policy)
}

fn hash(bytes: &[u8]) -> Content {
    Content::Hashed {
        sha256: digest::digest(&digest::SHA256, bytes)
            .as_ref()
            .try_into()
            .unwrap(),
        whole: true,
    }
}

#[test]
fn files_pass_whole_both_ways_with_their_hashes() {
    if !have("scp") {
        return;
    }
    let dir = Dir::new("scp-whole");
    let big = dir.fill("big", 8 << 20);
    let (to, remote) = (dir.path("copy"), format!("host:{}", dir.path("copy")));
    let (output, log) = copy(&dir, &["-p", "big", &remote], |_| None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(log.done.len(), 1);
    assert_eq!(
        (&*log.done[0].path.text, log.done[0].direction),
        (&*to, Direction::Write)
    );
    assert_eq!(
        (log.done[0].bytes, log.done[0].content),
        (big.len() as u64, hash(&big))
    );
    assert_eq!(
        log.texts(),
        [format!(
            "scp file {to} (write) {to}/big (write) mode 0644 size 8388608"
        )]
    );
    let (output, log) = copy(&dir, &[&remote, "back"], |_| None);
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read(dir.path("back")).unwrap() == big);
    assert_eq!(
        (log.done[0].bytes, log.done[0].content),
        (big.len() as u64, hash(&big))
    );
    assert_eq!(
        log.texts(),
        [format!("scp file {to} (read) mode 0644 size 8388608")]
    );
}

#[test]
fn a_tree_passes_and_what_is_refused_of_it_is_left_out() {
    if !have("scp") {
        return;
    }
    let dir = Dir::new("scp-tree");
    fs::create_dir_all(dir.path("tree/sub/secrets")).unwrap();
    for name in [
        "tree/a",
        "tree/b c",
        "tree/secret",
        "tree/sub/d",
        "tree/sub/secrets/e",
    ] {
        dir.fill(name, name.len() * 1000);
    }
    let refuse: Policy = |request| request.text().contains("secret").then_some("not that one");
    let tree = |root: &str| {
        let file = |name: &str| fs::read(dir.path(&format!("{root}/{name}"))).ok();
        assert_eq!(file("a"), fs::read(dir.path("tree/a")).ok());
        assert_eq!(file("b c"), fs::read(dir.path("tree/b c")).ok());
        assert_eq!(file("sub/d"), fs::read(dir.path("tree/sub/d")).ok());
        assert_eq!((file("secret"), file("sub/secrets/e")), (None, None));
    };
    // scp says itself that something was left out.
    let (output, log) = copy(
        &dir,
        &["-r", "tree", &format!("host:{}", dir.path("up"))],
        refuse,
    );
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("not that one"),
        "{output:?}"
    );
    tree("up");
    assert_eq!(log.done.len(), 3);
    assert!(
        log.done
            .iter()
            .all(|done| matches!(done.content, Content::Hashed { .. }))
    );
    let (_, log) = copy(
        &dir,
        &["-rp", &format!("host:{}", dir.path("tree")), "down"],
        refuse,
    );
    tree("down");
    assert_eq!(log.done.len(), 3);
    let home = format!("{}/", dir.0.display());
    assert!(
        log.asked.iter().all(|request| request.known()),
        "{:?}",
        log.texts()
    );
    assert!(log.texts().contains(&format!(
        "scp file {home}tree/sub/d (read) mode 0644 size 10000"
    )));
}
