//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pipeline::ports::{Journal, SessionJournal};
use pipeline::{
    Access, Action, Actor, BinaryValue, BundleRef, Direction, EndReason, Facts, Fingerprint,
    HoldRecord, Intent, Outcome, OutcomeKind, Parameter, Principal, PrincipalKind, Protocol,
    RefusalKind, RefusalRecord, Resource, Risk, SessionEnd, SessionId, SessionInfo, SessionStart,
    SqlFacts, SshCommand, SshFacts, SshHazard, SshKind, SshPath, SshStdin, Target,
};
use uuid::Uuid;

use crate::fault::FaultDisk;
use crate::objects::Objects;
use crate::{
    Finding, Limits, Recorder, RecorderOptions, RecoveryReport, SegmentKey, Store, StoreConfig,
    VerifyOptions, VerifyReport, verify_store,
};

/// A directory that goes with the test.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let name = format!("weir-recorder-{}", Uuid::now_v7());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    pub fn stored(&self) -> PathBuf {
        self.0.join("store")
    }

    pub fn store(&self) -> Store {
        let store = Store::open(&StoreConfig::Directory(self.stored())).unwrap();
        store.with_keys(self.wrap(), Some(self.spool()))
    }

    /// What wraps the keys of the recordings here, if there are any.
    pub fn wrap(&self) -> Option<Arc<dyn crate::KeyWrap>> {
        let options = self.options();
        options.encryption.own(&options.log).unwrap()
    }

    pub fn options(&self) -> RecorderOptions {
        RecorderOptions {
            limits: limits(),
            ..RecorderOptions::new(self.spool(), StoreConfig::Directory(self.stored()))
        }
    }

    /// Recordings here are wrapped by the same key as those of `other`.
    pub fn share_key(&self, other: &Self) {
        let key = |dir: &Self| dir.spool().join("keys/segments.key");
        std::fs::create_dir_all(self.spool().join("keys")).unwrap();
        std::fs::copy(key(other), key(self)).unwrap();
    }

    /// Copies a stored segment of `other` here, with its key.
    pub fn take_from(&self, other: &Self, path: &Path) {
        let name = path.strip_prefix(other.stored()).unwrap();
        let stream = SegmentKey::parse(&name.to_string_lossy()).unwrap().stream;
        let key = PathBuf::from(crate::crypt::key::object_name(stream));
        for name in [name, &key] {
            let to = self.stored().join(name);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(other.stored().join(name), to).unwrap();
        }
    }

    /// A stored segment, decrypted.
    pub async fn decrypted(&self, path: &Path) -> Vec<u8> {
        let name = path.strip_prefix(self.stored()).unwrap();
        let key = SegmentKey::parse(&name.to_string_lossy()).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let store = self.store();
        let with = store.keys().get(store.objects(), key.stream).await.unwrap();
        crate::crypt::container::open(&with, &bytes).unwrap()
    }

    /// On a disk that can be made to fail, with other limits if wanted.
    pub async fn open_faulty(&self, disk: &FaultDisk, set: impl FnOnce(&mut Limits)) -> Recorder {
        let mut options = self.options();
        set(&mut options.limits);
        let objects = Objects::open(&options.store).unwrap();
        let opened = Recorder::open_with(options, objects, Arc::new(disk.clone())).await;
        opened.unwrap().0
    }

    pub async fn verify(&self) -> VerifyReport {
        let options = VerifyOptions::default();
        verify_store(&self.store(), &options).await.unwrap()
    }

    pub async fn open(&self) -> (Recorder, RecoveryReport) {
        Recorder::open(self.options()).await.unwrap()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Small enough that rotation and sealing happen within a test.
pub fn limits() -> Limits {
    Limits {
        spool_bytes: 64 << 20,
        wal_file_bytes: 64 << 10,
        segment_bytes: 32 << 10,
        segment_age: Duration::from_secs(60),
        unsealed_bytes: 4 << 20,
        upload_backoff: Duration::from_millis(200),
        publish_every: Duration::from_millis(20),
        full_wait: Duration::from_millis(300),
        ..Limits::default()
    }
}

pub const SHORT: Duration = Duration::from_secs(20);

pub fn bundle() -> BundleRef {
    BundleRef {
        name: "default".into(),
        version: 3,
        digest: "ab".repeat(32).into(),
    }
}

pub fn start() -> SessionStart {
    let id = SessionId::new();
    let mut actor = Actor::new(PrincipalKind::Agent, "agent-7", &["bots"]);
    actor.owner = Some("alice".into());
    SessionStart {
        retention_days: None,
        info: Arc::new(SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(Principal {
                actor,
                on_behalf_of: vec![Actor::new(PrincipalKind::User, "alice", &["eng"])],
                issuer: "https://issuer.test".into(),
                issued_at: None,
                expires_at: SystemTime::now() + Duration::from_secs(600),
                token_id: Some("jti-1".into()),
                proof: Default::default(),
            }),
            target: Arc::new(Target {
                name: "shop".into(),
                protocol: Protocol::Postgres,
                env: "prod".into(),
                tags: BTreeMap::new(),
            }),
            scope: "shop".into(),
            source: [127, 0, 0, 1].into(),
            started: SystemTime::now(),
            attrs: BTreeMap::from([("application_name".into(), "psql\x1b[2J".into())]),
        }),
        bundle: bundle(),
    }
}

pub fn sql(text: &str) -> Facts {
    Facts::Sql(Arc::new(SqlFacts::opaque(text.into())))
}

/// A command with everything that there can be to it, made of `text`.
pub fn on_host(text: &str) -> Facts {
    let word = || Arc::<str>::from(text);
    let mut facts = SshFacts::opaque(SshKind::Exec, word(), word(), text);
    facts.channel = Some(7);
    facts.commands = vec![
        SshCommand {
            argv: vec![word(), word()],
            by: vec![word()],
            dynamic: true,
            as_user: Some(word()),
        };
        2
    ];
    facts.opaque_codes = vec![word()];
    facts.hazards = vec![SshHazard {
        code: word(),
        program: word(),
        why: word(),
    }];
    facts.code = true;
    facts.stdin = Some(SshStdin {
        sha256: [0xab; 32],
        bytes: 12,
        text: word(),
    });
    facts.paths = [true, false]
        .map(|writes| SshPath {
            path: word(),
            writes,
        })
        .into();
    facts.env = vec![(word(), word())];
    facts.pty = true;
    facts.only_reads = true;
    Facts::Ssh(Arc::new(facts))
}

/// Everything on a host that can be asked about, called `name`.
pub fn of_host(name: &str) -> Vec<Access> {
    let name = || Arc::<str>::from(name);
    let of = |action, resource| Access {
        action,
        resource,
        target: None,
    };
    vec![
        of(Action::SshShell, Resource::SshAccount { login: name() }),
        of(
            Action::SshExec,
            Resource::SshProgram {
                login: name(),
                name: name(),
                path: name(),
                known: true,
            },
        ),
        of(
            Action::SshSftpRead,
            Resource::SshFile {
                login: name(),
                path: name(),
                known: true,
            },
        ),
        of(
            Action::SshForwardLocal,
            Resource::SshEndpoint {
                host: name(),
                port: 65_535,
                loopback: true,
                own_ssh: true,
            },
        ),
        of(
            Action::SshEnv,
            Resource::SshVariable {
                login: name(),
                name: name(),
                value: name(),
            },
        ),
        of(
            Action::SshSubsystem,
            Resource::SshSubsystem {
                login: name(),
                name: name(),
            },
        ),
    ]
}

fn accesses() -> Vec<Access> {
    vec![Access {
        action: Action::PostgresSelect,
        resource: Resource::PgTable {
            database: "shop".into(),
            schema: "public".into(),
            table: "users".into(),
            known: true,
            labels: [Arc::from("pii")].into(),
        },
        target: None,
    }]
}

pub fn intent(seq: u64, text: &str) -> Intent {
    Intent {
        seq,
        at: SystemTime::now(),
        facts: sql(text),
        accesses: accesses(),
        risk: Arc::new(Risk::default()),
        basis: basis(),
        bundle: bundle(),
        policies: vec!["grant-read".into()],
        approval: Some(pipeline::Approval {
            hold: "hold-0".into(),
            rules: vec!["risky".into()],
            approvers: vec!["bob".into()],
            shown: vec!["public.orders: postgres:update".into()],
        }),
        fingerprint: Fingerprint([7; 32]),
        parameters: parameters(),
        masked: vec!["public.users.ssn".into()],
        durability: pipeline::Durability::Fsync,
    }
}

/// With everything that there can be.
pub fn basis() -> pipeline::Basis {
    pipeline::Basis {
        asked: SystemTime::now() - Duration::from_secs(9),
        again: Some(SystemTime::now()),
        labelled: vec![pipeline::Column {
            schema: "a.b".into(),
            table: "users".into(),
            column: "ssn".into(),
            labels: [Arc::from("pii")].into(),
        }],
        unmaskable: Some("it cannot be masked"),
        rules: vec!["risky".into()],
    }
}

/// Of every kind; two have bytes that are a text as well.
pub fn parameters() -> Vec<Parameter> {
    let binary = |of: Option<&str>, text: Option<&str>| {
        Parameter::Binary(BinaryValue {
            bytes: b"\0\0\0A".to_vec(),
            of: of.map(Into::into),
            text: text.map(Into::into),
        })
    };
    vec![
        Parameter::Null,
        Parameter::Text(b"x".to_vec()),
        Parameter::Text(vec![0xff, 0]),
        binary(Some("int4"), Some("65")),
        binary(Some("odd\x1b[2J"), None),
        binary(None, None),
    ]
}

pub fn held(seq: u64, text: &str) -> HoldRecord {
    HoldRecord {
        seq,
        at: SystemTime::now(),
        facts: sql(text),
        accesses: accesses(),
        risk: Arc::new(Risk::plugin_failed(None, "it trapped")),
        basis: basis(),
        bundle: bundle(),
        policies: vec!["grant-read".into()],
        hold: "hold-1".into(),
        reason: "a risk classifier demands approval".into(),
        expires_at: SystemTime::now() + Duration::from_secs(60),
        fingerprint: Fingerprint([8; 32]),
        parameters: parameters(),
        shown: vec!["about 3 rows, as the planner \"estimates\"".into()],
    }
}

pub fn refusal(seq: u64, text: &str) -> RefusalRecord {
    RefusalRecord {
        seq,
        at: SystemTime::now(),
        facts: sql(text),
        accesses: accesses(),
        risk: Arc::new(Risk::plugin_failed(None, "it trapped")),
        basis: basis(),
        bundle: bundle(),
        kind: RefusalKind::HoldDenied,
        reason: "denied by bob: no".into(),
        policies: vec!["guard-writes".into()],
        fingerprint: Fingerprint([8; 32]),
        parameters: parameters(),
        hold: Some("hold-1".into()),
        shown: vec!["about 3 rows, as the planner \"estimates\"".into()],
    }
}

pub fn outcome(seq: u64) -> Outcome {
    Outcome {
        seq,
        at: SystemTime::now(),
        kind: OutcomeKind::Done,
        detail: "SELECT 1".into(),
        rows: 1,
        bytes: 9,
        elapsed: Duration::from_micros(120),
    }
}

pub fn end() -> SessionEnd {
    SessionEnd {
        at: SystemTime::now(),
        reason: EndReason::ClientClosed,
    }
}

/// One complete session of `actions` actions, each with `size` bytes of result.
pub async fn session(recorder: &Recorder, actions: u64, size: usize) -> Uuid {
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    act(&*journal, 0..actions, size).await;
    journal.close(end()).await.unwrap();
    id
}

pub async fn act(journal: &dyn SessionJournal, seqs: std::ops::Range<u64>, size: usize) {
    for seq in seqs {
        let text = format!("select {seq} from users");
        journal.intent(intent(seq, &text)).await.unwrap();
        let bytes = noise(seq, size);
        journal
            .bytes(seq, Direction::ToClient, bytes)
            .await
            .unwrap();
        journal.outcome(outcome(seq)).await.unwrap();
    }
}

/// The findings, but not what a kill in the middle of a write leaves.
pub fn findings(report: &VerifyReport) -> Vec<Finding> {
    let mut out = report.findings.clone();
    out.retain(|f| !matches!(f, Finding::Truncated { .. }));
    out
}

/// Waits until it is so.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..400 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

/// Bytes that do not compress away.
pub fn noise(seed: u64, len: usize) -> Bytes {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

/// Copies a spool as a crash would leave it: whatever is in the files now, without the lock.
pub fn crash_copy(from: &Path, to: &Path) {
    // Files are copied one after the other: only if nothing was signed meanwhile do they go together.
    for _ in 0..100 {
        std::fs::remove_dir_all(to).ok();
        let signed = edges(from);
        copy_all(from, to);
        if edges(from) == signed && edges(to) == signed {
            return;
        }
    }
    panic!("{} is never at rest", from.display());
}

fn edges(spool: &Path) -> Vec<Vec<u8>> {
    let mut logs: Vec<PathBuf> = std::fs::read_dir(spool.join("log"))
        .map(|dir| dir.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    logs.sort();
    let edge = |dir: PathBuf| std::fs::read(dir.join("edge")).unwrap_or_default();
    logs.into_iter().map(edge).collect()
}

pub fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &to);
        } else if let Err(error) = std::fs::copy(&path, &to) {
            // It has just gone.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

/// As if the process had ended here: nothing of it reaches the store any more.
pub async fn kill(recorder: &Recorder) {
    recorder.inner.stop.cancel();
    recorder.inner.tasks.wait().await;
}

/// Puts a file where the store's directory is, so that nothing can be stored.
pub fn block_store(dir: &TempDir) {
    loop {
        std::fs::remove_dir_all(dir.stored()).ok();
        // Something may be stored between the two.
        if std::fs::write(dir.stored(), b"").is_ok() {
            return;
        }
    }
}

/// Every object of a stored directory.
pub fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => out.push(path),
            }
        }
    }
    out.sort();
    out
}
