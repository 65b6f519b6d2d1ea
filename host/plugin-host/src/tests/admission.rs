//! What becomes a plugin, and what does not.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::ports::Hooks;

use super::{Host, component, config, facts, session};
use crate::{
    AdmissionError, ArtifactCache, Capability, Fault, HostKey, Limits, NoArchive, NoEvents,
    Options, Plugins, Runtime,
};

#[tokio::test]
async fn admits_and_describes() {
    let host = Host::new();
    for (name, capabilities) in [
        ("risk-sql", vec![Capability::Classify]),
        ("mask-pii", vec![Capability::Mask]),
        ("route-default", vec![Capability::Route]),
        (
            "evil",
            vec![Capability::Classify, Capability::Mask, Capability::Route],
        ),
    ] {
        let info = host.add(name, name, &[]).await.unwrap();
        assert_eq!(&*info.name, name);
        assert_eq!(info.component, name);
        assert_eq!(info.capabilities, capabilities, "{name}");
        assert_eq!(info.size, component(name).len());
        assert_eq!(
            &*info.digest,
            hex::encode(crate::runtime::sha256(&component(name)))
        );
    }
    let names: Vec<_> = host
        .plugins
        .list()
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    assert_eq!(names, ["risk-sql", "mask-pii", "route-default", "evil"]);
    host.add("mask-pii", "evil", &[]).await.unwrap();
    assert_eq!(
        host.plugins.list()[1].component,
        "evil",
        "replaced in its place"
    );
}

#[tokio::test]
async fn failing_plugins_stay_out() {
    let host = Host::evil("").await;
    let before = host.plugins.list();
    type Check = fn(&AdmissionError) -> bool;
    let failed: Check = |e| matches!(e, AdmissionError::Failed(_));
    let deadline: Check = |e| matches!(e, AdmissionError::Failed(Fault::Deadline));
    let memory: Check = |e| matches!(e, AdmissionError::Failed(Fault::Memory));
    let bad_info: Check = |e| matches!(e, AdmissionError::BadInfo(_));
    let bad_config: Check =
        |e| matches!(e, AdmissionError::BadConfig(text) if text.contains("like it"));
    for (mode, check) in [
        ("describe-trap", failed),
        ("describe-loop", deadline),
        ("describe-alloc", memory),
        ("describe-recurse", failed),
        ("scope-trap", failed),
        ("scope-loop", deadline),
        ("huge-scope", bad_info),
        ("check-trap", failed),
        ("check-loop", deadline),
        ("bad-name", bad_info),
        ("huge-name", bad_info),
        ("bad-config", bad_config),
    ] {
        let error = host
            .add("evil", "evil", &[("mode", mode)])
            .await
            .unwrap_err();
        assert!(check(&error), "{mode}: {error:?}");
        assert_eq!(host.plugins.list(), before, "what was active stays active");
    }
    assert_eq!(host.plugins.classify(&session(), &facts()).await.score, 10);
}

#[tokio::test]
async fn bad_files_stay_out() {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let evil = component("evil");
    let mut broken = evil.clone();
    let middle = broken.len() / 2;
    broken
        .iter_mut()
        .skip(middle)
        .take(64)
        .for_each(|b| *b ^= 0x55);
    let foreign = wat(r#"(component
            (import "wasi:cli/environment@0.2.0" (instance
                (export "get-arguments" (func (result (list string))))))
            (import "weir:plugin/log@0.1.0" (instance)))"#);
    let near = wat(r#"(component (import "weir:plugin/logs@0.1.0" (instance)))"#);
    let newer = wat(r#"(component
            (import "weir:plugin/clock@0.2.0" (instance (export "now-unix" (func (result u64)))))
            (instance $i) (export "weir:plugin/lifecycle@0.1.0" (instance $i))
            (export "weir:plugin/classify@0.1.0" (instance $i)))"#);
    let hollow = wat(
        r#"(component (instance $i) (export "weir:plugin/lifecycle@0.1.0" (instance $i))
            (export "weir:plugin/classify@0.1.0" (instance $i)))"#,
    );
    let idle =
        wat(r#"(component (instance $i) (export "weir:plugin/lifecycle@0.1.0" (instance $i)))"#);
    let future =
        wat(r#"(component (instance $i) (export "weir:plugin/lifecycle@0.2.0" (instance $i)))"#);
    let hungry = wat(
        r#"(component (core module $m (memory 2000)) (core instance (instantiate $m))
            (instance $i) (export "weir:plugin/lifecycle@0.1.0" (instance $i))
            (export "weir:plugin/classify@0.1.0" (instance $i)))"#,
    );
    let many = wat(
        r#"(component (core module $m (memory 1) (memory 1) (memory 1))
            (core instance (instantiate $m))
            (instance $i) (export "weir:plugin/lifecycle@0.1.0" (instance $i))
            (export "weir:plugin/classify@0.1.0" (instance $i)))"#,
    );
    type Check = fn(&AdmissionError) -> bool;
    let cases: Vec<(&str, Vec<u8>, Check)> = vec![
        ("empty", vec![], |e| *e == AdmissionError::NotWasm),
        ("text", b"#!/bin/sh\necho".to_vec(), |e| {
            *e == AdmissionError::NotWasm
        }),
        ("cut", evil[..100].to_vec(), |e| {
            matches!(e, AdmissionError::Invalid(_))
        }),
        ("broken", broken, |e| {
            matches!(e, AdmissionError::Invalid(_))
        }),
        ("core", wat("(module)"), |e| {
            *e == AdmissionError::CoreModule
        }),
        ("huge", vec![0; 33 << 20], |e| {
            matches!(e, AdmissionError::TooLarge { .. })
        }),
        (
            "wasi",
            foreign,
            |e| matches!(e, AdmissionError::ForeignImports(n) if n == &["wasi:cli/environment@0.2.0"]),
        ),
        ("near", near, |e| {
            matches!(e, AdmissionError::ForeignImports(_))
        }),
        ("newer", newer, |e| {
            matches!(e, AdmissionError::Incompatible(_))
        }),
        ("hollow", hollow, |e| {
            matches!(e, AdmissionError::Incompatible(_))
        }),
        ("nothing", wat("(component)"), |e| {
            *e == AdmissionError::NoLifecycle
        }),
        ("future", future, |e| *e == AdmissionError::NoLifecycle),
        ("idle", idle, |e| *e == AdmissionError::NoCapability),
        ("hungry", hungry, |e| {
            matches!(e, AdmissionError::TooHungry(_) | AdmissionError::Invalid(_))
        }),
        ("many", many, |e| {
            matches!(e, AdmissionError::TooHungry(_) | AdmissionError::Invalid(_))
        }),
    ];
    let host = Host::new();
    for (name, wasm, check) in cases {
        let error = host.plugins.add(name, wasm, config(&[])).await.unwrap_err();
        assert!(check(&error), "{name}: {error:?}");
        assert!(error.to_string().len() < 4096, "{name}");
    }
    assert!(host.plugins.list().is_empty());
}

#[tokio::test]
async fn names_and_configurations_have_limits() {
    let host = Host::new();
    for name in ["", "UPPER", "a b", "../x", "ä", &"n".repeat(65)] {
        let error = host.add(name, "evil", &[]).await.unwrap_err();
        assert!(matches!(error, AdmissionError::BadName(_)), "{name:?}");
    }
    let long = "v".repeat(65 << 10);
    let error = host.add("evil", "evil", &[("k", &long)]).await.unwrap_err();
    assert_eq!(error, AdmissionError::ConfigTooLarge);
    let info = host
        .plugins
        .inspect("evil", component("evil"), config(&[]))
        .await
        .unwrap();
    assert_eq!(info.component, "evil");
    assert!(host.plugins.list().is_empty(), "inspecting adds nothing");
}

fn cached(dir: &std::path::Path, key: u8) -> Plugins {
    let cache = ArtifactCache::open(dir, HostKey::from_bytes([key; 32])).unwrap();
    let limits = Limits {
        concurrent_calls: 2,
        ..Limits::default()
    };
    let options = Options {
        archive: Arc::new(NoArchive),
        require: Vec::new(),
        events: Arc::new(NoEvents),
        clock: Arc::new(pipeline::ports::SystemClock),
    };
    Plugins::new(Runtime::new(limits, Some(cache)).unwrap(), options)
}

#[tokio::test]
async fn artifacts_are_cached_and_never_trusted_blindly() {
    let dir = std::env::temp_dir().join(format!("weir-artifacts-{}", std::process::id()));
    std::fs::remove_dir_all(&dir).ok();
    let files = || -> Vec<PathBuf> {
        std::fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect()
    };
    let works = async |key: u8| {
        let plugins = cached(&dir, key);
        plugins
            .add("evil", component("evil"), config(&[]))
            .await
            .unwrap();
        assert_eq!(plugins.classify(&session(), &facts()).await.score, 10);
    };
    works(1).await;
    let [path] = files().try_into().unwrap();
    let good = std::fs::read(&path).unwrap();

    // It is used: a genuine file is not written again.
    let stamp = std::fs::metadata(&path).unwrap().modified().unwrap();
    works(1).await;
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), stamp);

    // Changed, cut, or of another host: compiled again, and replaced by a genuine file.
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for bad in [
        changed,
        good[..good.len() - 1].to_vec(),
        b"junk".to_vec(),
        Vec::new(),
    ] {
        std::fs::write(&path, &bad).unwrap();
        works(1).await;
        assert_eq!(std::fs::read(&path).unwrap().len(), good.len());
        assert_ne!(std::fs::read(&path).unwrap(), bad);
    }
    let ours = std::fs::read(&path).unwrap();
    works(2).await;
    assert_ne!(
        std::fs::read(&path).unwrap(),
        ours,
        "the other host signed it anew"
    );
    assert_eq!(files().len(), 1, "no parts are left over");
    std::fs::remove_dir_all(&dir).ok();
}
