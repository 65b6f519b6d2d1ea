//! Command lines of a third review. Each stays here.

use super::check;
use crate::{Limits, Opaque, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// What is no number is computed there and then, and the commands in its subscripts run.
#[test]
fn variables_that_a_shell_computes_when_they_are_set() {
    for text in [
        "[[ x ]]; RANDOM='a[$(reboot)]'; true",
        "RANDOM='a[$(reboot)]'",
        "RANDOM+='a[$(reboot)]'",
        "RANDOM='a[$(reboot)]' true",
        "SRANDOM='a[$(reboot)]'; true",
        "OPTIND='a[$(reboot)]'; true",
        "HISTCMD='a[`reboot`]'; true",
        "SECONDS='x[$(reboot)]'; true",
        "LINENO=x; true",
        "BASHPID=\"$x\"; true",
        "EPOCHSECONDS=a; EPOCHREALTIME=b; true",
        "MAILCHECK='a[$(reboot)]'; true",
        "SHLVL='a[$(reboot)]'; true",
        "export RANDOM='a[$(reboot)]'",
        "declare RANDOM='a[$(reboot)]'",
        "readonly SECONDS='a[$(reboot)]'",
        "f() { local RANDOM='a[$(reboot)]'; }; f",
        "read RANDOM <<< 'a[$(reboot)]'",
        "read -r x OPTIND",
        "for RANDOM in 'a[$(reboot)]'; do true; done",
        "for RANDOM; do true; done",
        "printf -v RANDOM %s 'a[$(reboot)]'",
        "getopts a RANDOM",
        "env RANDOM='a[$(reboot)]' bash -c true",
        "RANDOM='' true",
        "RANDOM=-1",
        // As ksh and zsh have it.
        "TMOUT='a[$(reboot)]' ksh -c true",
        "COLUMNS='a[$(reboot)]' zsh -c true",
        "ARGV0=pkill zsh -c 'pgrep -f x'",
    ] {
        let opaque = plain(text).opaque;
        let because = opaque.iter().any(|o| matches!(o, Opaque::Environment(_)));
        assert!(because, "{text}: {opaque:?}");
    }
    for text in [
        "declare -i x='a[$(reboot)]'",
        "f() { local -i x=1; }; f",
        "typeset -i x",
        "let 'a[$(reboot)]'",
        "x='a[$(reboot)]'; echo $((x))",
        "read x; echo $((x + 1))",
        "echo ${x:a[$(reboot)]}",
        "zsh -c \"exit 'a[\\$(reboot)]'\"",
        "ksh -c \"shift 'a[\\$(reboot)]'\"",
        "zsh -c \"printf %d 'a[\\$(reboot)]'\"",
        "zsh -c \"printf '%5.2f' 'a[\\$(reboot)]'\"",
        "zsh -c 'printf \"$x\" 1'",
        "ksh -c 'printf \"%*s\" \"$x\" y'",
        "zsh -c 'return \"$x\"'",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "RANDOM=42; echo $RANDOM",
        "SECONDS=0; sleep 1; echo $SECONDS",
        "OPTIND=1; getopts a x",
        "COLUMNS=200 ps aux",
        "zsh -c 'printf \"%s [%s]\" \"$x\" \"$y\"'",
        "sh -c 'printf \"%5d\" 7; exit 1'",
        "sh -c 'ls /srv; exit $?'",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
    // bash takes numbers here, so bash is what it is given to.
    for text in ["printf %d 'a[$(reboot)]'", "exit \"$x\""] {
        let reading = plain(text);
        assert!(!reading.is_opaque() && reading.needs_bash, "{text}");
    }
}

/// By another name, a program of many does something else.
#[test]
fn programs_by_another_name() {
    check(&[
        (
            "exec -a pkill pgrep -f x",
            "exec -a pkill pgrep -f x !option",
        ),
        ("exec -apkill pgrep -f x", "exec -apkill pgrep -f x !option"),
        ("exec -cla pkill pgrep x", "exec -cla pkill pgrep x !option"),
        ("exec -cl ls", "exec>ls +reads"),
        ("env -a pkill pgrep x", "env -a pkill pgrep x !option"),
        (
            "env --argv0=pkill pgrep x",
            "env --argv0=pkill pgrep x !option",
        ),
        (
            "busybox hush -c reboot",
            "busybox>hush -c reboot !runs-others",
        ),
    ]);
}

/// What `find` runs elsewhere reads its names from there.
#[test]
fn programs_that_find_starts_elsewhere() {
    for text in [
        "find /etc/apt -maxdepth 0 -execdir head shadow \\; </dev/null",
        "find /etc/apt -maxdepth 0 -okdir head shadow \\;",
        "find /etc -maxdepth 0 -execdir cat shadow {} +",
    ] {
        assert!(plain(text).reads.unknown, "{text}");
    }
    assert!(!plain("find /srv -exec head shadow \\;").reads.unknown);
    check(&[(
        "busybox find /srv -maxdepth 0 -exec echo x{} + -exec reboot \\;",
        "busybox>find /srv -maxdepth 0 -exec echo x{} + -exec reboot ; !option",
    )]);
}

#[test]
fn programs_that_complete_names() {
    for text in [
        "zcat -f -S w /etc/shado",
        "zcat -fSw /etc/shado",
        "zcat -f --suffix=w /etc/shado",
        "zcat -f --suf w /etc/shado",
        "gzip -dc -f -S w /etc/shado",
        "gunzip -cf -S w /etc/shado",
        "uncompress -cfSw /etc/shado",
        "gzcat -fSw /etc/shado",
        "pigz -dc -Sw /etc/shado",
        "unpigz -c -Sw /etc/shado",
        "busybox zcat -S w /etc/shado",
    ] {
        let reading = plain(text);
        assert!(reading.reads.unknown, "{text}");
        assert!(!reading.only_reads, "{text}");
    }
    for text in ["zcat /var/log/a.gz", "zcat -f /var/log/a /var/log/b*"] {
        assert!(plain(text).only_reads, "{text}");
    }
}

/// What GNU's programs take for something else, BusyBox's set.
#[test]
fn clocks_that_are_set() {
    for text in [
        "busybox date 10:00",
        "date 10:00",
        "date '2020-01-01 10:00'",
        "date -u 10:00",
        "date -I 10:00",
        "date +%F 10:00",
        "date -d 10:00 11:00",
        "date -d",
        "date -d -s 10:00",
        "date --da 10:00",
        "date -- 10:00",
        "date -D %H 10",
        "date -Id 10:00",
        "date -r /etc/hostname 10:00",
        "date -us 10:00",
        "date -d \"$x\"",
    ] {
        assert!(!plain(text).only_reads, "{text}");
    }
    for text in [
        "date",
        "date -u",
        "date -d 10:00",
        "date -d '10:00 tomorrow' +%s",
        "date -ud @0 '+%F %T'",
        "date --date=yesterday +%F",
        "date --date yesterday +%F",
        "date -r /etc/hostname -R",
        "date -f /srv/dates",
    ] {
        assert!(plain(text).only_reads, "{text}");
    }
}

#[test]
fn names_that_are_bound_to_other_programs() {
    for text in [
        "hash -rp /tmp/x ls",
        "hash -dp /tmp/x ls",
        "hash -r -p /tmp/x ls",
        "hash $x",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    assert!(!plain("hash -r").is_opaque());
}

/// `~` and names without a directory are another's where a shell of another account reads them.
#[test]
fn homes_of_others() {
    for text in [
        "sudo sh -c 'cat ~/x'",
        "sudo -u bob bash -c 'cat ~/x'",
        "sudo sh -c 'cat < ~/x'",
        "sudo sh -c 'cd; cat x'",
        "sudo sh -c 'cd ~/y; cat x'",
        "su -c 'cat ~/x'",
        "su bob -c 'grep -f~/x y'",
        "su - root -c 'cat x'",
        "su -l -c 'cat x'",
        "su --login root -c 'cat x'",
    ] {
        assert!(plain(text).reads.unknown, "{text}");
    }
    assert!(plain("sudo sh -c 'tee ~/x'").writes.unknown);
    for text in [
        "sudo cat ~/x",
        "sudo sh -c 'cat /srv/x'",
        "sudo systemctl status nginx",
        "su -c 'cat x'",
        "sh -c 'cat ~/x'",
        "sudo sh -c 'cd /srv; cat x'",
        "sudo sh -c 'ls ~'",
    ] {
        assert!(!plain(text).reads.unknown, "{text}");
    }
}

/// What the client sends may have a subscript that the shell runs: as TERM of its terminal, or by `env`.
#[test]
fn numbers_that_are_not_certainly_there() {
    for text in [
        "[[ -n x ]]; TERM=1 true; echo $((TERM))",
        "(TERM=1); echo $((TERM))",
        "false && TERM=1; echo $((TERM))",
        "if false; then TERM=1; fi; echo $((TERM))",
        "f() { TERM=1; }; echo $((TERM))",
        "TERM=1 | true; echo $((TERM))",
        "TERM=1 & echo $((TERM))",
        "for TERM in; do :; done; echo $((TERM))",
        "bash -c 'TERM=1'; echo $((TERM))",
        "env TERM=1 true; echo $((TERM))",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "x=1; echo $((x + 1))",
        "x=1 && echo $((x + 1))",
        "for i in 1 2; do echo $((i * 2)); done",
        "i=0; while [ $i -lt 3 ]; do i=$((i + 1)); done",
    ] {
        assert!(!plain(text).is_opaque(), "{text}");
    }
}

#[test]
fn variables_of_the_environment() {
    let told = |text: &str| plain(text).reads.paths.contains("/proc/self/environ");
    for text in [
        "echo \"$DB_PASSWORD\"",
        "echo ${DB_PASSWORD}",
        "echo ${DB_PASSWORD:0:3}",
        "echo ${DB_PASSWORD:-x}",
        "echo ${x:-$DB_PASSWORD}",
        "x=$DB_PASSWORD; echo $x",
        "DB_PASSWORD=1 echo $DB_PASSWORD",
        "echo $DB_PASSWORD; DB_PASSWORD=x",
        "ls < /srv/$DB_PASSWORD",
        "case $DB_PASSWORD in a*) true;; esac",
        "[[ $DB_PASSWORD == a* ]]",
        "cat <<E\n$DB_PASSWORD\nE\n",
        "cat <<< $DB_PASSWORD",
        // It is not certain that these have set it.
        "DB_PASSWORD+=x; echo $DB_PASSWORD",
        "declare DB_PASSWORD+=x; echo $DB_PASSWORD",
        "(DB_PASSWORD=1); echo $DB_PASSWORD",
        "DB_PASSWORD=1 true; echo $DB_PASSWORD",
        "DB_PASSWORD=1 | true; echo $DB_PASSWORD",
        "DB_PASSWORD=1 & echo $DB_PASSWORD",
        "x=$(DB_PASSWORD=1); echo $DB_PASSWORD",
        "false && DB_PASSWORD=1; echo $DB_PASSWORD",
        "true || DB_PASSWORD=1; echo $DB_PASSWORD",
        "false && DB_PASSWORD=1 || echo $DB_PASSWORD",
        "true || DB_PASSWORD=1 && echo $DB_PASSWORD",
        "if false; then DB_PASSWORD=1; fi; echo $DB_PASSWORD",
        "while false; do DB_PASSWORD=1; done; echo $DB_PASSWORD",
        "for DB_PASSWORD in; do :; done; echo $DB_PASSWORD",
        "case a in b) DB_PASSWORD=1;; esac; echo $DB_PASSWORD",
        "f() { local DB_PASSWORD=1; }; echo $DB_PASSWORD",
        "f() { DB_PASSWORD=1; }; echo $DB_PASSWORD",
        "bash -c 'DB_PASSWORD=1'; echo $DB_PASSWORD",
        "true | read DB_PASSWORD; echo $DB_PASSWORD",
        "export DB_PASSWORD; echo $DB_PASSWORD",
    ] {
        assert!(told(text), "{text}");
    }
    for text in [
        "echo $HOME $LC_ALL $SSH_CONNECTION $USER",
        "x=1; echo $x",
        "x=1 && echo $x",
        "true && x=1 && echo $x",
        "{ x=1; }; echo $x",
        "while true; do x=$(ls); echo $x; done",
        "f() { local x=1; echo $x; }; f",
        "if true; then x=1; echo $x; fi",
        "export x=1; echo $x",
        "for f in a b; do echo $f; done",
        "ls | while read -r f; do echo $f; done",
        "echo $1 $@ $? $$",
        "echo $RANDOM",
        "echo '$DB_PASSWORD'",
    ] {
        assert!(!told(text), "{text}");
    }
}

#[test]
fn still_more_programs_that_run_others() {
    for text in [
        "ip netns exec x reboot",
        "ip net e x reboot",
        "ip -all netns exec reboot",
        "ip vrf exec x reboot",
        "ip netns \"$x\" y reboot",
        "ip -batch /srv/x",
        "ip -b /srv/x",
        "tc exec bpf import /srv/x run reboot",
        "podman unshare reboot",
        "docker service create x reboot",
        "incus exec x reboot",
        "runc exec x reboot",
        "crun exec x reboot",
        "buildah run x reboot",
        "flatpak run x",
        "snap run x",
        "singularity exec x reboot",
        "apptainer exec x reboot",
        "systemd-socket-activate -l 1 reboot",
        "bpftrace -c reboot x",
        "stap -c reboot x",
        "k3s kubectl exec x -- reboot",
        "k3s ctr run x",
        "microk8s kubectl exec x -- reboot",
    ] {
        let opaque = plain(text).opaque;
        assert!(
            opaque.iter().any(|o| matches!(o, Opaque::Runs(_))),
            "{text}: {opaque:?}"
        );
    }
    for text in [
        "ip -br addr show",
        "ip link show",
        "ip netns list",
        "docker ps",
    ] {
        assert!(!plain(text).is_opaque(), "{text}");
    }
    for text in [
        "sqlite3 x.db '.shell reboot' </dev/null",
        "duckdb x.db '.shell reboot' </dev/null",
        "psql -o '|reboot' </dev/null",
        "psql --output='|reboot' </dev/null",
        "mysql --pager=reboot </dev/null",
        "mysql --init-command='system reboot' </dev/null",
        "git remote-ext x 'sh -c reboot'",
        "git for-each-repo --config=x reboot",
        "git merge -s x y",
        "git pull -s x",
        "git rebase --strategy=x y",
    ] {
        assert!(plain(text).code, "{text}");
    }
    assert!(!plain("git merge main").code && !plain("git commit -s").code);
}
