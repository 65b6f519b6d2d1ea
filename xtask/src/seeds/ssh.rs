//! Seeds for the targets of SSH: scripts in the words of each target, and recordings as they are.

fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), bytes].concat()
}

/// Behind how many they are, in one byte.
fn counted(bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[len], bytes].concat()
}

/// A script, of steps.
fn script(first: &[u8], steps: &[&[u8]]) -> Vec<u8> {
    [first, &steps.concat()].concat()
}

/// Of `relay`: a step, what it is about, on which channel, and more. Even steps are the client's.
pub fn relay() -> Vec<Vec<u8>> {
    // A session with windows of 200, confirmed.
    let open: &[u8] = &[0, 0, 0, 0, 200, 252];
    let confirmed: &[u8] = &[1, 1, 0, 0, 200, 252];
    let granted: &[u8] = &[14, 0, 3];
    let gated: &[u8] = &[14, 0, 2];
    let request = |name: u8, more: &[u8]| [&[0, 9, 0, name], more].concat();
    let said = |n: u8, more: &[u8]| [&[9, n], &counted(more)[..]].concat();
    let (exec, shell) = (request(0, &[0]), request(1, &[0]));
    let (piped, success) = (request(0, &[1]), [1, 12, 0]);
    let output = [&[1, 4, 0][..], &counted(b"out\n")].concat();
    let input = [&[0, 4, 0][..], &counted(b"ls\n")].concat();
    let (eof, close, closed) = ([0, 7, 0], [0, 8, 0], [1, 8, 0]);
    let begun = [open, confirmed].concat();
    let second: &[u8] = &[1, 1, 255, 1, 200, 252];
    let made = said(0, b"");
    let live = said(2, b"");
    let asks = said(4, b"-l");
    let deepest = [said(5, b""), granted.to_vec(), said(6, b"")].concat();
    let raw = [
        &[6][..],
        &counted(&[&[90][..], &string(b"session"), &[0; 12]].concat()),
    ];
    vec![
        script(
            &[0],
            &[
                &begun, &exec, granted, &success, &output, &eof, &close, &closed,
            ],
        ),
        script(
            &[0],
            &[&begun, &piped, &input, &eof, granted, &success, &close],
        ),
        script(&[4], &[&begun, &exec, &[14, 0, 0], &close, &closed]),
        script(
            &[0],
            &[
                &begun, &shell, gated, second, &made, &success, &live, &input, &asks, granted,
                &deepest, &close, &closed,
            ],
        ),
        script(
            &[0],
            &[&[0, 14, 0, 0, 22], granted, &[1, 15, 0, 0], &raw.concat()],
        ),
        script(&[0], &[&begun, &request(2, &[80, 0]), granted, &[12, 200]]),
    ]
}

/// Of `userauth`: whose side and which methods, then messages.
pub fn userauth() -> Vec<Vec<u8>> {
    let hello: &[u8] = &[0];
    vec![
        // Probe and proof of a key.
        script(&[0], &[hello, &[5, 0, 0, 0], &[6, 0, 0]]),
        // For another connection, another user, and again.
        script(&[0], &[hello, &[6, 1], &[6, 2], &[6, 1]]),
        script(&[0], &[hello, &[2, 0], &counted(b"a token"), &[1]]),
        script(
            &[0],
            &[hello, &[3], &counted(b""), &[0, 4, 1], &counted(b"")],
        ),
        script(&[32], &[hello, &[1, 0, 0, 0]]),
        // The other side: accepted, refused, asked, in.
        script(&[1], &[&[0], &[2]]),
        script(
            &[1],
            &[
                &[0],
                &[3, 0, 0],
                &[4, 1, 0],
                &counted(b"Password: "),
                &[0, 2],
            ],
        ),
        script(&[3], &[&[0], &[1], &counted(b"hello"), &[2]]),
    ]
}

/// Of `jump`: a stream to a target, data in both directions, its end.
pub fn jump() -> Vec<Vec<u8>> {
    let open: &[u8] = &[0, 0, 0, 0, 0, 200, 200];
    let data = [&[8, 0][..], &counted(b"SSH-2.0-x\r\n")].concat();
    let write = [&[6, 0][..], &counted(b"SSH-2.0-Weir\r\n")].concat();
    let (pump, read, end): (&[u8], &[u8], &[u8]) = (&[3, 100], &[2, 0, 50], &[10, 0]);
    let close: &[u8] = &[20, 0, 1];
    vec![
        script(&[], &[open, &data, read, &write, pump, end, pump, close]),
        script(
            &[],
            &[open, open, open, open, &[16, 0, 100], &[14, 0], pump],
        ),
        script(
            &[],
            &[&[0, 0, 0, 3, 0, 9, 9], &[24, 0], &counted(b"tcpip-forward")],
        ),
    ]
}

/// Of `gate`: the size of pieces, then what the helper says.
pub fn gate() -> Vec<Vec<u8>> {
    let said = [
        "s made\n",
        "s no bash is too old\n",
        "s ask main 01234567-89ab-cdef-0123-456789abcdef 7 1 0 /srv\trm -r a\n",
        "s ask main a 7 1 1 /srv\tprintf '%s\\n\ns ask main a 7 1 0 ' a\\tb > /tmp/x\t/tmp/x\n",
        "s ask main a 7 1 0 /\tfor x in a b\ns ask sub b 8 2 0 /\t[[ -e /x ]]\n",
        "s ask main a 7 1 0 /\ttrap - DEBUG\ns ask main b 7 1 0 /tmp\tcat /tmp/weir-f/main\n",
        "bash: not found\ns ask live a 7 1 0 /\tls\n",
    ];
    let mut all: Vec<String> = said.iter().map(|s| format!("\u{7}{s}")).collect();
    all.push(format!("\u{1}{}", said.concat()));
    all.into_iter().map(String::into_bytes).collect()
}

/// Of `lines`: a step, a number, and lines behind their lengths.
pub fn lines() -> Vec<Vec<u8>> {
    let prompt = |number: u8| vec![0, number];
    let entry = |text: &str| [&[0][..], &counted(text.as_bytes())].concat();
    let more = |number: u8, text: &str| [&[2, number][..], &entry(text)].concat();
    let line = |first: u8, texts: &[&str]| {
        let count = u8::try_from(texts.len() - 1).unwrap_or_default();
        let texts: Vec<_> = texts.iter().map(|text| entry(text)).collect();
        [&[4, first, count][..], &texts.concat()].concat()
    };
    let judged = vec![6, 0];
    let all = [
        prompt(1),
        line(1, &["ls -l"]),
        judged.clone(),
        line(2, &["{ ls; } > x"]),
        judged.clone(),
        prompt(3),
        more(3, "for i in a b"),
        more(4, "do"),
        line(3, &["for i in a b", "do", "ls $i; done"]),
        judged.clone(),
        prompt(6),
        more(6, "cat <<E"),
        more(6, "cat <<F"),
        line(6, &["cat <<E", "x", "E"]),
        judged.clone(),
        prompt(9),
        line(9, &["ls"]),
        prompt(10),
        judged.clone(),
        line(8, &["ls", "a\n    9  i-d b", "echo $(id)"]),
        judged,
    ];
    let some = |from: usize, steps: usize| {
        let steps = all.iter().skip(from).take(steps);
        steps.flatten().copied().collect()
    };
    vec![some(0, all.len()), some(0, 4), some(5, 6)]
}

/// Of `records`: the size of pieces, then messages behind their lengths.
pub fn records() -> Vec<Vec<u8>> {
    let on = |number: u8, more: &[u8]| string(&[&[number, 0, 0, 0, 0], more].concat());
    let request = |name: &[u8], more: &[u8]| on(98, &[&string(name), &[0][..], more].concat());
    let terminal = [&string(b"xterm")[..], &[0, 0, 0, 80, 0, 0, 0, 24]].concat();
    let all = [
        on(94, &string(b"one\r\ntwo \x1b[31mred\n")),
        on(
            95,
            &[&[0, 0, 0, 1][..], &string(b"no such file\n")].concat(),
        ),
        request(b"pty-req", &terminal),
        request(b"window-change", &[0, 0, 0, 99, 0, 0, 0, 9]),
        request(b"signal", &string(b"INT")),
        request(b"exit-signal", &string(b"KILL")),
        request(b"exit-status", &[0, 0, 0, 3]),
        on(93, &[0, 0, 1, 0]),
        on(96, b""),
        on(97, b""),
    ];
    let mut seeds: Vec<Vec<u8>> = all.iter().map(|m| [&[200], &m[..]].concat()).collect();
    seeds.push(script(&[6], &[&all.concat()]));
    seeds.push(b"\x03\xff\xff\xff\xffwild".to_vec());
    seeds
}

/// Of `transfers`: which reader, then who sends how many bytes.
pub fn transfers() -> Vec<Vec<u8>> {
    let (client, server) = (0, 1);
    let step = |side: u8, bytes: &[u8]| [&[side], &counted(bytes)[..]].concat();
    // Its length is put before each packet; the first field is the request's number.
    let packet = |number: u8, fields: &[u8]| step(client, &[&[number, 1], fields].concat());
    let path = string(b"/srv/a");
    let open = packet(3, &[&path[..], &[0, 0, 0, 26, 0, 0, 0, 0]].concat());
    let handle = step(server, &[&[102, 1][..], &string(b"h")].concat());
    let ok = step(
        server,
        &[&[101, 1, 0, 0, 0, 0][..], &string(b""), &string(b"")].concat(),
    );
    let write = packet(6, &[&string(b"h")[..], &[0; 8], &string(b"data")].concat());
    let read = packet(5, &[&string(b"h")[..], &[0; 8], &[0, 0, 0, 9]].concat());
    let got = step(server, &[&[103, 1][..], &string(b"data")].concat());
    let close = packet(4, &string(b"h"));
    let rename = packet(18, &[path.clone(), string(b"/srv/b")].concat());
    let line = |side: u8, text: &str| step(side, text.as_bytes());
    // Verbatim: the other bit says that bytes are as they are.
    let (up, down) = (line(client, "C0644 4 a\n"), line(server, "C0644 4 a\n"));
    let fine = |side: u8| step(side, b"\0");
    vec![
        script(&[0], &[&open, &handle, &write, &ok, &close, &ok]),
        script(&[0], &[&open, &handle, &read, &got, &close, &ok]),
        script(
            &[0],
            &[
                &rename,
                &ok,
                &packet(13, &path),
                &packet(11, &path),
                &handle,
            ],
        ),
        script(
            &[1],
            &[
                &step(client, b"\0\0\0\x05\x01\0\0\0\x03"),
                &step(server, b"\0\0\0\x05\x02\0\0\0\x03"),
            ],
        ),
        script(
            &[2],
            &[
                &fine(server),
                &line(client, "D0755 0 d\n"),
                &fine(server),
                &up,
                &fine(server),
                &line(client, "data\0"),
                &fine(server),
                &line(client, "E\n"),
                &fine(server),
            ],
        ),
        script(
            &[3],
            &[
                &fine(client),
                &down,
                &fine(client),
                &line(server, "data\0"),
                &fine(client),
            ],
        ),
        script(
            &[3],
            &[&fine(client), &line(server, "\x01scp: no such file\n")],
        ),
    ]
}

/// Of `mask`: kind, pause and pieces, then output with secrets, as they are and in disguise.
pub fn mask() -> Vec<Vec<u8>> {
    let outputs: [&[u8]; 9] = [
        b"plain text\nand more\n",
        b"the secret-1 is out, aaaaaaaa, abababab-c\n",
        b"sec\x1b[31mret-1\x1b[0m\r\n",
        b"sec\x08cret-1 aaaa\raaaaaaaa\n",
        b"c2VjcmV0LTE= 7365637265742d31 secret%2d1\n",
        b"AWS_SECRET_ACCESS_KEY=abcdefghijklmnopqrstuvwxyz0123456789ABCD\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLWl0\n",
        b"\x7fELF\0\0\xff\xfe secret-1 \0 abababab-c",
    ];
    let mut all = Vec::new();
    for how in [0, 1, 2, 5, 8] {
        all.extend(outputs.iter().map(|out| [&[how], *out].concat()));
    }
    all
}

/// Of `keys`: a signature over a text as `ssh-keygen -Y sign` makes it, though of nobody, and what is changed of one.
pub fn signatures(key: &[u8]) -> Vec<Vec<u8>> {
    let signature = [string(b"ssh-ed25519"), string(&[3; 64])].concat();
    let parts = [
        b"SSHSIG\0\0\0\x01".to_vec(),
        string(key),
        string(b"test@weir.dev"),
        string(b""),
        string(b"sha512"),
        string(&signature),
    ];
    // From the 20th byte on, four others for four.
    vec![parts.concat(), vec![20, 4, 9, 9, 9, 9], vec![0, 0]]
}
