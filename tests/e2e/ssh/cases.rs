//! What clients of SSH do, as scripts: each is run twice, once on a direct way to the host and once through Weir,
//! and what it prints must be the same. `ssh -F $CFG box` is the host; see `weir_tests::sshd::Way`. What must be among
//! it says each case, too: a client that is not there fails alike on both ways.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "exit-codes",
        r#"
for n in 0 1 7 126 255; do ssh -F $CFG box "exit $n"; echo "$n: $?"; done
ssh -F $CFG box 'no-such-program-here' 2>/dev/null; echo $?"#,
        "0: 0\n1: 1\n7: 7\n126: 126\n255: 255\n127",
    ),
    (
        "streams-apart",
        r#"
ssh -F $CFG box 'echo out; echo err >&2; exit 3' >out 2>err; echo $?; cat out; sed 's/^/err: /' err"#,
        "3\nout\nerr: err",
    ),
    (
        "stdin",
        r#"printf 'a\nb\n' | ssh -F $CFG box 'tr a-z A-Z'"#,
        "A\nB",
    ),
    (
        "half-close",
        r#"printf x | ssh -F $CFG box 'cat; echo " done"; exit 4'; echo $?"#,
        "x done\n4",
    ),
    (
        "no-stdin",
        r#"ssh -n -F $CFG box 'cat; echo empty'"#,
        "empty",
    ),
    (
        "quoting",
        r#"ssh -F $CFG box "printf '%s|' \"a b\" 'c\"d' \$'e\\tf' g\\ h" "$(printf '\xff\xfe')" | od -An -tx1"#,
        "61 20 62 7c 63 22 64 7c 65",
    ),
    // What bash alone does so, or sets.
    (
        "bash-words",
        r#"
ssh -F $CFG box 'set -euo pipefail; echo -e "a\tb"; [ a == a ] && echo same; shopt -s nullglob; for f in *.none; do echo "$f"; done; echo "uid $UID"'; echo $?"#,
        "a\tb\nsame\nuid\n0",
    ),
    (
        "down",
        r#"ssh -F $CFG box 'head -c 30000000 /dev/zero | tr "\0" x' | sha256sum"#,
        "70c3028c6f67e8ccdb375415a8abda40690c3328bf70f1d7d03413e3384d1312",
    ),
    (
        "up",
        r#"head -c 30000000 /dev/zero | ssh -F $CFG box sha256sum"#,
        "5cea420a169be50cd615ee30e570f980afb5eb88e8431d652202fc99df58ed7d",
    ),
    (
        "both-ways",
        r#"head -c 30000000 /dev/zero | ssh -F $CFG box cat | sha256sum"#,
        "5cea420a169be50cd615ee30e570f980afb5eb88e8431d652202fc99df58ed7d",
    ),
    (
        "rekey",
        r#"
head -c 20000000 /dev/zero | ssh -o RekeyLimit=1M -F $CFG box cat | sha256sum; echo ${PIPESTATUS[*]}"#,
        "9e21c61969cd3e077a1b2b58ddb583b175e13c6479d2d83912eaddc23c0cdd52\n0 0 0",
    ),
    // OpenSSH's client asks for an end of writing (eow@openssh.com) of servers whose name begins with OpenSSH; without
    // that `yes` would go on.
    (
        "eow",
        r#"timeout 30 ssh -F $CFG box yes | head -1; echo ${PIPESTATUS[*]}"#,
        "y",
    ),
    (
        "tty",
        r#"ssh -tt -F $CFG box 'tty >/dev/null && echo tty; stty -a | grep -o "columns [0-9]*"; echo $TERM; exit 5' </dev/null; echo $?"#,
        "tty\ncolumns\n5",
    ),
    (
        "no-tty",
        r#"ssh -T -F $CFG box 'tty; echo $?'"#,
        "not a tty\n1",
    ),
    (
        "script-tty",
        r#"printf 'echo in-shell $((40+2))\nexit 9\n' | ssh -tt -F $CFG box 2>&1 | tr -d '\r' | grep -c 'in-shell 42'; echo ${PIPESTATUS[1]}"#,
        "1\n9",
    ),
    (
        "shell-from-stdin",
        r#"printf 'echo one; echo two >&2; exit 6\n' | ssh -T -F $CFG box 2>err; echo $?; cat err"#,
        "one\n6\ntwo",
    ),
    (
        "env",
        r#"
export LC_WEIR='with space' WEIR_TEST_A=$'line\nbreak'
ssh -F $CFG -o SendEnv='LC_WEIR WEIR_TEST_*' box 'printf %s "$LC_WEIR|$WEIR_TEST_A" | od -An -c'"#,
        "w   i   t   h",
    ),
    (
        "env-not-utf8",
        r#"
LC_WEIR=$'\xff\xfe' ssh -F $CFG -o SendEnv=LC_WEIR box 'printf %s "$LC_WEIR" | od -An -tx1'"#,
        "ff fe",
    ),
    (
        "env-not-accepted",
        r#"FOO_NOT=1 ssh -F $CFG -o SendEnv=FOO_NOT box 'echo "[$FOO_NOT]"'"#,
        "[]",
    ),
    (
        "killed",
        r#"ssh -F $CFG box 'kill -TERM $$'; echo $?"#,
        "255",
    ),
    (
        "client-killed",
        r#"
ssh -tt -F $CFG box 'trap "touch '$D'/hup; exit" HUP; echo ready; sleep 20 & wait' >out 2>/dev/null </dev/null & pid=$!
for i in $(seq 100); do grep -q ready out && break; sleep 0.1; done; kill $pid
for i in $(seq 100); do test -e hup && break; sleep 0.1; done; ls hup"#,
        "hup",
    ),
    (
        "subsystem",
        r#"ssh -F $CFG -s box no-such-subsystem 2>&1; echo $?"#,
        "subsystem request failed\n255",
    ),
    (
        "scp",
        r#"
head -c 3000000 /dev/urandom > a; scp -q -F $CFG a box:$D/b && cmp a b && echo up
scp -q -F $CFG box:$D/b c && cmp a c && echo down"#,
        "up\ndown",
    ),
    (
        "scp-old",
        r#"
head -c 3000000 /dev/urandom > a; scp -O -q -F $CFG a box:$D/b && cmp a b && echo up
scp -O -q -F $CFG box:$D/b c && cmp a c && echo down
scp -O -q -F $CFG box:$D/none c 2>/dev/null; echo $?"#,
        "up\ndown\n1",
    ),
    (
        "scp-tree",
        r#"
mkdir -p t/u; echo 1 > t/x; echo 2 > t/u/y; touch -d 2001-02-03T04:05:06Z t/x
scp -q -r -p -F $CFG t box:$D/v; scp -O -q -r -p -F $CFG t box:$D/w
for d in v w; do (cd $d && find . -type f | sort | xargs stat -c '%n %s %Y' | grep x && cat x u/y); done"#,
        "./x 2 981173106\n1\n2\n./x 2 981173106\n1\n2",
    ),
    (
        "sftp",
        r#"
head -c 5000000 /dev/urandom > a
printf 'put a b\nget b c\nrename b d\nls -1 %s\nmkdir e\nchmod 700 e\nln -s d f\nrm d\nrmdir e\ndf\n' . > batch
sed -i "1i cd $D" batch; sftp -q -F $CFG -b batch box 2>&1 | grep -v '^sftp>' | grep -v -E '[0-9]+ +[0-9]+' ; echo ${PIPESTATUS[0]}; cmp a c && ls"#,
        "0\na\nbatch\nc\nf",
    ),
    (
        "sftp-resume",
        r#"
head -c 5000000 /dev/urandom > a; head -c 2000000 a > b; echo "reput $D/a $D/b" > batch
sftp -q -F $CFG -b batch box >/dev/null 2>&1; echo $?; cmp a b && echo whole
head -c 1000000 a > c; echo "reget $D/a $D/c" > batch; sftp -q -F $CFG -b batch box >/dev/null 2>&1; echo $?; cmp a c && echo whole"#,
        "0\nwhole\n0\nwhole",
    ),
    (
        "sftp-errors",
        r#"
printf -- '-get %s/none x\n-rm %s/none\n-mkdir /proc/nope\n' $D $D > batch; sftp -q -F $CFG -b batch box 2>&1 | grep -v '^sftp>' | sed "s|$D||g"; echo ${PIPESTATUS[0]}"#,
        "not found",
    ),
    (
        "rsync",
        r#"
mkdir -p t/u; for i in $(seq 200); do echo $i > t/f$i; done; head -c 2000000 /dev/urandom > t/u/big
rsync -a -e "ssh -F $CFG" t/ box:$D/v/ && diff -r t v && echo up
rm t/f1; echo more >> t/f2; rsync -a --delete -e "ssh -F $CFG" t/ box:$D/v/ && diff -r t v && echo changed
rsync -a -e "ssh -F $CFG" box:$D/v/ w/ && diff -r t w && echo down"#,
        "up\nchanged\ndown",
    ),
    (
        "git",
        r#"
export GIT_SSH_COMMAND="ssh -F $CFG" GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q --bare -b main r.git; git init -q -b main one; cd one; echo hi > f; git add f; git commit -qm m
git push -q box:$D/r.git main 2>/dev/null; echo $?; cd ..; git clone -q box:$D/r.git two 2>/dev/null; echo $?; cat two/f; git clone -q ssh://box$D/none three 2>/dev/null; echo $?"#,
        "0\n0\nhi\n128",
    ),
    (
        "rekey-idle",
        r#"ssh -o RekeyLimit='default 1' -F $CFG box 'for i in 1 2 3 4; do echo $i; sleep 1; done'"#,
        "1\n2\n3\n4",
    ),
    (
        "keepalive",
        r#"
head -c 20000000 /dev/zero | ssh -o ServerAliveInterval=1 -o ServerAliveCountMax=3 -F $CFG box 'sleep 7; wc -c'; echo ${PIPESTATUS[1]}"#,
        "20000000\n0",
    ),
    (
        "control-master",
        r#"
ssh -F $CFG -M -S $D/s -o ControlPersist=30 -fN box; for i in $(seq 20); do (ssh -F $CFG -S $D/s box "sleep 0.$i; exit $i"; echo "$i: $?" > r$i) & done; wait $(jobs -p | tail -20)
cat $(ls r* | sort -V); head -c 150000 /dev/zero | ssh -F $CFG -S $D/s box 'cat >/dev/null; exit 3'; echo $?; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; echo $?"#,
        "1: 1\n2: 2\n3: 3\n4: 4\n5: 5\n6: 6\n7: 7\n8: 8\n9: 9\n10: 10\n11: 11\n12: 12\n13: 13\n14: 14\n15: 15\n16: 16\n17: 17\n18: 18\n19: 19\n20: 20\n3\n0",
    ),
    (
        "neighbour",
        r#"
ssh -F $CFG -M -S $D/s -o ControlPersist=30 -fN box; (head -c 30000000 /dev/zero | timeout 6 ssh -F $CFG -S $D/s box 'sleep 5') & sleep 1
start=$(date +%s%N); ssh -F $CFG -S $D/s box 'echo quick'; took=$(( ($(date +%s%N) - start) / 1000000 )); test $took -lt 2000 && echo in time; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; wait"#,
        "in time",
    ),
    (
        "compression",
        r#"ssh -C -F $CFG box 'head -c 1000000 /dev/zero' | sha256sum"#,
        "d29751f2649b32ff572b5e0a9f541ea660a50f94ff0beedfb0b692b924cc8025",
    ),
    (
        "many-keys",
        r#"
for i in 1 2 3 4; do ssh-keygen -q -t ed25519 -N '' -f k$i; done
ssh -F $CFG -i k1 -i k2 -i k3 -i k4 box 'echo in'; echo $?"#,
        "in\n0",
    ),
];

/// What needs permission to forward; the same where it is given.
pub(super) const FORWARDS: &[Case] = &[
    (
        "local",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -o ExitOnForwardFailure=yes -L $P2:127.0.0.1:$P1 -fN -M -S $D/s box; up $P1
head -c 2000000 /dev/zero | socat -t5 - TCP:127.0.0.1:$P2 | sha256sum; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
        "4f0f9950c98aa4148ca275473544a609627b11c4ed64ae600da66e9e9ed354e6",
    ),
    (
        "stdio",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; up $P1; printf hello | ssh -F $CFG -W 127.0.0.1:$P1 box; echo $?; kill $S"#,
        "helloend\n0",
    ),
    (
        "remote",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -o ExitOnForwardFailure=yes -R $P2:127.0.0.1:$P1 -fN -M -S $D/s box; up $P1
head -c 2000000 /dev/zero | socat -t5 - TCP:127.0.0.1:$P2 | sha256sum; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
        "4f0f9950c98aa4148ca275473544a609627b11c4ed64ae600da66e9e9ed354e6",
    ),
    // Whichever port is free, twice on one connection: answers say which, in the order of the questions.
    (
        "remote-any",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'echo one' & S=$!; socat TCP-LISTEN:$P2,bind=127.0.0.1,reuseaddr,fork SYSTEM:'echo two' & T=$!; up $P1; up $P2
ssh -F $CFG -o LogLevel=INFO -o ExitOnForwardFailure=yes -R 0:127.0.0.1:$P1 -R 0:127.0.0.1:$P2 -fN -M -S $D/s box 2>log; echo $?
ports=$(tr -d '\r' <log | sed -n 's/^Allocated port \([0-9]*\) .*/\1/p'); printf '%s\n' $ports | sort -u | wc -l; for p in $ports; do socat -u -t5 TCP:127.0.0.1:$p -; done
ssh -F $CFG -S $D/s -O cancel -R 0:127.0.0.1:$P1 box; echo $?; for p in $ports; do for i in $(seq 20); do said=$(socat -u -t5 TCP:127.0.0.1:$p - 2>&1); case $said in one|'') sleep 0.1;; *) break;; esac; done; echo "$said" | grep -o 'refused\|two'; done
ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S $T"#,
        "0\n2\none\ntwo\n0\nrefused\ntwo",
    ),
    // Its server of windows only shows what it was told, and says goodbye.
    (
        "x11",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'head -c 12 | od -An -tx1' & S=$!; up $P1
DISPLAY=127.0.0.1:$((P1-6000)).0 ssh -X -o ForwardX11Trusted=yes -F $CFG box "python3 $CLIENTS/x11_.py "'$HOME/../cookies' 2>&1 | grep -v '^Warning: No xauth data'; echo ${PIPESTATUS[0]}; kill $S"#,
        "6c 00 0b 00 00 00 12 00 10 00 00 00\n0",
    ),
    (
        "dynamic",
        r#"
(mkdir www; echo page > www/i; cd www; exec python3 -m http.server --bind 127.0.0.1 $P1 >/dev/null 2>&1) & S=$!; ssh -F $CFG -D $P2 -fN -M -S $D/s box; up $P1
curl -s --max-time 10 --socks5-hostname 127.0.0.1:$P2 http://127.0.0.1:$P1/i; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
        "page",
    ),
    (
        "refused-port",
        r#"printf hello | ssh -F $CFG -W 127.0.0.1:1 box 2>&1 | grep -c -i 'refused\|failed'"#,
        "1",
    ),
    (
        "agent",
        r#"
eval $(ssh-agent -a $D/agent) >/dev/null; ssh-keygen -q -t ed25519 -N '' -C carried -f k; ssh-add -q k 2>/dev/null
ssh -A -F $CFG box 'ssh-add -l' | awk '{print $3, $4}'; ssh -A -F $CFG box 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ssh-add -l >/dev/null & done; wait; echo all'; ssh-agent -k >/dev/null"#,
        "carried (ED25519)\nall",
    ),
    (
        "socket",
        r#"
socat UNIX-LISTEN:$D/u,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -L $D/l:$D/u -fN -M -S $D/s box; until test -S u; do sleep 0.1; done; printf hi | socat -t5 - UNIX:$D/l; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
        "hiend",
    ),
];

/// Other clients: each is given the same things to do.
pub(super) const CLIENTS: &[Case] = &[
    (
        "paramiko",
        r#"$PYTHON $CLIENTS/paramiko_.py 2>&1"#,
        "exit 7 7\necho out; echo err >&2 0 b'out\\n' b'err\\n'\nsha256sum 0\nresized b'44 100\nsame True\nnone: FileNotFoundError\nexit 9 9",
    ),
    (
        "asyncssh",
        r#"$PYTHON $CLIENTS/asyncssh_.py 2>&1"#,
        "7 None\nout\ne55b8bdf621ddaa8f462c74745db9680d3bb7536a9cf854f8d6668b34a287890\nTERM\n[0, 1, 2, 3\nready\n44 100\n3\nready\nTrue\n['file2']",
    ),
    (
        "plink",
        r#"
if test -n "$PASSWORD"; then how="-pw $PASSWORD"; else puttygen $KEY -o k.ppk -O private; how="-i k.ppk"; fi
fp=$(cut -d" " -f2,3 $KNOWN | ssh-keygen -lf - | cut -d" " -f2)
p="plink -batch -ssh -hostkey $fp -P $PORT -l $LOGIN $how $HOST"
$p 'exit 7' </dev/null; echo $?; $p 'echo out; echo err >&2' </dev/null 2>err; cat err; head -c 3000000 /dev/zero | $p sha256sum; $p -t 'tty >/dev/null && echo tty' </dev/null; $p 'head -c 3000000 /dev/zero' </dev/null | sha256sum"#,
        "7\nout\nerr\n35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f\ntty\n35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f",
    ),
    // Its client looks whether it has a channel left before it writes what waits for a reader (`session_loop`:
    // `loophandler`, then `channelio`). If CLOSE comes while output waits, the channel goes with the last of it, and
    // the client sleeps for hours: against sshd itself 5 times of 5 with
    // `dbclient … 'head -c 80000 /dev/zero' | (sleep 1; wc -c)`. What goes into a file never waits.
    (
        "dropbear",
        r#"
if test -n "$PASSWORD"; then export DROPBEAR_PASSWORD="$PASSWORD"; how=; else dropbearconvert openssh dropbear $KEY k 2>/dev/null; how="-i k"; fi
p="dbclient -y -y -T -p $PORT -l $LOGIN $how $HOST"; export HOME=$D
$p 'exit 7' </dev/null 2>/dev/null; echo $?; $p 'echo out; echo err >&2' </dev/null 2>/dev/null; head -c 3000000 /dev/zero | $p sha256sum 2>/dev/null; echo ${PIPESTATUS[1]}; $p 'head -c 3000000 /dev/zero' </dev/null >big 2>/dev/null; echo $?; sha256sum <big"#,
        "7\nout\n35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f\n0\n0\n35bce4eae54ec8e6cc2868baa8d157914d6ae2858811b4cc0c078c94460fa26f",
    ),
    (
        "ansible",
        r#"
export HOME=$D ANSIBLE_HOME=$D ANSIBLE_HOST_KEY_CHECKING=True ANSIBLE_RETRY_FILES_ENABLED=False ANSIBLE_NOCOWS=1 ANSIBLE_NOCOLOR=1 ANSIBLE_DEPRECATION_WARNINGS=False ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3
printf '[all]\nbox ansible_ssh_common_args="-F %s -o ControlMaster=auto -o ControlPersist=20 -o ControlPath=%s/c"\n' $CFG $D > inv; echo hello > a
for pipelined in False True; do export ANSIBLE_PIPELINING=$pipelined
$VENV/bin/ansible -i inv all -m ping 2>&1 | grep -E 'SUCCESS|UNREACHABLE|FAILED|pong'
$VENV/bin/ansible -i inv all -m copy -a "src=$D/a dest=$D/b$pipelined" 2>&1 | grep -oE 'CHANGED|SUCCESS|UNREACHABLE|FAILED'; cat b$pipelined; done
ssh -F $CFG -O exit -S $D/c box 2>/dev/null"#,
        "SUCCESS\npong\nCHANGED\nhello\nSUCCESS\npong\nCHANGED\nhello",
    ),
    (
        "russh",
        r#"$RUSSH client 2>&1"#,
        "exit 7: [\"7\"\nerr \"err\\n\"\nof eight, 0: [\"0\"\nof eight, 7: [\"7\"\nshell in a terminal: [\"5\"\ndirect-tcpip: same true\nrekeyed: often true, same true [\"6\"\nsleep 2; exit 3: [\"3\"\na wrong password: let in false\necho by token: [\"0\"",
    ),
    (
        "node-ssh2",
        r#"node $CLIENTS/ssh2.cjs 2>&1"#,
        "exit 7 [ 7\nsha256sum [ 0\nkill -TERM $$ [\necho same [ 0\nsftp null null true",
    ),
];
