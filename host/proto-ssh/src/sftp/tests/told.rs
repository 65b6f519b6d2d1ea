//! What is said about requests: each is asked about for what it is.

use super::pack::*;
use crate::sftp::{LINKS_MAX, packet as p};
use crate::wire::Put;

/// What is asked about a handle that was granted, because it is more than was granted.
#[test]
fn more_than_a_handle_was_granted_for_is_asked_about() {
    let set = |h: &[u8], flags: u32, value: &[u8]| {
        packet(p::FSETSTAT, 9, |b| {
            b.string(h).uint32(flags).raw(value);
        })
    };
    let mode = |mode: u32| mode.to_be_bytes();
    let rows: Vec<(&str, Vec<u8>, &str, bool)> = vec![
        (
            "chmod of what is for reading",
            set(b"r", 4, &mode(0o644)),
            "set attributes /r (write) mode 0644",
            true,
        ),
        (
            "setuid",
            set(b"w", 4, &mode(0o4755)),
            "set attributes /w (write) mode 4755",
            false,
        ),
        (
            "setgid",
            set(b"w", 4, &mode(0o2755)),
            "set attributes /w (write) mode 2755",
            false,
        ),
        (
            "chown",
            set(b"w", 2, &[0; 8]),
            "set attributes /w (write) owner 0:0",
            true,
        ),
        (
            "attributes with names",
            set(b"w", 0x8000_0000, &[0; 4]),
            "set attributes /w (write)",
            false,
        ),
        (
            "copy",
            packet(p::EXTENDED, 9, |b| {
                b.string(b"copy-data")
                    .string(b"r")
                    .uint64(0)
                    .uint64(0)
                    .string(b"w")
                    .uint64(0);
            }),
            "copy /r (read) /w (write)",
            true,
        ),
    ];
    for (name, bytes, text, known) in rows {
        let mut run = ready();
        for (id, path, flags, h) in [(1, "/r", 1, b"r"), (2, "/w", 2, b"w")] {
            run.client(&open(id, path, flags)).unwrap();
            run.server(&handle(p::HANDLE, id, h)).unwrap();
        }
        run.hold = true;
        let before = run.seen.server.len();
        run.client(&bytes).unwrap();
        let request = run.seen.asked.last().unwrap();
        assert_eq!(
            (request.text(), request.known()),
            (text.to_owned(), known),
            "{name}"
        );
        assert_eq!(&request.raw[..], bytes, "{name}");
        assert_eq!(
            run.seen.server.len(),
            before,
            "{name}: it was sent before it was decided on"
        );
    }
}

#[test]
fn requests_are_told_for_what_they_are() {
    let two = |kind, a: &[u8], b: &[u8]| {
        packet(kind, 9, |out| {
            out.string(a).string(b);
        })
    };
    let extended = |name: &str, rest: &[u8]| {
        packet(p::EXTENDED, 9, |b| {
            b.string(name.as_bytes()).raw(rest);
        })
    };
    let strings = |all: &[&[u8]]| {
        let mut out = Vec::new();
        for one in all {
            out.string(one);
        }
        out
    };
    let mkdir = |mode: u32| {
        packet(p::MKDIR, 9, |b| {
            b.string(b"/d").uint32(4).uint32(mode);
        })
    };
    let rows: Vec<(Vec<u8>, &str, bool)> = vec![
        (open(9, "/f", 0x01), "open /f (read)", true),
        (open(9, "/f", 0x02), "open /f (write)", true),
        (open(9, "/f", 0x03), "open /f (read) /f (write)", true),
        // Servers open it for reading, and cut it.
        (open(9, "/f", 0x10), "open /f (read) /f (write)", true),
        (open(9, "/f", 0x00), "open /f (read)", true),
        (open(9, "/f", 0x08), "open /f (read) /f (write)", true),
        (open(9, "/f", 0x41), "open /f (read) /f (write)", false),
        (open(9, "f", 0x01), "open f (read)", false),
        (open(9, "../f", 0x01), "open ../f (read)", false),
        (open(9, "", 0x01), "open  (read)", false),
        (
            open(9, "/../../etc//./passwd/", 0x01),
            "open /etc/passwd (read)",
            true,
        ),
        (
            open(9, "/a/../../etc//./passwd/", 0x01),
            "open /etc/passwd (read)",
            false,
        ),
        (
            path(p::STAT, 9, "/a/../etc/passwd"),
            "stat /etc/passwd",
            true,
        ),
        (
            open(9, "/srv/..\\..\\secret", 0x01),
            "open /srv/..\\\\..\\\\secret (read)",
            false,
        ),
        (
            path(p::REMOVE, 9, "/a/../etc/passwd"),
            "remove /etc/passwd (write)",
            false,
        ),
        (
            open(9, "/a\u{202e}b\x1b[2J\n", 0x01),
            "open /a\\u{202e}b\\u{1b}[2J\\n (read)",
            true,
        ),
        (
            packet(p::OPEN, 9, |b| {
                b.string(b"/a\xff").uint32(1).uint32(0);
            }),
            "open /a\\\\xff (read)",
            false,
        ),
        (path(p::STAT, 9, "/f"), "stat /f", true),
        (path(p::LSTAT, 9, "/f"), "lstat /f", true),
        (path(p::READLINK, 9, "/f"), "readlink /f", true),
        (path(p::REALPATH, 9, "/f/.."), "realpath /", true),
        (path(p::REALPATH, 9, "./"), "realpath ./", false),
        (path(p::REMOVE, 9, "/f"), "remove /f (write)", true),
        (path(p::RMDIR, 9, "/f"), "rmdir /f (write)", true),
        (mkdir(0o755), "mkdir /d (write) mode 0755", true),
        (mkdir(0o6755), "mkdir /d (write) mode 6755", false),
        (
            two(p::RENAME, b"/a", b"/b"),
            "rename /a (write) /b (write) /a (read)",
            true,
        ),
        (
            two(p::RENAME, b"/a", b"b"),
            "rename /a (write) b (write) /a (read)",
            false,
        ),
        (
            two(p::SYMLINK, b"/a", b"/b"),
            "symlink /a (write) /b (write) /a (read) /b (read)",
            true,
        ),
        (
            two(p::SYMLINK, b"../a", b"/b"),
            "symlink ../a (write) /b (write) ../a (read) /b (read)",
            false,
        ),
        (
            extended("posix-rename@openssh.com", &strings(&[b"/a", b"/b"])),
            "rename /a (write) /b (write) /a (read)",
            true,
        ),
        (
            extended("hardlink@openssh.com", &strings(&[b"/a", b"/b"])),
            "hardlink /a (write) /b (write) /a (read)",
            true,
        ),
        (
            extended("statvfs@openssh.com", &strings(&[b"/a"])),
            "df /a",
            true,
        ),
        (
            extended(
                "lsetstat@openssh.com",
                &[&strings(&[b"/a"])[..], &[0; 4]].concat(),
            ),
            "set attributes /a (write)",
            true,
        ),
        (
            extended("expand-path@openssh.com", &strings(&[b"/a"])),
            "realpath /a",
            true,
        ),
        (
            extended("expand-path@openssh.com", &strings(&[b"~root/a"])),
            "realpath ~root/a",
            false,
        ),
        (
            extended("home-directory", &strings(&[b"root"])),
            "home directory ~root",
            false,
        ),
        (
            extended(
                "users-groups-by-id@openssh.com",
                &strings(&[b"\0\0\0\0", b""]),
            ),
            "names of accounts /etc/passwd /etc/group",
            true,
        ),
        (
            extended("check-file-name", &strings(&[b"/a"])),
            "check-file-name",
            false,
        ),
        (
            extended("POSIX-RENAME@openssh.com", &strings(&[b"/a", b"/b"])),
            "POSIX-RENAME@openssh.com",
            false,
        ),
        (extended("", b""), "", false),
    ];
    for (bytes, text, known) in rows {
        let mut run = ready();
        run.hold = true;
        let before = run.seen.server.len();
        run.client(&bytes).unwrap();
        let request = &run.seen.asked[0];
        assert_eq!((request.text(), request.known()), (text.to_owned(), known));
        assert_eq!(run.seen.server.len(), before, "{text}");
        let login = "root".into();
        let accesses = request.accesses(&login);
        assert!(!accesses.is_empty(), "{text}");
        let writes = accesses
            .iter()
            .any(|(action, _)| *action == pipeline::Action::SshSftpWrite);
        let facts = request.facts(&login, 0);
        assert_eq!(facts.only_reads, !writes && known, "{text}");
    }
}

#[test]
fn relative_paths_begin_where_the_server_says_it_is_and_only_if_it_says_one_thing() {
    let here = |id, path: &[u8]| {
        packet(p::NAME, id, |b| {
            b.uint32(1).string(path).string(b"").uint32(0);
        })
    };
    let told = |answers: &[&[u8]]| {
        let mut run = ready();
        run.hold = true;
        for answer in answers {
            run.client(&path(p::REALPATH, 5, ".")).unwrap();
            run.server(&here(5, answer)).unwrap();
        }
        run.client(&path(p::STAT, 9, "a/../b")).unwrap();
        let asked = &run.seen.asked[0].paths[0].path;
        (asked.text.to_string(), asked.known)
    };
    assert_eq!(told(&[b"/home/me"]), ("/home/me/b".into(), true));
    assert_eq!(
        told(&[b"/home/me", b"/home/me"]),
        ("/home/me/b".into(), true)
    );
    assert_eq!(told(&[b"/home/me", b"/"]), ("a/../b".into(), false));
    assert_eq!(told(&[b"home"]), ("a/../b".into(), false));
    assert_eq!(told(&[b"/a\0"]), ("a/../b".into(), false));
    assert_eq!(told(&[b"/\xff"]), ("a/../b".into(), false));
    assert_eq!(told(&[]), ("a/../b".into(), false));
}

/// Symbolic links that were made on this channel: what leads through them is not known.
#[test]
fn a_link_that_was_just_made_is_no_way_around_a_policy_about_paths() {
    let link = |id, target: &str, at: &str| {
        packet(p::SYMLINK, id, |b| {
            b.string(target.as_bytes()).string(at.as_bytes());
        })
    };
    let rename = |id, from: &str, to: &str| {
        packet(p::RENAME, id, |b| {
            b.string(from.as_bytes()).string(to.as_bytes());
        })
    };
    // What comes after `ln -s /etc /srv/a/l`, and whether the last of it is known.
    let rows: Vec<(&str, Vec<Vec<u8>>, bool)> = vec![
        (
            "write through it",
            vec![open(9, "/srv/a/l/cron.d/x", 2)],
            false,
        ),
        (
            "the same in other letters",
            vec![open(9, "/srv//b/../a/./l/x", 2)],
            false,
        ),
        ("open it", vec![open(9, "/srv/a/l", 1)], false),
        ("list it", vec![path(p::OPENDIR, 9, "/srv/a/l/")], false),
        (
            "a name that begins like it",
            vec![open(9, "/srv/a/lx", 2)],
            true,
        ),
        ("beside it", vec![open(9, "/srv/a/x", 2)], true),
        ("take it away", vec![path(p::REMOVE, 9, "/srv/a/l")], true),
        ("look at it", vec![path(p::LSTAT, 9, "/srv/a/l")], true),
        (
            "look through it",
            vec![path(p::LSTAT, 9, "/srv/a/l/x")],
            false,
        ),
        (
            "move it",
            vec![rename(3, "/srv/a/l", "/srv/m"), open(9, "/srv/m/x", 2)],
            false,
        ),
        (
            "move what it is in",
            vec![rename(3, "/srv/a", "/srv/b"), open(9, "/srv/b/l/x", 2)],
            false,
        ),
        (
            "move it twice",
            vec![
                rename(3, "/srv/a", "/srv/b"),
                rename(5, "/srv/b/l", "/c"),
                open(9, "/c/x", 2),
            ],
            false,
        ),
        (
            "a link to it",
            vec![link(4, "/srv/a/l", "/srv/n"), open(9, "/srv/n/x", 2)],
            false,
        ),
    ];
    for (name, then, known) in rows {
        for openssh in [false, true] {
            let mut run = Run::default();
            run.client(&init()).unwrap();
            let offered = packet(p::VERSION, 3, |b| {
                if openssh {
                    b.string(b"limits@openssh.com").string(b"1");
                }
            });
            run.server(&offered).unwrap();
            // In one piece: what follows is read before the link is decided on.
            run.hold = true;
            let all = [vec![link(2, "/etc", "/srv/a/l")], then.clone()].concat();
            run.client(&all.concat()).unwrap();
            assert_eq!(run.seen.asked.last().unwrap().known(), known, "{name}");
        }
    }
    // Where the server may take the first for the link, both count.
    for (openssh, known) in [(true, true), (false, false)] {
        let mut run = ready();
        run.hold = true;
        run.sftp.link_is_second = openssh;
        run.client(&link(2, "/srv/t", "/srv/l")).unwrap();
        run.client(&open(3, "/srv/t/x", 1)).unwrap();
        assert_eq!(run.seen.asked[1].known(), known);
    }
    // No more links than can be remembered, however they come about.
    let mut run = ready();
    for n in 0..1000 {
        run.client(&link(n, "/etc", &format!("/l/{n}"))).unwrap();
        if run.seen.asked.len() > n as usize {
            run.server(&status(n, 0)).unwrap();
        }
    }
    let made = run.seen.asked.len();
    assert!(made < LINKS_MAX, "{made}");
    let asked = run.seen.asked.len();
    run.client(&rename(5000, "/l", "/m")).unwrap();
    assert_eq!(
        run.seen.asked.len(),
        asked,
        "links that nobody remembers were moved"
    );
}
