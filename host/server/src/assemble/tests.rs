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
