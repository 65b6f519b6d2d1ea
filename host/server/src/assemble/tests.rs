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

/// What `serve` would find only after it opened the evidence.
#[tokio::test]
async fn a_check_finds_what_serving_would() {
    let place = Place::new();
    for (more, expect) in [
        (
            "[webhook]\nurl = \"http://10.1.2.3/x\"\nsecret = \"whsec_AAAA\"\n",
            "must be https",
        ),
        (
            "[webhook]\nurl = \"https://a.example/x\"\nsecret = \"whsec_AAAA\"\n",
            "24 to 64 bytes",
        ),
    ] {
        let built = Parts::build(place.config(more), Purpose::Check).await;
        let error = format!("{:#}", built.err().unwrap());
        assert!(error.contains(expect), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
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
