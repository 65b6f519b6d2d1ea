//! What building the parts does to the machine.

use std::path::Path;

use super::*;

const CONFIG: &str = r#"
[server]
data_dir = "data"
base_url = "http://127.0.0.1:8443"
[api]
listen = "127.0.0.1:8443"
[[postgres.listener]]
listen = "127.0.0.1:5432"
[[target]]
name = "orders"
protocol = "postgres"
env = "prod"
host = "127.0.0.1"
user = "weir"
tls = "disable"
[identity.dev]
enabled = true
"#;

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("weir-assemble-{}", uuid::Uuid::now_v7());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn config(&self, more: &str) -> Config {
        let text = format!("{CONFIG}{more}");
        Config::parse(Path::new("weir.toml"), &text, &self.0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let place = Place::new();
    let parts = Parts::build(place.config(""), Purpose::Check)
        .await
        .unwrap();
    assert!(parts.describe().contains("development issuer is on"));
    assert_eq!(std::fs::read_dir(&place.0).unwrap().count(), 0);
    Parts::build(place.config(""), Purpose::Serve)
        .await
        .unwrap();
    assert!(place.0.join("data/host.key").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_anybody_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let data = place.0.join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    let built = Parts::build(place.config(""), Purpose::Serve).await;
    let error = format!("{:#}", built.err().unwrap());
    assert!(error.contains("server.data_dir"), "{error}");
}

/// What the configuration brings is held to the same as what people upload.
#[tokio::test]
async fn a_configured_bundle_wants_no_more_than_the_vault_keeps() {
    let place = Place::new();
    let files = authz::Bundle::embedded_default().unwrap().files().clone();
    for (path, text) in &files {
        let path = place.0.join("bundle").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let more = match path.ends_with("bundle.toml") {
            true => "\n[[retention]]\ntarget = \"orders\"\ndays = 400\n",
            false => "",
        };
        std::fs::write(path, format!("{text}{more}")).unwrap();
    }
    let vault = |days: u32| {
        let retention = format!("retention = {{ mode = \"compliance\", days = {days} }}");
        format!("[recording.vault]\ns3 = {{ bucket = \"b\" }}\n{retention}\n")
    };
    for (recording, expect) in [
        (
            String::new(),
            Some("nothing that this Weir stores is locked"),
        ),
        (vault(401), Some("less than the vault's 401")),
        (vault(400), None),
    ] {
        let config = place.config(&format!("[policy]\nbundle = \"bundle\"\n{recording}"));
        let built = Parts::build(config, Purpose::Check).await;
        let error = built.err().map(|e| format!("{e:#}"));
        match expect {
            None => assert_eq!(error, None),
            Some(part) => {
                let error = error.unwrap();
                assert!(error.contains(part), "{error}");
                assert!(error.contains("bundle.toml:"), "{error}");
            }
        }
    }
}

/// A supervisor is to start it anew: what is in the log is recovered then.
#[tokio::test(flavor = "multi_thread")]
async fn a_weir_that_cannot_record_ends_with_an_error() {
    let place = Place::new();
    let text = format!("{CONFIG}[recording]\nsegment_seconds = 1\n");
    let text = text
        .replace(":8443\"\n[[", ":0\"\n[[")
        .replace(":5432", ":0");
    let text = text.replace("tls = \"disable\"", "tls = \"disable\"\nauth = [\"none\"]");
    let config = Config::parse(Path::new("weir.toml"), &text, &place.0).unwrap();
    let segments = config.recording.spool_dir.join("segments");
    let parts = Parts::build(config, Purpose::Serve).await.unwrap();
    let running = parts.run(CancellationToken::new());
    let broken = async {
        let log = segments.with_file_name("wal").join("000000000001.wal");
        // Begun, with more than a header in it.
        while !std::fs::metadata(&log).is_ok_and(|m| m.len() > 64) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The first segment, which is to be written soon, has no place.
        std::fs::remove_dir(&segments).unwrap();
        std::future::pending::<()>().await;
    };
    let limit = tokio::time::sleep(Duration::from_secs(60));
    let ended = tokio::select! {
        ended = running => ended,
        () = broken => Ok(()),
        () = limit => panic!("it goes on"),
    };
    let error = format!("{:#}", ended.unwrap_err());
    assert!(error.contains("nothing could be recorded"), "{error}");
}

/// What people decided counts, and what serving would make of it is told.
#[tokio::test]
async fn a_check_looks_at_the_state() {
    use control::store::{NewBundle, PluginRow, Sqlite, Store};
    use weir_client::{BundleSummary, PluginSummary};
    let place = Place::new();
    let required = "[plugins]\nrequired = [\"risk-sqll\"]\n";
    let parts = Parts::build(place.config(required), Purpose::Check);
    let found = parts.await.unwrap().stored().await;
    assert!(found.problems[0].contains("risk-sqll"), "{found:?}");

    std::fs::create_dir(place.0.join("data")).unwrap();
    let store = Sqlite::open(&place.0.join("data/state.sqlite")).unwrap();
    let bundle = NewBundle {
        files: [("bundle.toml".to_owned(), "of another age".to_owned())].into(),
        summary: BundleSummary {
            name: "theirs".into(),
            digest: "d".into(),
            policies: 1,
            approval_rules: vec![],
            label_rules: 0,
            tests: 0,
        },
        author: Some("olga".into()),
        involved: vec!["olga".into()],
        note: String::new(),
        at: 1,
    };
    let row = store.stage_bundle(bundle, 9).await.unwrap().unwrap();
    store
        .activate_bundle(row.version, None, "otto", 2)
        .await
        .unwrap();
    let plugin = PluginRow {
        summary: PluginSummary {
            name: "old".into(),
            version: "1".into(),
            digest: "d".into(),
            capabilities: vec![],
        },
        size: 1,
        config: [].into(),
        uploaded_by: "olga".into(),
        uploaded_at: 1,
        confirmed_by: None,
    };
    assert!(store.add_plugin(plugin, "x".into()).await.unwrap());
    let parts = Parts::build(place.config(""), Purpose::Check);
    let found = parts.await.unwrap().stored().await;
    assert!(found.lines[0].contains("version 1, which people activated"));
    let problems = found.problems.join("\n");
    assert!(
        problems.contains("bundle version 1, which is in force"),
        "{problems}"
    );
    assert!(
        problems.contains("uploaded plugin old is no longer admitted"),
        "{problems}"
    );
}
