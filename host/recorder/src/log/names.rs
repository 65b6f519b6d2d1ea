//! Where a log's objects are: `log/<epoch>/` before what C2SP tlog-tiles says, and `registry/<id>/`.

use uuid::Uuid;

use crate::log::spool::BUNDLE;

/// The directory of all logs.
pub const ROOT: &str = "log";
/// The directory of all registries.
pub const REGISTRY: &str = "registry";
/// The newest checkpoint, below a log's prefix.
pub const CHECKPOINT: &str = "checkpoint";
/// The key that the log's checkpoints are said to be signed with.
pub const VKEY: &str = "vkey";

pub fn prefix(epoch: Uuid) -> String {
    below(ROOT, epoch)
}

/// What the keys of a log, or of a registry, begin with.
pub fn below(root: &str, id: Uuid) -> String {
    format!("{root}/{}", id.as_hyphenated())
}

pub fn object(epoch: Uuid, path: &str) -> String {
    format!("{}/{path}", prefix(epoch))
}

/// A checkpoint that stays.
pub fn archived(epoch: Uuid, size: u64) -> String {
    object(epoch, &archived_path(size))
}

pub fn archived_path(size: u64) -> String {
    format!("checkpoints/{size:012}")
}

/// An object of a log, if it is one.
pub fn parse(root: &str, key: &str) -> Option<(Uuid, Part)> {
    let rest = key.strip_prefix(root)?.strip_prefix('/')?;
    let (epoch, path) = rest.split_once('/')?;
    let id: Uuid = epoch.parse().ok()?;
    if id.as_hyphenated().to_string() != epoch {
        return None;
    }
    let part = match path {
        CHECKPOINT => Part::Checkpoint,
        VKEY => Part::Vkey,
        _ => match path.strip_prefix("checkpoints/") {
            Some(size) => Part::Archived(number(size)?),
            None => Part::Tile(tlog::Tile::parse(path)?),
        },
    };
    Some((id, part))
}

fn number(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (format!("{number:012}") == text).then_some(number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Checkpoint,
    Vkey,
    Archived(u64),
    Tile(tlog::Tile),
}

impl Part {
    /// No object of a log is longer.
    pub fn longest(&self) -> u64 {
        let longest = match self {
            Self::Tile(tile) if tile.kind == tlog::Kind::Entries => {
                // Each with its length before it.
                usize::from(tile.width) * (2 + tlog::MAX_ENTRY)
            }
            Self::Tile(tile) => usize::from(tile.width) * 32,
            Self::Checkpoint | Self::Vkey | Self::Archived(_) => tlog::MAX_NOTE,
        };
        longest as u64
    }
}

/// How many leaves a tree has at least that has this tile.
pub fn end_of(tile: &tlog::Tile) -> u64 {
    let level = match tile.kind {
        tlog::Kind::Entries => 0,
        tlog::Kind::Level(level) => level,
    };
    let below = BUNDLE.saturating_pow(u32::from(level));
    let end = tile.index.saturating_mul(BUNDLE);
    let end = end.saturating_add(u64::from(tile.width));
    end.saturating_mul(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        let epoch = Uuid::from_u128(7);
        let at = |path: &str| parse(ROOT, &object(epoch, path)).map(|(_, part)| part);
        assert_eq!(at("checkpoint"), Some(Part::Checkpoint));
        assert_eq!(
            parse(ROOT, &archived(epoch, 70_000)),
            Some((epoch, Part::Archived(70_000)))
        );
        assert!(matches!(
            at("tile/entries/x001/234.p/7"),
            Some(Part::Tile(_))
        ));
        for wrong in [
            "checkpoints/1",
            "checkpoints/+00000000001",
            "tile/0/1",
            "",
            "x",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(
            parse(ROOT, "log/00000000000000000000000000000007/checkpoint"),
            None
        );
    }
}
