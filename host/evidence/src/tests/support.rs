//! A store with something in it, and packages that can be taken apart.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::ports::{Journal, SessionJournal};
use pipeline::{
    Access, Action, Actor, Approval, BundleRef, ControlEvent, Durability, EndReason, Facts,
    Fingerprint, HoldRecord, Intent, Outcome, OutcomeKind, PluginRef, Principal, PrincipalKind,
    Protocol, RefusalKind, RefusalRecord, Resource, Risk, SessionEnd, SessionId, SessionInfo,
    SessionStart, SqlFacts, Target,
};
use recorder::{
    Limits, LogKey, Recorder, RecorderOptions, SeedKey, Store, StoreConfig, TrustedKey,
};
use uuid::Uuid;

use crate::archive::digest;
use crate::manifest::{self, FileEntry, MANIFEST, Manifest, NOTE, SIGNER};
use crate::{MAX_PACKAGE, Order, PackageReport, Selection, Window, check_package, make, unwatched};

pub const NAME: &str = "weir.test";
const SHORT: Duration = Duration::from_secs(20);

/// A store, with the key of its logs.
pub struct Setup {
    pub dir: tempfile::TempDir,
    pub key: Arc<SeedKey>,
}

impl Setup {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            key: Arc::new(SeedKey::new([7; 32])),
        }
    }

    fn options(&self) -> RecorderOptions {
        let store = StoreConfig::Directory(self.dir.path().join("store"));
        let mut options = RecorderOptions::new(self.dir.path().join("spool"), store);
        options.limits = Limits {
            publish_every: Duration::from_millis(20),
            ..Limits::default()
        };
        options.log.name = NAME.to_owned();
        options.log.key = Some(self.key.clone());
        options
    }

    pub async fn start(&self) -> Recorder {
        let options = self.options();
        let recorder = Recorder::open(options).await.unwrap().0;
        self.keep_bundle();
        recorder
    }

    /// Another Weir that writes to the same store.
    pub async fn start_other(&self, spool: &str, key: SeedKey) -> Recorder {
        let mut options = self.options();
        options.spool_dir = self.dir.path().join(spool);
        options.log.key_dir = options.spool_dir.join("keys");
        options.log.key = Some(Arc::new(key));
        Recorder::open(options).await.unwrap().0
    }

    /// Puts the bundle's archive where it is kept.
    pub fn keep_bundle(&self) {
        let dir = self.dir.path().join("store/bundles");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{}.bundle", bundle().digest));
        std::fs::write(path, archive()).unwrap();
    }

    /// With the keys of its recordings.
    pub fn store(&self) -> Store {
        let options = self.options();
        let wrap = options.encryption.own(&options.log).unwrap();
        let store = Store::open(&options.store).unwrap();
        store.with_keys(wrap, Some(options.spool_dir))
    }

    pub fn trusted(&self) -> Vec<TrustedKey> {
        vec![self.key.vkey(NAME).unwrap().parse().unwrap()]
    }

    pub fn order(&self, window: Window) -> Order<'_> {
        Order {
            selection: Selection {
                window,
                targets: Default::default(),
                sample: 5,
                names: false,
            },
            software: "weir test".into(),
            key: Some(&*self.key),
            name: NAME.into(),
            trusted: Vec::new(),
            recorded: false,
            most: MAX_PACKAGE,
            watch: unwatched(),
        }
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn package(&self, order: &Order<'_>, name: &str) -> (PathBuf, PackageReport) {
        let out = self.out(name);
        let report = make(&self.store(), order, &out).await;
        (out, report.unwrap())
    }
}

pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_nanos() as u64
}

/// Ends it; everything is stored then.
pub async fn stop(recorder: Recorder) {
    recorder.shutdown(SHORT).await;
}

pub async fn flush(recorder: &Recorder) {
    assert!(recorder.flush(SHORT).await);
}

/// A window around everything.
pub fn always() -> Window {
    Window::new(0, now_ns() + 3_600_000_000_000)
}

/// The archive of the bundle that everything is decided by.
pub fn archive() -> Vec<u8> {
    let mut out = b"weir.bundle.v1".to_vec();
    for part in ["a.cedar", "permit (principal, action, resource);\n"] {
        out.extend((part.len() as u64).to_be_bytes());
        out.extend(part.as_bytes());
    }
    out
}

fn bundle() -> BundleRef {
    BundleRef {
        name: "default".into(),
        version: 3,
        digest: hex::encode(digest(&archive()).sha256).into(),
    }
}

fn start(target: &str, who: &str) -> SessionStart {
    let id = SessionId::new();
    let actor = Actor::new(PrincipalKind::Agent, "agent-7", &["bots"]);
    SessionStart {
        retention_days: None,
        info: Arc::new(SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(Principal {
                actor,
                on_behalf_of: vec![Actor::new(PrincipalKind::User, who, &["eng"])],
                issuer: "https://issuer.test".into(),
                issued_at: None,
                expires_at: SystemTime::now() + Duration::from_secs(600),
                token_id: None,
                proof: Default::default(),
            }),
            target: Arc::new(Target {
                name: target.into(),
                protocol: Protocol::Postgres,
                env: "prod".into(),
                tags: BTreeMap::new(),
            }),
            scope: "shop".into(),
            source: [127, 0, 0, 1].into(),
            started: SystemTime::now(),
            attrs: BTreeMap::new(),
        }),
        bundle: bundle(),
    }
}

fn accesses() -> Vec<Access> {
    vec![Access {
        action: Action::PostgresSelect,
        resource: Resource::PgTable {
            database: "shop".into(),
            schema: "public".into(),
            table: "=users".into(),
            known: true,
            labels: [Arc::from("pii")].into(),
        },
        target: None,
    }]
}

pub fn intent(seq: u64) -> Intent {
    let approval = Approval {
        hold: "hold-0".into(),
        rules: vec!["risky".into()],
        approvers: vec!["bob".into()],
        shown: Vec::new(),
    };
    Intent {
        seq,
        at: SystemTime::now(),
        facts: sql(&format!("select {seq} from users where name = 'secret'")),
        accesses: accesses(),
        risk: Arc::new(Risk::default()),
        basis: pipeline::Basis::new(SystemTime::now(), None),
        bundle: bundle(),
        policies: vec!["grant-read".into()],
        approval: (seq % 3 == 1).then_some(approval),
        fingerprint: Fingerprint([7; 32]),
        parameters: Vec::new(),
        masked: vec!["public.users.ssn".into()],
        durability: Durability::Fsync,
    }
}

fn sql(text: &str) -> Facts {
    Facts::Sql(Arc::new(SqlFacts::opaque(text.into())))
}

pub fn refusal(seq: u64) -> RefusalRecord {
    RefusalRecord {
        seq,
        at: SystemTime::now(),
        facts: sql("drop table users"),
        accesses: accesses(),
        risk: Arc::new(Risk::plugin_failed(None, "it trapped")),
        basis: pipeline::Basis::new(SystemTime::now(), None),
        bundle: bundle(),
        kind: RefusalKind::HoldDenied,
        reason: "denied by bob: no".into(),
        policies: vec!["guard-writes".into()],
        fingerprint: Fingerprint([8; 32]),
        parameters: Vec::new(),
        hold: Some("hold-1".into()),
        shown: Vec::new(),
    }
}

/// As [`intent`] and [`refusal`] say it.
pub fn held(seq: u64, hold: &str, fingerprint: u8) -> HoldRecord {
    HoldRecord {
        seq,
        at: SystemTime::now(),
        facts: sql(&format!("select {seq} from users where name = 'secret'")),
        accesses: accesses(),
        risk: asked(),
        basis: pipeline::Basis::new(SystemTime::now(), None),
        bundle: bundle(),
        policies: vec!["ask-people".into()],
        hold: hold.into(),
        reason: "a plugin demands approval".into(),
        expires_at: SystemTime::now() + Duration::from_secs(60),
        fingerprint: Fingerprint([fingerprint; 32]),
        parameters: Vec::new(),
        shown: Vec::new(),
    }
}

/// What a plugin said.
pub fn asked() -> Arc<Risk> {
    let plugin = PluginRef {
        name: "risk-sql".into(),
        version: "1".into(),
        digest: "d".repeat(64).into(),
    };
    Arc::new(Risk::plugin_failed(Some(plugin), "it trapped"))
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

/// One complete session: so many permitted actions, and a refused one.
pub async fn session(recorder: &Recorder, target: &str, who: &str, actions: u64) -> Uuid {
    let (id, journal) = open(recorder, target, who).await;
    for seq in 0..actions {
        journal.intent(intent(seq)).await.unwrap();
        journal.outcome(outcome(seq)).await.unwrap();
    }
    journal.refused(refusal(actions)).await.unwrap();
    let end = SessionEnd {
        at: SystemTime::now(),
        reason: EndReason::ClientClosed,
    };
    journal.close(end).await.unwrap();
    id
}

pub async fn open(recorder: &Recorder, target: &str, who: &str) -> (Uuid, Arc<dyn SessionJournal>) {
    let start = start(target, who);
    let id = start.info.id.0;
    (id, recorder.open(start).await.unwrap())
}

pub async fn operator(recorder: &Recorder) {
    let event = ControlEvent {
        at: SystemTime::now(),
        principal: None,
        action: "bundle:activate".into(),
        resource: "Bundle::default".into(),
        result: Ok(()),
        detail: String::new(),
    };
    recorder.event(event).await.unwrap();
}

/// The files of a package.
pub type Files = BTreeMap<String, Vec<u8>>;

pub fn unpack(path: &Path) -> Files {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut out = Files::new();
    for number in 0..zip.len() {
        let mut file = zip.by_index(number).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        out.insert(file.name().unwrap().into_owned(), bytes);
    }
    out
}

pub fn pack(files: &Files, path: &Path) {
    // Compressing takes long where nothing is optimised.
    pack_as(files, path, zip::CompressionMethod::Stored);
}

pub fn pack_as(files: &Files, path: &Path, how: zip::CompressionMethod) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default().compression_method(how);
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

pub fn manifest_of(files: &Files) -> Manifest {
    serde_json::from_slice(&files[MANIFEST]).unwrap()
}

/// As whoever has the signing key would do it: the manifest names what is there, and is signed again.
pub fn sign_again(files: &mut Files, mut manifest: Manifest, key: &SeedKey) {
    files.remove(MANIFEST);
    files.remove(NOTE);
    manifest.files = files
        .iter()
        .map(|(path, bytes)| FileEntry::new(path, &digest(bytes)))
        .collect();
    let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
    let signer = key.signer(&format!("{NAME}/{SIGNER}")).unwrap();
    let note = manifest::sign(&bytes, &*signer).unwrap();
    files.insert(MANIFEST.into(), bytes);
    files.insert(NOTE.into(), note.into_bytes());
}

/// What verification says of these files; the failures as text, or why it is no package at all.
pub fn judge(setup: &Setup, files: &Files) -> Vec<String> {
    let path = setup.out("judged.zip");
    pack(files, &path);
    match check_package(&path, &setup.trusted()) {
        Ok(report) => report.failures().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}
