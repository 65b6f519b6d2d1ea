//! The transparency log of a running Weir, as others check it.

use std::path::PathBuf;

use weir_tests::golog;

use crate::evidence::{a_session, recordings, transcript, verify};
use crate::shop::{ALICE, shop};

/// Every record has a leaf in a signed log, which Go's implementation of transparency logs verifies, too.
#[test]
fn what_was_recorded_is_in_a_log_that_others_verify() {
    let mut shop = shop("log");
    let session = a_session(&shop);
    transcript(&shop.weir, &session, "the end");
    shop.weir.stop();
    shop.weir.launch().unwrap();
    let again = a_session(&shop);
    transcript(&shop.weir, &again, "the end");
    // All of it, also what the second one has not stored yet.
    shop.weir.stop();
    let (ok, said) = verify(&shop.weir);
    assert!(
        ok && said.contains("signed with the key you trust: weir+"),
        "{said}"
    );
    let logs = shop.weir.home.join("data/recordings/log");
    let dirs: Vec<PathBuf> = std::fs::read_dir(&logs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(dirs.len(), 2);
    // What is said of a person in a log is a pseudonym, and of a statement a hash.
    for dir in &dirs {
        for file in recordings(&dir.join("tile/entries")) {
            let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
            for plain in [ALICE.0, "Customer 3", "nothing is dropped", "SELECT"] {
                assert!(!text.contains(plain), "{plain}: {text}");
            }
        }
    }
    // From a copy, with the key alone; and with another key, not at all.
    let key = said
        .lines()
        .find_map(|l| l.strip_prefix("signed with the key you trust: "))
        .unwrap()
        .to_owned();
    let copy = shop.weir.home.join("data/recordings").display().to_string();
    let kept = dirs[0].join("checkpoint").display().to_string();
    let with = |key: &str| {
        let args = [
            "verify",
            "--store",
            &copy,
            "--log-key",
            key,
            "--checkpoint",
            &kept,
        ];
        let out = shop.weir.bare_cli(&args).unwrap();
        (out.ok(), out.all())
    };
    let (ok, said) = with(&key);
    assert!(ok, "{said}");
    let other = "weir+f3f47c88+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let (ok, said) = with(other);
    assert!(!ok, "{said}");
    if golog::checker().unwrap().is_none() {
        return;
    }
    // The log of all logs is one, and has the same form.
    let registries = shop.weir.home.join("data/recordings/registry");
    let registries: Vec<PathBuf> = std::fs::read_dir(&registries)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(registries.len(), 1);
    for dir in dirs.iter().chain(&registries) {
        let said = golog::check("stored", dir, "").unwrap().unwrap();
        assert!(said.contains("leaves"), "{said}");
    }
    // Of those that there have been, the newest checkpoint needs the longest.
    let bundles = recordings(&dirs[0].join("tile/entries")).into_iter();
    let bundle = bundles.max_by_key(|p| p.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    assert!(golog::check("stored", &dirs[0], "").unwrap().is_err());
    assert!(!verify(&shop.weir).0);
}
