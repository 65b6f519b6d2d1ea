//! Who comes to the prompt with nothing, and logs in with a browser elsewhere: the device flow, by stock clients.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::oidc::Provider;
use weir_tests::sshd::{Way, login};
use weir_tests::{http, paths};

use super::rig::{HOST, Rig};

const LIMIT: Duration = Duration::from_secs(60);
/// She is in the group that may everything here.
const ERIN: &str = "erin";

struct Stage {
    rig: Rig,
    issuer: String,
    provider: Option<Provider>,
    way: Way,
}

impl Stage {
    fn new() -> Self {
        let provider = Provider::start().unwrap();
        let more = format!(
            "{}[ssh.device]\nclient_id = \"weir-cli\"\nscope = \"openid db:read\"\n",
            provider.configuration()
        );
        let logins = r#""certificate", "device""#;
        let rig = Rig::with_logins("ssh-device", logins, &more).unwrap();
        let dir = rig.weir.home.join("way");
        let user = format!("{}+{HOST}", login().unwrap());
        let known = rig.known_host().unwrap();
        let way = Way::new(&dir, rig.port, &user, &known, &dir.join("none"), None).unwrap();
        Self {
            rig,
            issuer: provider.issuer(),
            provider: Some(provider),
            way,
        }
    }

    /// What a client showed and how it ended; see `tests/ssh/device_.py`.
    fn run(&self, case: &Case) -> String {
        let Case {
            name,
            client,
            person,
            answer,
            ..
        } = case;
        let script = format!(
            "export PLAY='{}' ISSUER='{}' PERSON='{person}' ANSWER='{answer}'\n\
             export FINGERPRINT=$(cut -d' ' -f2,3 $KNOWN | ssh-keygen -lf - | cut -d' ' -f2)\n\
             $PYTHON $CLIENTS/device_.py {client} 2>&1",
            paths::idp().display(),
            self.issuer
        );
        let out = self.way.script(name, &script, LIMIT).unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// All at once; what each of them showed.
    fn check(&self, cases: &[Case]) -> String {
        let said = std::thread::scope(|scope| {
            let running = cases.iter().map(|case| scope.spawn(move || self.run(case)));
            let running: Vec<_> = running.collect();
            let said = running.into_iter().map(|one| one.join().unwrap());
            said.collect::<Vec<_>>()
        });
        for (case, said) in cases.iter().zip(&said) {
            println!("--- {}\n{said}", case.name);
        }
        for (case, said) in cases.iter().zip(&said) {
            for part in case.expect {
                assert!(said.contains(part), "{}: {part}: {said}", case.name);
            }
            let is_in = case.expect.contains(&IN[0]);
            assert_eq!(said.contains("in as 42"), is_in, "{}: {said}", case.name);
        }
        said.concat()
    }

    /// How many codes the provider gave out, and how often it was asked for a token.
    fn provider(&self, change: Value) -> (u64, u64) {
        let port = self.provider.as_ref().unwrap().port;
        let answer = http::call(port, "POST", "/test/device", None, Some(&change)).unwrap();
        let answer = answer.ok().unwrap();
        let number = |name: &str| answer[name].as_u64().unwrap();
        (number("codes"), number("polls"))
    }
}

struct Case {
    name: &'static str,
    client: &'static str,
    person: &'static str,
    answer: &'static str,
    expect: &'static [&'static str],
}

impl Case {
    const fn new(
        name: &'static str,
        client: &'static str,
        person: &'static str,
        answer: &'static str,
        expect: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            client,
            person,
            answer,
            expect,
        }
    }
}

const IN: &[&str] = &["in as 42", "exit 0", "/device", "from 127.0.0.", "+web1"];
const ENTER: &str = "";
/// Enter, before anybody has agreed.
const AT_ONCE: &str = "<";

#[test]
fn people_log_in_at_the_prompt_with_a_browser_elsewhere() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut stage = Stage::new();
    // Nobody is sent anywhere for a client that cannot ask anybody.
    let batch = Case::new(
        "batch",
        "batch",
        "",
        ENTER,
        &["Permission denied", "exit 255"],
    );
    stage.check(&[batch]);
    assert_eq!(stage.provider(json!({})), (0, 0));

    let mut said = stage.check(&[
        Case::new("openssh", "openssh -b 127.0.0.2", ERIN, ENTER, IN),
        Case::new("early", "openssh -b 127.0.0.3", ERIN, AT_ONCE, IN),
        // It shows the question alone.
        Case::new("quiet", "quiet -b 127.0.0.2", ERIN, ENTER, &IN[..3]),
        Case::new("plink", "plink", ERIN, ENTER, IN),
        Case::new("dbclient", "dbclient", ERIN, ENTER, IN),
        Case::new("paramiko", "paramiko", ERIN, ENTER, IN),
        Case::new("asyncssh", "asyncssh", ERIN, ENTER, IN),
        Case::new("ssh2", "ssh2", ERIN, ENTER, IN),
        Case::new(
            "denied",
            "openssh -b 127.0.0.4",
            "!",
            AT_ONCE,
            &["the login was refused at the identity provider", "exit 255"],
        ),
        // Somebody else agrees: he is in, and may nothing.
        Case::new(
            "nobody",
            "openssh -b 127.0.0.5",
            "dave",
            ENTER,
            &["is open to you", "exit 255"],
        ),
        Case::new(
            "garbage",
            "openssh -b 127.0.0.6",
            "",
            "<let me in",
            &["Permission denied", "exit 255"],
        ),
        Case::new("gone", "openssh -b 127.0.0.7", "", "!", &["exit -9"]),
    ]);

    // Who went away, or does not understand, has nobody asked any more.
    let (codes, polls) = stage.provider(json!({}));
    assert_eq!(codes, 12, "one for each who asked");
    std::thread::sleep(Duration::from_millis(1_700));
    assert_eq!(stage.provider(json!({})), (codes, polls));

    // A code that lives for seconds, and a token that is for another service.
    stage.provider(json!({"ttl": 6, "audience": "another service"}));
    said += &stage.check(&[
        Case::new(
            "expired",
            "openssh -b 127.0.0.8",
            "",
            AT_ONCE,
            &["nobody agreed in time", "exit 255"],
        ),
        Case::new(
            "audience",
            "openssh -b 127.0.0.9",
            ERIN,
            ENTER,
            &["the access token is meant for another service", "exit 255"],
        ),
    ]);

    stage.provider = None;
    stage.check(&[Case::new(
        "away",
        "openssh -b 127.0.0.10",
        ERIN,
        ENTER,
        &["the identity provider cannot be asked", "exit 255"],
    )]);

    // What people were shown is on nobody's disk.
    let log = stage.rig.weir.log();
    let codes = said.split("Press Enter once ").skip(1);
    let codes: Vec<&str> = codes.filter_map(|rest| rest.split(' ').next()).collect();
    assert_eq!(codes.len(), 14, "{said}");
    for code in codes {
        assert!(code.len() >= 8 && !log.contains(code), "{code}: {log}");
    }
}
