//! Certificates: for what they are good, every way to be wrong, and what OpenSSH makes of them and of ours.

use std::time::Duration;

use super::*;
use crate::testing::{KINDS, fixed, generate, read, ssh_keygen};
use crate::wire::Put;
use crate::{PrivateKey, signature_algorithm};

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn spec() -> CertificateSpec {
    CertificateSpec {
        key: fixed(2).public().clone(),
        kind: CertificateKind::User,
        serial: 7,
        key_id: "dora".to_owned(),
        principals: vec!["dora".to_owned(), "ops".to_owned()],
        valid_after: NOW - 60,
        valid_before: NOW + 60,
        critical: Options::new(),
        extensions: Options::new().flag("permit-pty"),
    }
}

fn wanted(cas: &[PublicKey]) -> Wanted<'_> {
    Wanted {
        cas,
        kind: CertificateKind::User,
        now: at(NOW),
        principal: "dora",
        source: None,
    }
}

fn cas() -> [PublicKey; 2] {
    [fixed(3).public().clone(), fixed(1).public().clone()]
}

fn sign(spec: &CertificateSpec) -> Certificate {
    spec.sign(&fixed(1)).unwrap()
}

#[test]
fn a_certificate_is_good_for_what_it_says_and_nothing_else() {
    use CertificateError as E;
    let cas = cas();
    let good = sign(&spec());
    good.check(&wanted(&cas)).unwrap();
    let check = |change: &dyn Fn(&mut CertificateSpec), ask: &dyn Fn(&mut Wanted<'_>)| {
        let (mut spec, mut wanted) = (spec(), wanted(&cas));
        change(&mut spec);
        ask(&mut wanted);
        sign(&spec).check(&wanted)
    };
    let same = |_: &mut CertificateSpec| {};
    let asked = |_: &mut Wanted<'_>| {};
    assert_eq!(check(&same, &|w| w.principal = "ops"), Ok(()));
    for principal in ["", "Dora", "dor", "dora ", "*", "do*", "dora,ops", "root"] {
        let refused = check(&same, &|w| w.principal = principal);
        assert_eq!(refused, Err(E::Principal(principal.to_owned())));
    }
    // A pattern in a user's certificate is a name like any other.
    let pattern = check(&|s| s.principals = vec!["*".to_owned()], &asked);
    assert_eq!(pattern, Err(E::Principal("dora".to_owned())));

    let (user, host) = (CertificateKind::User, CertificateKind::Host);
    let as_host = check(&same, &|w| w.kind = host);
    assert_eq!(
        as_host,
        Err(E::WrongKind {
            is: user,
            wanted: host
        })
    );
    let as_user = check(&|s| s.kind = host, &asked);
    assert_eq!(
        as_user,
        Err(E::WrongKind {
            is: host,
            wanted: user
        })
    );

    for (now, expected) in [
        (NOW - 61, Err(E::NotYetValid)),
        (NOW - 60, Ok(())),
        (NOW + 59, Ok(())),
        (NOW + 60, Err(E::Expired)),
        (u64::from(u32::MAX), Err(E::Expired)),
        (0, Err(E::NotYetValid)),
    ] {
        assert_eq!(check(&same, &|w| w.now = at(now)), expected, "{now}");
    }
    let early = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(
        check(&|s| s.valid_after = 0, &|w| w.now = early),
        Err(E::NotYetValid)
    );
    let forever = check(&|s| s.valid_before = FOREVER, &|w| w.now = at(NOW * 4));
    assert_eq!(forever, Ok(()));

    let nobody = good.check(&wanted(&[]));
    assert_eq!(
        nobody,
        Err(E::UnknownAuthority(fixed(1).public().fingerprint()))
    );
    // Whose key is certified signs for nobody.
    let own = spec().sign(&fixed(2)).unwrap().check(&wanted(&cas));
    assert!(matches!(own, Err(E::UnknownAuthority(_))));
}

#[test]
fn options_are_obeyed_or_the_certificate_is_refused() {
    use CertificateError as E;
    let cas = cas();
    let networks: Vec<Network> = ["10.1.0.0/16", "2001:db8::/32"]
        .map(|n| n.parse().unwrap())
        .into();
    let check = |critical: Options, source: Option<&str>| {
        let mut spec = spec();
        spec.critical = critical;
        let mut wanted = wanted(&cas);
        wanted.source = source.map(|s| s.parse().unwrap());
        sign(&spec).check(&wanted)
    };
    let bound = Options::new().sources(&networks);
    for (source, expected) in [
        (Some("10.1.2.3"), Ok(())),
        (Some("::ffff:10.1.2.3"), Ok(())),
        (Some("2001:db8::9"), Ok(())),
        (Some("10.2.0.1"), Err(E::Source)),
        (Some("2001:db9::9"), Err(E::Source)),
        (None, Err(E::Source)),
    ] {
        assert_eq!(check(bound.clone(), source), expected, "{source:?}");
    }
    for unknown in [
        "verify-required",
        "no-touch-required",
        "Force-Command",
        "x@y.example",
    ] {
        let refused = check(Options::new().flag(unknown), None);
        assert_eq!(refused, Err(E::UnknownOption(unknown.to_owned())));
    }
    // An extension that nobody knows is for somebody else.
    let mut extended = spec();
    extended.extensions = Options::new().text("x@y.example", "{}");
    let extended = sign(&extended);
    assert_eq!(extended.check(&wanted(&cas)), Ok(()));
    assert_eq!(extended.extensions.get_text("x@y.example"), Some("{}"));

    let mut forced = spec();
    forced.critical = Options::new().text("force-command", "id");
    let forced = sign(&forced);
    assert_eq!(forced.check(&wanted(&cas)), Ok(()));
    assert_eq!(forced.force_command.as_deref(), Some("id"));

    // Options that say nothing, or something else, are not skipped.
    for critical in [
        Options::new().flag("force-command"),
        Options::new().text("force-command", ""),
        Options::new().text("force-command", "id\0rm"),
        Options::new().flag("source-address"),
        Options::new().text("source-address", ""),
        Options::new().text("source-address", "10.1.0.0/16,"),
        Options::new().text("source-address", "10.1.0.1/16"),
        Options::new().text("source-address", "0.0.0.0/0, ::/0"),
        Options::new().text("source-address", &vec!["10.0.0.1"; 65].join(",")),
    ] {
        let mut spec = spec();
        spec.critical = critical;
        let refused = spec.sign(&fixed(1)).unwrap_err();
        assert!(
            matches!(refused, SpecError::Unreadable(E::Option(_))),
            "{refused:?}"
        );
    }
    // For a host there is no option at all.
    let mut host = spec();
    host.kind = CertificateKind::Host;
    host.critical = Options::new().text("force-command", "id");
    let mut as_host = wanted(&cas);
    as_host.kind = CertificateKind::Host;
    let refused = sign(&host).check(&as_host);
    assert_eq!(refused, Err(E::UnknownOption("force-command".to_owned())));
}

#[test]
fn hosts_may_have_patterns_as_names() {
    let cas = cas();
    for (pattern, name, good) in [
        ("web1.corp.example", "web1.corp.example", true),
        ("web1.corp.example", "WEB1.corp.example", true),
        ("*.corp.example", "web1.corp.example", true),
        ("*.corp.example", "a.b.corp.example", true),
        ("*.corp.example", "corp.example", false),
        ("*.corp.example", "web1.corp.example.evil", false),
        ("web?", "web1", true),
        ("web?", "web", false),
        ("web?", "web10", false),
        ("a*b*c", "aXbXbc", true),
        ("a*b*c", "aXbXb", false),
        ("*", "anything", true),
        ("web1", "web1*", false),
    ] {
        let mut spec = spec();
        spec.kind = CertificateKind::Host;
        spec.principals = vec![pattern.to_owned()];
        let mut wanted = wanted(&cas);
        wanted.kind = CertificateKind::Host;
        wanted.principal = name;
        assert_eq!(sign(&spec).check(&wanted).is_ok(), good, "{pattern} {name}");
    }
    // Stars that could be placed in very many ways.
    let pattern = "*a".repeat(200);
    let name = "a".repeat(199);
    assert!(!fits(pattern.as_bytes(), name.as_bytes()));
}

#[test]
fn every_byte_is_signed() {
    let cas = cas();
    let mut full = spec();
    full.critical = Options::new().text("force-command", "id");
    full.extensions = Options::new().flag("permit-pty").text("x@y.example", "{}");
    let good = sign(&full);
    good.check(&wanted(&cas)).unwrap();
    for at in 0..good.blob().len() {
        for bit in [0x01, 0x80] {
            let mut changed = good.blob().to_vec();
            changed[at] ^= bit;
            let taken = Certificate::from_blob(&changed).and_then(|c| c.check(&wanted(&cas)));
            assert!(taken.is_err(), "byte {at} of {}", changed.len());
        }
        assert!(Certificate::from_blob(&good.blob()[..at]).is_err(), "{at}");
    }
    let longer = [good.blob(), &[0]].concat();
    assert_eq!(
        Certificate::from_blob(&longer).unwrap_err(),
        CertificateError::Format(FormatError::Trailing(1))
    );
}

/// A certificate by hand, so that it can be wrong: signed well, whatever it says.
struct Raw {
    name: &'static [u8],
    nonce: Vec<u8>,
    key: Vec<u8>,
    kind: u32,
    principals: Vec<u8>,
    window: (u64, u64),
    critical: Vec<u8>,
    extensions: Vec<u8>,
    reserved: Vec<u8>,
    ca: Vec<u8>,
    algorithm: Option<&'static [u8]>,
}

fn list(items: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        out.string(item);
    }
    out
}

impl Raw {
    fn new() -> Self {
        let point = fixed(2)
            .public()
            .blob()
            .last_chunk::<32>()
            .unwrap()
            .to_vec();
        Self {
            name: b"ssh-ed25519-cert-v01@openssh.com",
            nonce: vec![1; 32],
            key: list(&[&point]),
            kind: 1,
            principals: list(&[b"dora"]),
            window: (NOW - 60, NOW + 60),
            critical: vec![],
            extensions: vec![],
            reserved: vec![],
            ca: fixed(1).public().blob().to_vec(),
            algorithm: None,
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.string(self.name).string(&self.nonce).raw(&self.key);
        out.uint64(1).uint32(self.kind).string(b"id");
        out.string(&self.principals);
        out.uint64(self.window.0).uint64(self.window.1);
        out.string(&self.critical).string(&self.extensions);
        out.string(&self.reserved).string(&self.ca);
        let mut signature = fixed(1).sign("ssh-ed25519", &out).unwrap();
        if let Some(algorithm) = self.algorithm {
            let made = signature.last_chunk::<64>().unwrap().to_vec();
            signature = list(&[algorithm, &made]);
        }
        out.string(&signature);
        out
    }
}

#[test]
fn what_is_laid_out_otherwise_is_refused_though_it_is_signed() {
    use CertificateError as E;
    let cas = cas();
    let with = |change: &dyn Fn(&mut Raw)| {
        let mut raw = Raw::new();
        change(&mut raw);
        Certificate::from_blob(&raw.blob()).and_then(|c| c.check(&wanted(&cas)))
    };
    with(&|_| {}).unwrap();
    let chained = sign(&spec()).blob().to_vec();
    type Row<'a> = (&'a str, &'a dyn Fn(&mut Raw), fn(&E) -> bool);
    let rows: [Row<'_>; 22] = [
        ("a plain key's name", &|r| r.name = b"ssh-ed25519", |e| {
            matches!(e, E::Type(_))
        }),
        (
            "the first version",
            &|r| r.name = b"ssh-ed25519-cert-v00@openssh.com",
            |e| matches!(e, E::Type(_)),
        ),
        (
            "another kind's name",
            &|r| r.name = b"ssh-rsa-cert-v01@openssh.com",
            |e| matches!(e, E::Format(_) | E::Key(_)),
        ),
        ("a short nonce", &|r| r.nonce.truncate(15), |e| {
            *e == E::Nonce
        }),
        ("kind 0", &|r| r.kind = 0, |e| *e == E::Kind(0)),
        ("kind 3", &|r| r.kind = 3, |e| *e == E::Kind(3)),
        ("no names", &|r| r.principals.clear(), |e| {
            *e == E::NoPrincipals
        }),
        (
            "an empty name",
            &|r| r.principals = list(&[b"dora", b""]),
            |e| *e == E::Principals,
        ),
        (
            "too many names",
            &|r| r.principals = list(&[b"dora".as_slice(); 257]),
            |e| *e == E::Principals,
        ),
        ("half a name", &|r| r.principals.truncate(7), |e| {
            *e == E::Format(FormatError::Short)
        }),
        (
            "a length that reaches over the list",
            &|r| r.principals[3] = 200,
            |e| *e == E::Format(FormatError::Short),
        ),
        (
            "NUL in a name",
            &|r| r.principals = list(&[b"dora\0"]),
            |e| *e == E::Format(FormatError::Text),
        ),
        (
            "a name that is no text",
            &|r| r.principals = list(&[b"dora\xff"]),
            |e| *e == E::Format(FormatError::Text),
        ),
        (
            "an end before the beginning",
            &|r| r.window = (NOW, NOW - 1),
            |e| *e == E::Window,
        ),
        ("no time at all", &|r| r.window = (NOW, NOW), |e| {
            *e == E::Window
        }),
        (
            "options out of order",
            &|r| r.extensions = list(&[b"b", b"", b"a", b""]),
            |e| *e == E::OptionOrder("a".to_owned()),
        ),
        (
            "an option twice",
            &|r| r.extensions = list(&[b"a", b"", b"a", b""]),
            |e| *e == E::OptionOrder("a".to_owned()),
        ),
        (
            "a source address twice",
            &|r| {
                let (none, all) = (list(&[b"10.0.0.1"]), list(&[b"0.0.0.0/0"]));
                r.critical = list(&[b"source-address", &none, b"source-address", &all]);
            },
            |e| matches!(e, E::OptionOrder(_)),
        ),
        (
            "an option without data",
            &|r| r.critical = list(&[b"force-command"]),
            |e| *e == E::Format(FormatError::Short),
        ),
        (
            "a command and something behind it",
            &|r| {
                let two = list(&[b"id", b"sh"]);
                r.critical = list(&[b"force-command", &two]);
            },
            |e| *e == E::Option("force-command"),
        ),
        ("something reserved", &|r| r.reserved.push(0), |e| {
            *e == E::Reserved
        }),
        (
            "an authority that is a certificate",
            &|r| r.ca = chained.clone(),
            |e| *e == E::Chained,
        ),
    ];
    for (what, change, expected) in rows {
        let refused = with(change).expect_err(what);
        assert!(expected(&refused), "{what}: {refused:?}");
    }
    for algorithm in [
        b"ssh-rsa".as_slice(),
        b"rsa-sha2-256",
        b"ssh-ed25519-cert-v01@openssh.com",
    ] {
        let refused = with(&|r| r.algorithm = Some(algorithm)).unwrap_err();
        assert!(matches!(refused, E::Signature(_)), "{refused:?}");
    }
    // Signed by one, said to be by another who counts as well.
    let other = with(&|r| r.ca = fixed(3).public().blob().to_vec()).unwrap_err();
    assert_eq!(other, E::Signature(KeyError::Signature));
    // Another key in it than was signed.
    let mut blob = Raw::new().blob();
    let point = fixed(2)
        .public()
        .blob()
        .last_chunk::<32>()
        .unwrap()
        .to_vec();
    let at = blob.windows(32).position(|w| w == point).unwrap();
    let evil = *fixed(4).public().blob().last_chunk::<32>().unwrap();
    blob[at..at + 32].copy_from_slice(&evil);
    let swapped = Certificate::from_blob(&blob).unwrap();
    assert_eq!(swapped.key(), fixed(4).public());
    assert_eq!(
        swapped.check(&wanted(&cas)),
        Err(E::Signature(KeyError::Signature))
    );
    let long = vec![0; MAX_CERTIFICATE_BYTES + 1];
    assert!(matches!(
        Certificate::from_blob(&long),
        Err(E::Format(FormatError::Long { .. }))
    ));
}

#[test]
fn a_certificate_for_nobody_or_that_cannot_be_read_is_not_signed() {
    let mut nobody = spec();
    nobody.principals.clear();
    assert_eq!(nobody.sign(&fixed(1)).unwrap_err(), SpecError::NoPrincipals);
    for change in [
        (|s| s.key_id = "a\nb".to_owned()) as fn(&mut CertificateSpec),
        |s| s.principals = vec![String::new()],
        |s| s.principals = vec!["x".to_owned(); 257],
        |s| s.valid_before = s.valid_after,
        |s| s.key_id = "x".repeat(MAX_CERTIFICATE_BYTES),
    ] {
        let mut bad = spec();
        change(&mut bad);
        assert!(matches!(bad.sign(&fixed(1)), Err(SpecError::Unreadable(_))));
    }
}

/// `ssh-keygen -L` verifies the signature before it shows anything.
#[test]
fn openssh_reads_our_certificates_for_each_kind_of_key_and_authority() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (options, kind)) in KINDS.into_iter().enumerate() {
        let ca =
            PrivateKey::from_openssh(&generate(dir.path(), &format!("ca{n}"), options)).unwrap();
        generate(dir.path(), &format!("key{n}"), options);
        let mut spec = spec();
        spec.key = PublicKey::from_openssh(&read(dir.path(), &format!("key{n}.pub"))).unwrap();
        spec.critical = Options::new()
            .text("force-command", "/bin/true")
            .sources(&["10.1.0.0/16".parse().unwrap()]);
        let certificate = spec.sign(&ca).unwrap();
        let name = format!("key{n}-cert.pub");
        std::fs::write(dir.path().join(&name), certificate.to_openssh("ours")).unwrap();
        let shown = ssh_keygen(dir.path(), &["-Lf", &name]).unwrap();
        for part in [
            &format!("{} user certificate", certificate.algorithm()),
            &format!("{} {}", ca.public().fingerprint(), ""),
            "Key ID: \"dora\"",
            "Serial: 7",
            "force-command /bin/true",
            "source-address 10.1.0.0/16",
            "permit-pty",
        ] {
            assert!(shown.contains(part.trim_end()), "{kind}: {part} in {shown}");
        }
    }
}

#[test]
fn certificates_of_openssh_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (options, _)) in KINDS.into_iter().enumerate() {
        let (ca, key) = (format!("ca{n}"), format!("key{n}"));
        generate(dir.path(), &ca, options);
        generate(dir.path(), &key, options);
        let public = format!("{key}.pub");
        ssh_keygen(
            dir.path(),
            &[
                "-q",
                "-s",
                &ca,
                "-I",
                "an id",
                "-n",
                "dora,ops",
                "-V",
                "-1m:+1h",
                "-z",
                "9",
                "-O",
                "source-address=127.0.0.0/8",
                "-O",
                "no-x11-forwarding",
                "-O",
                "extension:x@y.example=hello",
                &public,
            ],
        )
        .unwrap();
        let line = read(dir.path(), &format!("{key}-cert.pub"));
        let certificate = Certificate::from_openssh(&line).unwrap();
        assert_eq!(certificate.to_openssh("a comment"), line.trim_end());
        let cas = [PublicKey::from_openssh(&read(dir.path(), &format!("{ca}.pub"))).unwrap()];
        let mut wanted = wanted(&cas);
        wanted.now = SystemTime::now();
        wanted.source = Some("127.0.0.1".parse().unwrap());
        certificate.check(&wanted).unwrap();
        assert_eq!(
            (certificate.serial, certificate.key_id.as_str()),
            (9, "an id")
        );
        assert_eq!(certificate.principals, ["dora", "ops"]);
        assert!(certificate.extensions.has_flag("permit-pty"));
        assert!(!certificate.extensions.has_flag("permit-X11-forwarding"));
        assert_eq!(
            certificate.extensions.get_text("x@y.example"),
            Some("hello")
        );
        let plain = PublicKey::from_openssh(&read(dir.path(), &public)).unwrap();
        assert_eq!(certificate.key(), &plain);
        for algorithm in certificate.algorithms() {
            let signs = signature_algorithm(algorithm).unwrap();
            assert!(plain.algorithms().contains(&signs));
        }
        assert!(matches!(
            PublicKey::from_openssh(&line),
            Err(KeyError::IsCertificate)
        ));
    }
    // An old authority that signs with SHA-1 is refused, whatever the rest says.
    let args = [
        "-q", "-s", "ca4", "-t", "ssh-rsa", "-I", "old", "-n", "dora", "key0.pub",
    ];
    if ssh_keygen(dir.path(), &args).is_ok() {
        let certificate = Certificate::from_openssh(&read(dir.path(), "key0-cert.pub")).unwrap();
        let cas = [PublicKey::from_openssh(&read(dir.path(), "ca4.pub")).unwrap()];
        let mut wanted = wanted(&cas);
        wanted.now = SystemTime::now();
        let refused = certificate.check(&wanted);
        assert_eq!(refused, Err(CertificateError::Signature(KeyError::Sha1)));
    }
}
