//! The logs, what is done to them, and what Go says.

use std::collections::BTreeMap;
use std::path::Path;

use tlog::{
    Checkpoint, CosignatureSigner, Ed25519Signer, Kind, Limits, Note, ProofFile, TILE_WIDTH, Tile,
    TileMap, Tree, inclusion_proof, inclusion_tiles, leaf_hash, push_entry, sign_checkpoint,
    tiles_of,
};
use weir_tests::golog;
use weir_tests::proc::Scratch;

const ORIGIN: &str = "logs.example.test/weir/1";
const WITNESS: &str = "witness.example.test/w1";

/// Beside each is the older tree that it goes on from.
const SMALL: [(u64, u64); 5] = [(1, 1), (2, 1), (255, 3), (256, 255), (257, 256)];
const LARGE: [(u64, u64); 2] = [(65_536, 65_535), (70_000, 23_333)];

/// In small logs one byte of so many is altered, and the first and last of each file.
const EVERY: usize = 97;

fn is_here() -> bool {
    golog::checker().unwrap().is_some()
}

fn check(what: &str, dir: &Path, input: &str) -> Result<String, String> {
    golog::check(what, dir, input).unwrap()
}

/// Entries of all kinds of lengths, the shortest and the longest among them.
fn entry(index: u64) -> Vec<u8> {
    match index {
        0 => Vec::new(),
        1 => vec![b'x'; tlog::MAX_ENTRY],
        _ => format!(
            "{{\"seq\":{index},\"op\":\"{}\"}}",
            "y".repeat(index as usize % 13)
        )
        .into_bytes(),
    }
}

/// A log in a directory, as `check.go` wants it.
struct Log {
    dir: Scratch,
    tree: Tree,
    key: Ed25519Signer,
    witness: CosignatureSigner,
    tiles: TileMap,
    /// All files, by their paths.
    files: BTreeMap<String, Vec<u8>>,
}

impl Log {
    fn write(size: u64, earlier: u64) -> Self {
        let mut log = Self {
            dir: Scratch::new("tlog").unwrap(),
            tree: Tree::new(),
            key: Ed25519Signer::from_seed(ORIGIN, &[1; 32]).unwrap(),
            witness: CosignatureSigner::from_seed(WITNESS, &[2; 32], 1_700_000_000).unwrap(),
            tiles: TileMap::new(),
            files: BTreeMap::new(),
        };
        let mut bundle = Vec::new();
        for index in 0..size {
            let entry = entry(index);
            push_entry(&mut bundle, &entry).unwrap();
            let tiles = &mut log.tiles;
            log.tree.append(leaf_hash(&entry), &mut |tile, bytes| {
                assert!(tiles.insert(tile, bytes.to_vec()).is_none());
            });
            let width = index % u64::from(TILE_WIDTH) + 1;
            if width == u64::from(TILE_WIDTH) || index + 1 == size {
                let tile = Tile {
                    kind: Kind::Entries,
                    index: index / u64::from(TILE_WIDTH),
                    width: width as u16,
                };
                log.file(&format!("log/{tile}"), std::mem::take(&mut bundle));
            }
            if index + 1 == earlier {
                let checkpoint = log.checkpoint();
                log.file("earlier", checkpoint.into_bytes());
            }
        }
        log.tiles.extend(log.tree.partial());
        for (tile, bytes) in log.tiles.clone() {
            log.file(&format!("log/{tile}"), bytes);
        }
        let checkpoint = log.checkpoint();
        log.file("log/checkpoint", checkpoint.into_bytes());
        let keys = format!("{}\n{}\n", log.key.vkey(), log.witness.vkey());
        std::fs::write(log.dir.join("keys"), keys).unwrap();
        log
    }

    fn file(&mut self, name: &str, bytes: Vec<u8>) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
        self.files.insert(name.to_owned(), bytes);
    }

    /// Of the tree as it is now, signed by the log and its witness.
    fn checkpoint(&self) -> String {
        let checkpoint = Checkpoint {
            origin: ORIGIN.into(),
            size: self.tree.size(),
            root: self.tree.root(),
            extensions: Vec::new(),
        };
        let signed = sign_checkpoint(&checkpoint, &self.key).unwrap();
        let mut note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
        note.sign(&self.witness).unwrap();
        note.encode()
    }

    /// What Go makes of these alterations: it must refuse each.
    fn refuses(&self, alterations: &[String]) {
        let said = check("altered", self.dir.path(), &(alterations.join("\n") + "\n"));
        let said = said.unwrap_or_else(|why| panic!("{} leaves: {why}", self.tree.size()));
        let refused = format!("refused {}", alterations.len());
        assert_eq!(said.lines().last(), Some(refused.as_str()), "{said}");
        println!("{} leaves: {said}", self.tree.size());
    }
}

/// A flip of one bit, another one at each place.
fn flip(name: &str, at: usize) -> String {
    format!("flip {name} {at} {}", 1 << (at % 8))
}

/// What can be done to a whole file.
fn whole(name: &str, bytes: &[u8]) -> Vec<String> {
    let mut all = vec![format!("append {name}"), format!("remove {name}")];
    all.extend((!bytes.is_empty()).then(|| format!("cut {name} {}", bytes.len() - 1)));
    all
}

#[test]
fn go_verifies_what_was_written_and_refuses_every_altered_byte() {
    if !is_here() {
        return;
    }
    for (size, earlier) in SMALL {
        let log = Log::write(size, earlier);
        let said = check("log", log.dir.path(), "").unwrap();
        let files = tiles_of(size).count();
        assert_eq!(said, format!("{size} leaves in {files} files\n"));
        assert_eq!(log.files.len(), files + 2);
        let mut alterations = Vec::new();
        for (name, bytes) in &log.files {
            let last = bytes.len() - 1;
            let places = (0..bytes.len()).step_by(EVERY).chain([last]);
            alterations.extend(places.map(|at| flip(name, at)));
            alterations.extend(whole(name, bytes));
        }
        // Every bit of what is signed, as far as it is short.
        for name in ["log/checkpoint", "earlier"] {
            let places = 0..log.files[name].len() * 8;
            alterations
                .extend(places.map(|bit| format!("flip {name} {} {}", bit / 8, 1 << (bit % 8))));
        }
        alterations
            .extend(["log/more", "log/tile/0/999", "log/tile/3/000"].map(|n| format!("add {n}")));
        log.refuses(&alterations);
    }
}

#[test]
fn go_verifies_large_logs_and_refuses_them_altered() {
    if !is_here() {
        return;
    }
    for (size, earlier) in LARGE {
        let log = Log::write(size, earlier);
        let said = check("log", log.dir.path(), "").unwrap();
        let files = tiles_of(size).count();
        assert_eq!(said, format!("{size} leaves in {files} files\n"));
        // One byte in each of some files of every kind: the first, the last and some between.
        let kind = |name: &str| {
            name.rsplit_once("tile/")
                .map(|(_, rest)| rest[..2].to_owned())
        };
        let mut of_kind: BTreeMap<_, Vec<&String>> = BTreeMap::new();
        for name in log.files.keys() {
            of_kind.entry(kind(name)).or_default().push(name);
        }
        let mut alterations = Vec::new();
        for names in of_kind.values() {
            let some = names.iter().step_by(names.len().div_ceil(4));
            for (n, name) in some.chain(names.last()).enumerate() {
                alterations.push(flip(name, log.files[*name].len() * (2 * n + 1) / 11));
            }
        }
        for name in ["log/tile/entries/200", "log/tile/0/200", "log/tile/1/000"] {
            alterations.extend(whole(name, &log.files[name]));
        }
        alterations.push("swap log/tile/entries/003 log/tile/entries/004".into());
        alterations.push("swap log/tile/0/003 log/tile/0/004".into());
        alterations.push("swap log/checkpoint earlier".into());
        log.refuses(&alterations);
    }
}

/// Whoever rewrites an entry and signs again has a log that is whole, but that does not go on from what
/// it was; neither does one that is shorter than it was.
#[test]
fn go_refuses_a_log_that_was_rewritten() {
    if !is_here() {
        return;
    }
    let mut log = Log::write(300, 257);
    check("log", log.dir.path(), "").unwrap();
    let mut before = Tree::new();
    for index in 0..257 {
        let was = match index {
            100 => b"what it was".to_vec(),
            _ => entry(index),
        };
        before.append(leaf_hash(&was), &mut |_, _| ());
    }
    let now = std::mem::replace(&mut log.tree, before);
    let rewritten = log.checkpoint();
    log.tree = now;
    let shortened = Log::write(301, 257).files["log/checkpoint"].clone();
    for (earlier, size) in [(rewritten.into_bytes(), 257), (shortened, 301)] {
        log.file("earlier", earlier);
        let refused = check("log", log.dir.path(), "").unwrap_err();
        assert!(
            refused.contains(&format!("consistency with {size}")),
            "{refused}"
        );
    }
}

#[test]
fn go_accepts_proof_files_and_refuses_them_altered() {
    if !is_here() {
        return;
    }
    let log = Log::write(70_000, 1);
    let root = log.tree.root();
    let dir = log.dir.path();
    for (index, extra) in [
        (0, None),
        (255, Some(b"more".to_vec())),
        (65_535, None),
        (69_999, None),
    ] {
        let tiles = inclusion_tiles(70_000, index).unwrap();
        let tiles: TileMap = tiles
            .into_iter()
            .map(|t| (t, log.tiles[&t].clone()))
            .collect();
        let leaf = leaf_hash(&entry(index));
        let file = ProofFile {
            extra,
            index,
            proof: inclusion_proof(70_000, index, &leaf, &root, &tiles).unwrap(),
            checkpoint: log.checkpoint(),
        };
        let text = file.encode().unwrap();
        std::fs::write(dir.join("entry"), entry(index)).unwrap();
        std::fs::write(dir.join("proof"), &text).unwrap();
        let said = check("proof", dir, "").unwrap();
        assert_eq!(said, format!("entry {index} of 70000\n"));
        // One bit in each line that is not the application's own.
        let lines = text.lines().filter(|line| line.len() > 8);
        for line in lines.filter(|line| !line.starts_with("extra ")) {
            let at = text.find(line).unwrap() + 7;
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            std::fs::write(dir.join("proof"), bytes).unwrap();
            assert!(check("proof", dir, "").is_err(), "{line}");
        }
        std::fs::write(dir.join("proof"), &text).unwrap();
        std::fs::write(dir.join("entry"), entry(index + 1)).unwrap();
        assert!(check("proof", dir, "").is_err());
    }
}
