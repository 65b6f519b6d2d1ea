//! Command lines of a second review. Each stays here.

use super::check;
use crate::{Limits, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// In a terminal, a pager is a way into a shell.
#[test]
fn programs_that_make_a_terminal() {
    check(&[
        (
            "script -qc 'dpkg -l' /dev/null",
            "script -qc [dpkg -l] /dev/null !runs-others",
        ),
        (
            "script -q -c 'systemctl status' -a ~/.bashrc",
            "script -q -c [systemctl status] -a ~/.bashrc !runs-others",
        ),
        (
            "busybox script -c ls x",
            "busybox>script -c ls x !runs-others",
        ),
        ("unbuffer ls", "unbuffer ls !runs-others"),
        ("expect -c 'spawn ls'", "expect -c [spawn ls] !runs-others"),
        ("tmux new ls", "tmux new ls !runs-others"),
        ("asciinema rec -c ls", "asciinema rec -c ls !runs-others"),
        ("openvt -w ls", "openvt -w ls !runs-others"),
        ("login -f root", "login -f root !runs-others"),
        ("su -P -c ls bob", "su -P -c ls bob !runs-others"),
        ("su --pty -c ls bob", "su --pty -c ls bob !runs-others"),
        ("ssh -t host ls", "ssh>ls"),
    ]);
    for text in [
        "docker exec -it web dpkg -l",
        "docker exec -t web systemctl status",
        "podman exec --tty web ls",
        "kubectl exec -it pod -- ls",
        "kubectl exec --tty pod -- ls",
        "socat - exec:ls,pty",
    ] {
        assert!(!plain(text).only_reads, "{text}");
    }
    assert!(plain("docker exec web ls").only_reads);
    // What it writes, it writes by a word of its own.
    let written = plain("script -q -a -c id ~/.profile").writes;
    assert!(written.paths.contains("~/.profile"), "{written:?}");
}

#[test]
fn programs_whose_marks_and_options_can_be_read_in_two_ways() {
    check(&[
        (
            "parallel -I @ @ ::: reboot",
            "parallel -I @ @ ::: reboot !option",
        ),
        (
            "parallel -I@ @ ::: reboot",
            "parallel -I@ @ ::: reboot !option",
        ),
        (
            "parallel -- ls reboot",
            "parallel -- ls reboot !unknown-code",
        ),
        (
            "parallel ls -- reboot",
            "parallel ls -- reboot !unknown-code",
        ),
        (
            "PARALLEL='-I @' parallel @ ::: id",
            "parallel>@ […]? !environment",
        ),
        ("xargs -I% -i {} x", "xargs -I% -i {} x !option"),
        ("xargs --replace -I% % x", "xargs --replace -I% % x !option"),
        ("xargs -I '' rm", "xargs -I [] rm !option"),
        ("xargs -I% %", "xargs>[{}]? !dynamic-command"),
        ("xargs -a /etc/hostname -I% bash", "xargs>bash +stdin:bash"),
        ("xargs -o vi", "xargs -o vi !option"),
        ("xargs -I% bash", "xargs>bash !fed"),
        (
            "xargs --process-slot-var=BASH_ENV bash -c true",
            "xargs --process-slot-var=BASH_ENV bash -c true !option",
        ),
        ("watch -dx ls 'a;rm b'", "watch -dx ls [a;rm b] !option"),
        ("watch -d ls", "watch>ls"),
        ("chrt -o rm x", "chrt -o rm x !option"),
        ("chrt -r 5 rm x", "chrt>rm x"),
    ]);
    let taken = crate::read_script(
        b"find /etc/hostname -exec head -n1 ;\n: '\nrm x\n: '\n",
        "bash",
        &Limits::default(),
    );
    assert!(taken.is_opaque());
}

/// Words are made before a command is redirected, so what runs in them has the session's input.
#[test]
fn what_runs_in_a_word_is_not_redirected() {
    check(&[
        (
            "echo $(sh) </dev/null",
            "sh ; echo [$(sh)]? ; read /dev/null +stdin:sh",
        ),
        (
            "echo `bash` </dev/null",
            "bash ; echo [`bash`]? ; read /dev/null +stdin:bash",
        ),
        ("echo a $(sh) <<< ls", "sh ; echo a [$(sh)]? +stdin:sh"),
        (
            "{ echo $(sh); } </dev/null",
            "sh ; echo [$(sh)]? ; read /dev/null +reads",
        ),
        (
            "x=$(sh) env A=1 ls </dev/null",
            "sh ; env>ls ; read /dev/null !fed",
        ),
        (
            "ls </dev/null 2>>$(sh)",
            "sh ; ls ; read /dev/null ; append $(sh) !fed !dynamic-file",
        ),
    ]);
    for text in [
        "echo a <<< 'x y' <<< $(sh)",
        "cat </dev/null <<E\n$(sh)\nE",
        "{ x=$(sh) ls <<< id; } </dev/null",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "echo $(cat) </dev/null",
        "echo $(cat) <<< x",
        "x=$(cat) ls </dev/null",
        "ls </dev/null 2>/srv/$(cat)",
    ] {
        let reading = plain(text);
        assert!(reading.takes_stdin, "{text}");
        let script = format!("{text}\nid\n");
        let script = crate::read_script(script.as_bytes(), "bash", &Limits::default());
        assert!(script.is_opaque(), "{text}");
    }
    for text in [
        "x=$(date) ls </dev/null",
        "x=$y ls </dev/null",
        "cat <<E\n$(date)\nE",
        "echo $(date) </dev/null",
    ] {
        assert!(!plain(text).is_opaque(), "{text}");
    }
}

/// By a pattern, one word may be two; and by a lock, a file is made.
#[test]
fn programs_that_write_by_how_many_words_they_have() {
    for text in [
        "uniq a*",
        "uniq -c -- a?",
        "uniq [ab]",
        "date 01*:",
        "tar tf a*",
        "flock /tmp/x true",
        "flock -c /tmp/x 'ls'",
        "flock -n /tmp/x -c ls",
    ] {
        assert!(!plain(text).only_reads, "{text}");
    }
    assert!(!plain("jq -L . x").only_reads);
    for text in ["uniq a", "date +%F", "tar tf a.tar", "cat a*", "sort a*"] {
        assert!(plain(text).only_reads, "{text}");
    }
}

#[test]
fn character_sets_in_which_a_shell_reads_another_text() {
    for text in [
        "export LC_ALL=zh_TW.big5; ls",
        "LANG=ja_JP.SJIS ls",
        "LC_CTYPE=zh_TW sh -c ls",
        "env LC_ALL=zh_TW.big5 bash -c ls",
        "LC_MESSAGES=x/y.UTF-8 ls",
        "LC_ALL=a.UTF-8.big5 ls",
        "LC_ALL=$X ls",
        "read LC_ALL; ls",
        "for LANG in zh_TW.big5; do ls; done",
        "declare -x LC_ALL=zh_TW.big5; ls",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "LC_ALL=C sort x",
        "LC_ALL= ls",
        "export LANG=en_US.UTF-8 LC_TIME=de_DE.utf8; date",
        "LC_ALL=C.UTF-8 ls",
        "LANG=POSIX ls",
    ] {
        assert!(!plain(text).is_opaque(), "{text}");
    }
}

/// ksh computes what stands beside `-eq`, and runs what stands in a subscript there.
#[test]
fn tests_that_another_shell_computes() {
    for text in [
        "[ 'a[$(id)]' -eq 0 ]",
        "test 0 -lt 'a[$(id)]'",
        "[ 1 = 1 -a 'a[`id`]' -ge 0 ]",
        "[ x* -ne 0 ]",
        "[ -v x* ]",
        "sh -c '[ \"$x\" -eq 0 ]'",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for (text, bash) in [
        ("[ \"$x\" -eq 0 ]", true),
        ("[ \"$(id -u)\" -eq 0 ]", true),
        ("[ $# -eq 0 ]", true),
        ("[ \"$#\" -eq 0 ]", false),
        ("[ 1 -eq 0 ]", false),
        ("[ -f \"$x\" ]", false),
    ] {
        let reading = plain(text);
        assert_eq!(
            (reading.opaque, reading.needs_bash),
            (vec![], bash),
            "{text}"
        );
    }
}

#[test]
fn programs_in_awk_and_jq_that_open_what_no_word_names() {
    for text in [
        "jq -n 'import \"config\" as $d {search:\"./.docker\"}; $d'",
        "jq -n 'include \"x\"; .'",
        "jq '\"x\" | modulemeta'",
        "jq -n env",
        "jq -n '$ENV.X'",
        "jq -n '\"\\(env)\"'",
        "jq \"$X\" a",
        "jq * a",
        "jq --arg a b \"$X\"",
        "gawk 'BEGIN { SYMTAB[\"AR\" \"GV\"] }'",
        "gawk 'BEGIN { FUNCTAB[1] }'",
        "awk '@include \"x\"'",
        "awk '@load \"x\"'",
        "awk '{ getline x < \"/etc/shadow\" }'",
        "awk 'BEGIN { ARGV[1] = \"/etc/shadow\"; ARGC = 2 } 1'",
    ] {
        let reading = plain(text);
        assert!(reading.code || reading.is_opaque(), "{text}");
        assert!(!reading.only_reads, "{text}");
    }
    for text in [
        "jq .environment a",
        "jq -r '.[] | .name' a",
        "jq .x \"/srv/$f\"",
        "awk '{print $1}' a",
    ] {
        assert!(plain(text).only_reads, "{text}");
    }
}

/// What lies below a directory, nobody can name: the reading says that it reads something unknown.
#[test]
fn programs_that_read_all_that_lies_below() {
    for text in [
        "grep -r Sentinel .",
        "grep -rh -v -e -----",
        "grep -r x",
        "grep -Rn x /var/log",
        "grep -d recurse x /srv",
        "grep --directories=recurse x /srv",
        "grep --rec x ~",
        "egrep -r x /run",
        "grep -re x /usr/share",
        "grep -r x /usr/share /home/a",
        "grep -r x /usr/share/../../home",
        "grep -r -- x /usr/share",
        "rgrep x /home/x",
        "grep -r -e '/var/log/\\|.'",
        "grep -r -e x /var/log",
        "grep -r -m 9 /var/log",
        "grep -rm 9 x /var/log",
        "grep -rf FILE /var/log",
        "grep -r --file x /var/log",
        "grep -r --max-count 9 /var/log",
        "grep -r --regexp . /var/log",
        "grep -r --include x /var/log",
        "grep -A 3 -r /var/log",
        "grep -r \"$X\" /var/log",
        "grep -r a* /var/log",
        "rg -uu -e /var/log/",
        "rg -r x /var/log",
        "rg -g x /var/log",
        "rg -E utf8 /var/log",
        "rg --color always /var/log",
        "cd /home/x; grep -r -e /var/log",
        "cd /home/x; grep -re -m /var/log",
        "grep -rn foo /srv",
        "grep -rn foo /srv/app/../../home",
        "grep -rn foo //home/x",
        "grep -rn foo /./etc/x",
        "grep -rn foo /srv/home/x",
        "grep -rn foo /usr//local/./etc",
        "grep -rn foo /var//lib",
        "tar czf x /mnt/backup",
        "grep -rn foo /var/lib/x",
        "grep -rn foo /var/backups/x",
        "grep -rn foo /srv/app /root/x",
        "grep -rn foo /srv/$X",
        "grep -Rn foo /srv/app",
        "grep -rn foo /srv/app/src",
        "grep -rh '' /srv/app",
        "grep -rl foo /srv",
        "grep -rlf x /srv/app",
        "rgrep '' /var/jenkins_home",
        "grep -rh --include='*.env' '' /srv/app",
        "grep -rh --include='.*' '' /srv/app",
        "grep -rh --include='*.py*' '' /srv/app",
        "grep -rh --include='*.py' --include='*.key' '' /srv/app",
        "grep -rh --exclude=x --include='*.py' '' /srv/app",
        "grep -rh --glob='*.py' '' /srv/app",
        "zgrep -rl '' /srv/app",
        "rg -n foo /srv/app/src",
        "rg -uu '' /srv/app",
        "rg --hidden -l '' /srv/app",
        "rg -g '*.py' '' /srv/app",
        "rg --glob='*' '' /srv/app",
        "rg --glob='!x' '' /srv/app",
        "rg --include='*.py' '' /srv/app",
        "diff -u /srv/app/a /srv/app/b",
        "diff -N /srv/app /var/empty",
        "diff -rN --no-dereference /srv/app /srv/empty",
        "diff -r --no-dereference /srv/app/a /srv/app/b",
        "sdiff -q /srv/app/a /srv/app/b",
        "diff -N -x a.txt /home/victim /var/empty",
        "diff -N -I a.txt /home/victim /var/empty",
        "diff -N -F a.txt /home/victim /var/empty",
        "diff -N --label a.txt /home/victim /var/empty",
        "diff -N -U a.txt /home/victim /var/empty",
        "diff -N --exclude=a.txt /home/victim /var/empty",
        "diff -N a.txt /home/victim /var/empty",
        "diff -N \"$X\" /home/victim a.txt",
        "sdiff -w a.txt /home/victim /var/empty",
        "diff -r /srv/app/a /srv/app/b",
        "diff -r --no-dereference /srv/app/a /home/b",
        "diff /srv/app/a /home/victim",
        "tar czf x /srv/app /home/x",
        "tar czf x -C /home .",
        "tar -cfz /srv/app /home",
        "tar -czhf x /srv/app",
        "tar czf x -T /srv/app/list",
        "tar czf x --files-from=/srv/app/x /srv/app/y",
        "tar cff x y /home/x",
        "cp -rL /srv/app /tmp/x",
        "cp -rt /tmp/x /srv/app /home/y",
        "cp -r -S x /srv/app /tmp/y",
        "cp -r /srv/app /home/x /tmp/y",
        "cp -r /srv/app",
        "rsync -a h:/srv/app /srv/x",
        "rsync -aL /srv/app h:/x",
        "rsync -a --files-from /srv/app/list / h:/x",
        "rsync -a --copy-links /srv/app h:/x",
        "rsync -a",
        "busybox grep -r x .",
        "find . -type d -exec grep -d recurse x {} +",
        "zcat -rf .",
        "gzip -cdr /home/x",
        "zstdcat -r /home/x",
        "rg -uu ''",
        "rg -L x /var/log",
        "ag x",
        "diff -rN . /var/empty",
        "diff -N /home/cloudsdk /var/empty",
        "diff -N /home/cloudsdk /usr/lib/python3.11",
        "diff --recursive a.txt b",
        "tar c /home/cloudsdk",
        "tar -cf - .",
        "tar --create .",
        "tar df x.tar",
        "cp -r /home/x /tmp/y",
        "cp -a ~ /tmp/y",
        "scp -r ~ h:",
        "zip -r - .",
        "rsync -a ~ h:",
        "cpio -o",
        "git grep --no-index x",
        "find . -type f -exec cat {} +",
        "find . -type f | xargs cat",
        "docker cp / web:/x",
        "kubectl cp /home/x pod:/x",
        "python3 -m http.server",
        "sudo grep -r x /etc",
    ] {
        assert!(plain(text).reads.unknown, "{text}");
    }
    for text in [
        "grep x /etc/hostname",
        "grep -r error /var/log",
        "grep -rn --include='*.log' -A3 error /var/log",
        "grep -rl foo /srv/app/src",
        "grep -rc foo /srv/app/src",
        "grep -rqi foo /srv/app/src",
        "grep -rn --files-with-matches foo /srv/app/src",
        "grep -rn --include='*.py' --include='*.html' foo /srv/app/src",
        "grep -rn --exclude-dir=node_modules --include='*.js' foo /srv/app",
        "rgrep -l foo /opt/app",
        "rg -l foo /srv/app/src",
        "rg -n --glob='*.rs' foo /srv/app/src",
        "tar czf x /srv/app",
        "tar -czf /tmp/x.tgz --exclude=node_modules /srv/app",
        "cp -r /srv/app /srv/app.new",
        "cp -a /srv/app/. /opt/app",
        "rsync -a --delete /srv/app/ h:/srv/app",
        "diff Makefile Makefile.orig",
        "diff -U5 a.txt b",
        "diff -q /srv/app/a /srv/app/b",
        "diff -rq --no-dereference /srv/app/a /srv/app/b",
        "grep -rn 'x y' /usr/share/doc /var/log/nginx",
        "rg error /var/log",
        "diff /etc/a.conf /tmp/b",
        "tar tf a.tar",
        "tar xf a.tar",
        "zcat /var/log/x.gz",
        "cp a b",
        "ls -R /",
        "du -a /",
        "find / -name x",
        "git grep x",
    ] {
        assert!(!plain(text).reads.unknown, "{text}");
    }
}

#[test]
fn secrets_that_programs_tell_by_another_name() {
    for (text, file) in [
        ("ps axeww", "/proc/*/environ"),
        ("ps e", "/proc/*/environ"),
        ("ps -E", "/proc/*/environ"),
        ("ps -ex", "/proc/*/environ"),
        ("ps -auxe", "/proc/*/environ"),
        ("ps -e -u a", "/proc/*/environ"),
        ("ps -to e", "/proc/*/environ"),
        ("ps -ef -o args", "/proc/*/environ"),
        ("ps -eo pid,args e", "/proc/*/environ"),
        ("ps \"$X\"", "/proc/*/environ"),
        ("busybox ps e", "/proc/*/environ"),
        ("getent shadow", "/etc/shadow"),
        ("getent -s files gshadow", "/etc/gshadow"),
        ("systemctl show nginx", "/proc/*/environ"),
        ("systemctl show -p Environment nginx", "/proc/*/environ"),
        ("systemctl --user show-environment", "/proc/*/environ"),
        ("docker inspect web", "/proc/*/environ"),
        ("docker inspect -f '{{.Config}}' web", "/proc/*/environ"),
        (
            "docker inspect --format='{{json .}}' web",
            "/proc/*/environ",
        ),
        ("docker inspect -f json web", "/proc/*/environ"),
        ("docker inspect -f '' web", "/proc/*/environ"),
        ("docker inspect -f '{{.Name}}' $X", "/proc/*/environ"),
        (
            "docker inspect -f '{{.Name}}' -f '{{.Config.Env}}' web",
            "/proc/*/environ",
        ),
        (
            "docker inspect -f'{{.Config.Env}}' '{{.Name}}'",
            "/proc/*/environ",
        ),
        (
            "docker inspect --type -f '{{.Name}}' web",
            "/proc/*/environ",
        ),
        ("docker inspect -- -f '{{.Name}}' web", "/proc/*/environ"),
        ("systemctl show --plain nginx", "/proc/*/environ"),
        ("systemctl show --plain -p nginx", "/proc/*/environ"),
        ("systemctl show -t -p nginx", "/proc/*/environ"),
        ("systemctl show -- nginx -pId", "/proc/*/environ"),
        ("docker top web auxe", "/proc/*/environ"),
        ("env", "/proc/self/environ"),
        ("env -0", "/proc/self/environ"),
        ("printenv", "/proc/self/environ"),
        ("printenv PGPASSWORD", "/proc/self/environ"),
        ("set", "/proc/self/environ"),
        ("export", "/proc/self/environ"),
        ("export -p", "/proc/self/environ"),
        ("declare -x", "/proc/self/environ"),
        ("declare -p AWS_SECRET", "/proc/self/environ"),
        ("kubectl get secrets -o yaml", "/run/secrets/kubernetes"),
        ("aws configure export-credentials", "~/.aws/credentials"),
        ("gcloud auth print-access-token", "~/.config/gcloud"),
        (
            "nmcli -s connection show x",
            "/etc/NetworkManager/system-connections",
        ),
        ("wg showconf wg0", "/etc/wireguard"),
    ] {
        let reads = plain(text).reads;
        assert!(reads.paths.contains(file), "{text}: {reads:?}");
    }
    for text in [
        "ps aux",
        "ps auxww --sort=-rss",
        "ps -ef",
        "ps -eLf",
        "ps -elf",
        "ps -eo pid,etime,cmd --sort=-etime",
        "ps -e -o pid,etime",
        "ps -C nginx",
        "ps -C node -o pid",
        "getent passwd root",
        "systemctl show -p ActiveState --value nginx",
        "systemctl show nginx --property=Id",
        "systemctl show nginx -pId",
        "systemctl status nginx",
        "docker inspect web --format='{{.Name}}'",
        "docker inspect -f '{{.State.Status}} {{.Name}}' web",
        "docker top web",
        "env A=b ls",
        "printenv PATH HOME",
        "set -e",
        "export A=b",
        "declare -r a=b",
        "kubectl get pods",
    ] {
        let reads = plain(text).reads;
        let told = |path: &String| path.contains("environ") || path.contains("secrets");
        assert!(!reads.paths.iter().any(told), "{text}: {reads:?}");
    }
}
