//! The container image: built without a container engine, started from its own files alone.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use weir_tests::proc::{Daemon, Scratch, Signal, free_port};
use weir_tests::{http, paths};

use crate::shop::skipped;

fn buildah(home: &Path, args: &[&str]) -> Output {
    Command::new("buildah")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(home.join("storage"))
        .arg("--runroot")
        .arg(home.join("run"))
        .args(args)
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Why this machine cannot build an image, if it cannot.
fn reason_to_skip(context: &Path) -> Option<String> {
    if paths::which("buildah").is_none() {
        return Some("buildah is not installed".into());
    }
    let out = Command::new("id").arg("-u").output().unwrap();
    if !out.stdout.starts_with(b"0\n") {
        return Some("building without an engine needs root here".into());
    }
    if !context.join("weir").is_file() {
        return Some(format!(
            "{} has no binary: run `cargo xtask dist`",
            context.display()
        ));
    }
    None
}

#[test]
fn the_image_is_built_and_serves() {
    let context = paths::target().join("dist");
    if let Some(reason) = reason_to_skip(&context) {
        skipped(&reason);
        return;
    }
    let home = Scratch::new("image").unwrap();
    let dockerfile = paths::root()
        .join("deploy/Dockerfile")
        .to_string_lossy()
        .into_owned();
    let context = context.to_string_lossy().into_owned();
    let built = buildah(
        home.path(),
        &[
            "bud",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "-t",
            "weir",
            "-f",
            &dockerfile,
            &context,
        ],
    );
    assert!(built.status.success(), "{}", said(&built));
    let inspected = said(&buildah(
        home.path(),
        &["inspect", "--type", "image", "weir"],
    ));
    assert!(
        inspected.contains("65532"),
        "it must not run as root: {inspected}"
    );

    let from = buildah(home.path(), &["from", "--pull-never", "weir"]);
    assert!(from.status.success(), "{}", said(&from));
    let container = String::from_utf8_lossy(&from.stdout).trim().to_owned();
    let mounted = buildah(home.path(), &["mount", &container]);
    let root = String::from_utf8_lossy(&mounted.stdout).trim().to_owned();
    assert!(
        mounted.status.success() && !root.is_empty(),
        "{}",
        said(&mounted)
    );
    serves(Path::new(&root), home.path());
    buildah(home.path(), &["umount", &container]);
    buildah(home.path(), &["rm", &container]);
}

/// Starts the image's binary with nothing around it but the image.
fn serves(root: &Path, home: &Path) {
    for part in [
        "usr/bin/weir",
        "usr/share/weir/plugins/mask-pii.wasm",
        "etc/weir/weir.toml",
    ] {
        assert!(root.join(part).exists(), "{part} is not in the image");
    }
    assert!(
        !root.join("bin/sh").exists() && !root.join("lib").exists(),
        "it is not empty"
    );
    let api = free_port().unwrap();
    let pg = free_port().unwrap();
    let config = std::fs::read_to_string(root.join("etc/weir/weir.toml")).unwrap();
    let config = config
        .replace("0.0.0.0:8443", &format!("127.0.0.1:{api}"))
        .replace("0.0.0.0:5432", &format!("127.0.0.1:{pg}"));
    std::fs::write(root.join("etc/weir/weir.toml"), config).unwrap();
    std::fs::create_dir_all(root.join("var/lib/weir")).unwrap();
    // What every container runtime supplies.
    std::fs::create_dir_all(root.join("dev")).unwrap();
    for (device, minor) in [("null", "3"), ("random", "8"), ("urandom", "9")] {
        let path = root.join("dev").join(device);
        let made = Command::new("mknod")
            .args(["-m", "666"])
            .arg(path)
            .args(["c", "1", minor])
            .status();
        assert!(made.unwrap().success(), "{device}");
    }
    let owned = Command::new("chown")
        .arg("-R")
        .arg("65532")
        .arg(root.join("var/lib/weir"))
        .status();
    assert!(owned.unwrap().success());
    let mut command = Command::new("chroot");
    command.arg("--userspec=65532:65532").arg(root);
    command.args(["/usr/bin/weir", "serve", "--config", "/etc/weir/weir.toml"]);
    command
        .env_clear()
        .env("ORDERS_PASSWORD", "x")
        .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
    let mut daemon = Daemon::spawn("weir image", command, &home.join("log"), Signal::Term).unwrap();
    daemon
        .wait_until(|| {
            http::call(api, "GET", "/healthz", None, None).is_ok_and(|answer| answer.status == 200)
        })
        .unwrap();
    daemon.signal(Signal::Term).unwrap();
    let status = daemon.wait(Duration::from_secs(20)).unwrap();
    assert!(status.success(), "{status}: {}", daemon.log());
}
