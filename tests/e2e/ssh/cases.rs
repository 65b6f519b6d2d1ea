//! What clients of SSH do, as scripts: each is run twice, once on a direct way to the host and once through Weir,
//! and what it prints must be the same. `ssh -F $CFG box` is the host; see `weir_tests::sshd::Way`.

/// Name and script.
pub(super) const CASES: &[(&str, &str)] = &[
    (
        "exit-codes",
        r#"
for n in 0 1 7 126 255; do ssh -F $CFG box "exit $n"; echo "$n: $?"; done
ssh -F $CFG box 'no-such-program-here' 2>/dev/null; echo $?"#,
    ),
    (
        "streams-apart",
        r#"
ssh -F $CFG box 'echo out; echo err >&2; exit 3' >out 2>err; echo $?; cat out; sed 's/^/err: /' err"#,
    ),
    ("stdin", r#"printf 'a\nb\n' | ssh -F $CFG box 'tr a-z A-Z'"#),
    (
        "half-close",
        r#"printf x | ssh -F $CFG box 'cat; echo " done"; exit 4'; echo $?"#,
    ),
    ("no-stdin", r#"ssh -n -F $CFG box 'cat; echo empty'"#),
    (
        "quoting",
        r#"ssh -F $CFG box "printf '%s|' \"a b\" 'c\"d' \$'e\\tf' g\\ h" "$(printf '\xff\xfe')" | od -An -tx1"#,
    ),
    (
        "down",
        r#"ssh -F $CFG box 'head -c 30000000 /dev/zero | tr "\0" x' | sha256sum"#,
    ),
    (
        "up",
        r#"head -c 30000000 /dev/zero | ssh -F $CFG box sha256sum"#,
    ),
    (
        "both-ways",
        r#"head -c 30000000 /dev/zero | ssh -F $CFG box cat | sha256sum"#,
    ),
    (
        "rekey",
        r#"
head -c 20000000 /dev/zero | ssh -o RekeyLimit=1M -F $CFG box cat | sha256sum; echo ${PIPESTATUS[*]}"#,
    ),
    // OpenSSH's client asks for an end of writing (eow@openssh.com) of servers whose name begins with OpenSSH; without
    // that `yes` would go on.
    (
        "eow",
        r#"timeout 30 ssh -F $CFG box yes | head -1; echo ${PIPESTATUS[*]}"#,
    ),
    (
        "tty",
        r#"ssh -tt -F $CFG box 'tty >/dev/null && echo tty; stty -a | grep -o "columns [0-9]*"; echo $TERM; exit 5' </dev/null; echo $?"#,
    ),
    ("no-tty", r#"ssh -T -F $CFG box 'tty; echo $?'"#),
    (
        "script-tty",
        r#"printf 'echo in-shell $((40+2))\nexit 9\n' | ssh -tt -F $CFG box 2>&1 | tr -d '\r' | grep -c 'in-shell 42'; echo ${PIPESTATUS[1]}"#,
    ),
    (
        "shell-from-stdin",
        r#"printf 'echo one; echo two >&2; exit 6\n' | ssh -T -F $CFG box 2>err; echo $?; cat err"#,
    ),
    (
        "env",
        r#"
export LC_WEIR='with space' WEIR_TEST_A=$'line\nbreak'
ssh -F $CFG -o SendEnv='LC_WEIR WEIR_TEST_*' box 'printf %s "$LC_WEIR|$WEIR_TEST_A" | od -An -c'"#,
    ),
    (
        "env-not-utf8",
        r#"
LC_WEIR=$'\xff\xfe' ssh -F $CFG -o SendEnv=LC_WEIR box 'printf %s "$LC_WEIR" | od -An -tx1'"#,
    ),
    (
        "env-not-accepted",
        r#"FOO_NOT=1 ssh -F $CFG -o SendEnv=FOO_NOT box 'echo "[$FOO_NOT]"'"#,
    ),
    ("killed", r#"ssh -F $CFG box 'kill -TERM $$'; echo $?"#),
    (
        "client-killed",
        r#"
ssh -tt -F $CFG box 'trap "touch '$D'/hup; exit" HUP; echo ready; sleep 20 & wait' >out 2>/dev/null </dev/null & pid=$!
for i in $(seq 100); do grep -q ready out && break; sleep 0.1; done; kill $pid
for i in $(seq 100); do test -e hup && break; sleep 0.1; done; ls hup"#,
    ),
    (
        "subsystem",
        r#"ssh -F $CFG -s box no-such-subsystem 2>&1; echo $?"#,
    ),
    (
        "scp",
        r#"
head -c 3000000 /dev/urandom > a; scp -q -F $CFG a box:$D/b && cmp a b && echo up
scp -q -F $CFG box:$D/b c && cmp a c && echo down"#,
    ),
    (
        "scp-old",
        r#"
head -c 3000000 /dev/urandom > a; scp -O -q -F $CFG a box:$D/b && cmp a b && echo up
scp -O -q -F $CFG box:$D/b c && cmp a c && echo down
scp -O -q -F $CFG box:$D/none c 2>/dev/null; echo $?"#,
    ),
    (
        "scp-tree",
        r#"
mkdir -p t/u; echo 1 > t/x; echo 2 > t/u/y; touch -d 2001-02-03T04:05:06Z t/x
scp -q -r -p -F $CFG t box:$D/v; scp -O -q -r -p -F $CFG t box:$D/w
for d in v w; do (cd $d && find . -type f | sort | xargs stat -c '%n %s %Y' | grep x && cat x u/y); done"#,
    ),
    (
        "sftp",
        r#"
head -c 5000000 /dev/urandom > a
printf 'put a b\nget b c\nrename b d\nls -1 %s\nmkdir e\nchmod 700 e\nln -s d f\nrm d\nrmdir e\ndf\n' . > batch
sed -i "1i cd $D" batch; sftp -q -F $CFG -b batch box 2>&1 | grep -v '^sftp>' | grep -v -E '[0-9]+ +[0-9]+' ; echo ${PIPESTATUS[0]}; cmp a c && ls"#,
    ),
    (
        "sftp-resume",
        r#"
head -c 5000000 /dev/urandom > a; head -c 2000000 a > b; echo "reput $D/a $D/b" > batch
sftp -q -F $CFG -b batch box >/dev/null 2>&1; echo $?; cmp a b && echo whole
head -c 1000000 a > c; echo "reget $D/a $D/c" > batch; sftp -q -F $CFG -b batch box >/dev/null 2>&1; echo $?; cmp a c && echo whole"#,
    ),
    (
        "sftp-errors",
        r#"
printf -- '-get %s/none x\n-rm %s/none\n-mkdir /proc/nope\n' $D $D > batch; sftp -q -F $CFG -b batch box 2>&1 | grep -v '^sftp>' | sed "s|$D||g"; echo ${PIPESTATUS[0]}"#,
    ),
    (
        "rsync",
        r#"
mkdir -p t/u; for i in $(seq 200); do echo $i > t/f$i; done; head -c 2000000 /dev/urandom > t/u/big
rsync -a -e "ssh -F $CFG" t/ box:$D/v/ && diff -r t v && echo up
rm t/f1; echo more >> t/f2; rsync -a --delete -e "ssh -F $CFG" t/ box:$D/v/ && diff -r t v && echo changed
rsync -a -e "ssh -F $CFG" box:$D/v/ w/ && diff -r t w && echo down"#,
    ),
    (
        "git",
        r#"
export GIT_SSH_COMMAND="ssh -F $CFG" GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q --bare -b main r.git; git init -q -b main one; cd one; echo hi > f; git add f; git commit -qm m
git push -q box:$D/r.git main 2>/dev/null; echo $?; cd ..; git clone -q box:$D/r.git two 2>/dev/null; echo $?; cat two/f; git clone -q ssh://box$D/none three 2>/dev/null; echo $?"#,
    ),
    (
        "rekey-idle",
        r#"ssh -o RekeyLimit='default 1' -F $CFG box 'for i in 1 2 3 4; do echo $i; sleep 1; done'"#,
    ),
    (
        "keepalive",
        r#"
head -c 20000000 /dev/zero | ssh -o ServerAliveInterval=1 -o ServerAliveCountMax=3 -F $CFG box 'sleep 7; wc -c'; echo ${PIPESTATUS[1]}"#,
    ),
    (
        "control-master",
        r#"
ssh -F $CFG -M -S $D/s -o ControlPersist=30 -fN box; for i in $(seq 20); do (ssh -F $CFG -S $D/s box "sleep 0.$i; exit $i"; echo "$i: $?" > r$i) & done; wait $(jobs -p | tail -20)
cat $(ls r* | sort -V); head -c 150000 /dev/zero | ssh -F $CFG -S $D/s box 'cat >/dev/null; exit 3'; echo $?; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; echo $?"#,
    ),
    (
        "neighbour",
        r#"
ssh -F $CFG -M -S $D/s -o ControlPersist=30 -fN box; (head -c 30000000 /dev/zero | timeout 6 ssh -F $CFG -S $D/s box 'sleep 5') & sleep 1
start=$(date +%s%N); ssh -F $CFG -S $D/s box 'echo quick'; took=$(( ($(date +%s%N) - start) / 1000000 )); test $took -lt 2000 && echo in time; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; wait"#,
    ),
    (
        "compression",
        r#"ssh -C -F $CFG box 'head -c 1000000 /dev/zero' | sha256sum"#,
    ),
    (
        "many-keys",
        r#"
for i in 1 2 3 4; do ssh-keygen -q -t ed25519 -N '' -f k$i; done
ssh -F $CFG -i k1 -i k2 -i k3 -i k4 box 'echo in'; echo $?"#,
    ),
];

/// What needs permission to forward; the same where it is given.
pub(super) const FORWARDS: &[(&str, &str)] = &[
    (
        "local",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -o ExitOnForwardFailure=yes -L $P2:127.0.0.1:$P1 -fN -M -S $D/s box; up $P1
head -c 2000000 /dev/zero | socat -t5 - TCP:127.0.0.1:$P2 | sha256sum; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
    ),
    (
        "stdio",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; up $P1; printf hello | ssh -F $CFG -W 127.0.0.1:$P1 box; echo $?; kill $S"#,
    ),
    (
        "remote",
        r#"
socat TCP-LISTEN:$P1,bind=127.0.0.1,reuseaddr,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -o ExitOnForwardFailure=yes -R $P2:127.0.0.1:$P1 -fN -M -S $D/s box; up $P1
head -c 2000000 /dev/zero | socat -t5 - TCP:127.0.0.1:$P2 | sha256sum; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
    ),
    (
        "dynamic",
        r#"
(mkdir www; echo page > www/i; cd www; exec python3 -m http.server --bind 127.0.0.1 $P1 >/dev/null 2>&1) & S=$!; ssh -F $CFG -D $P2 -fN -M -S $D/s box; up $P1
curl -s --max-time 10 --socks5-hostname 127.0.0.1:$P2 http://127.0.0.1:$P1/i; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
    ),
    (
        "refused-port",
        r#"printf hello | ssh -F $CFG -W 127.0.0.1:1 box 2>&1 | grep -c -i 'refused\|failed'"#,
    ),
    (
        "agent",
        r#"
eval $(ssh-agent -a $D/agent) >/dev/null; ssh-keygen -q -t ed25519 -N '' -C carried -f k; ssh-add -q k 2>/dev/null
ssh -A -F $CFG box 'ssh-add -l' | awk '{print $3, $4}'; ssh -A -F $CFG box 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ssh-add -l >/dev/null & done; wait; echo all'; ssh-agent -k >/dev/null"#,
    ),
    (
        "socket",
        r#"
socat UNIX-LISTEN:$D/u,fork SYSTEM:'cat; echo end' & S=$!; ssh -F $CFG -L $D/l:$D/u -fN -M -S $D/s box; until test -S u; do sleep 0.1; done; printf hi | socat -t5 - UNIX:$D/l; ssh -F $CFG -S $D/s -O exit box 2>/dev/null; kill $S"#,
    ),
];

/// Other clients: each is given the same things to do.
pub(super) const CLIENTS: &[(&str, &str)] = &[
    ("paramiko", r#"$PYTHON $CLIENTS/paramiko_.py 2>&1"#),
    ("asyncssh", r#"$PYTHON $CLIENTS/asyncssh_.py 2>&1"#),
    (
        "plink",
        r#"
if test -n "$PASSWORD"; then how="-pw $PASSWORD"; else puttygen $KEY -o k.ppk -O private; how="-i k.ppk"; fi
fp=$(cut -d" " -f2,3 $KNOWN | ssh-keygen -lf - | cut -d" " -f2)
p="plink -batch -ssh -hostkey $fp -P $PORT -l $LOGIN $how $HOST"
$p 'exit 7' </dev/null; echo $?; $p 'echo out; echo err >&2' </dev/null 2>err; cat err; head -c 3000000 /dev/zero | $p sha256sum; $p -t 'tty >/dev/null && echo tty' </dev/null; $p 'head -c 3000000 /dev/zero' </dev/null | sha256sum"#,
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
    ),
    ("russh", r#"$RUSSH client 2>&1"#),
    ("node-ssh2", r#"node $CLIENTS/ssh2.cjs 2>&1"#),
];
