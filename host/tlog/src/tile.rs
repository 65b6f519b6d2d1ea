//! Where the files of a log lie (tlog-tiles): `tile/<level>/<index>[.p/<width>]` for hashes,
//! `tile/entries/<index>[.p/<width>]` for entries.

use std::fmt;

use crate::text::decimal;

/// How many hashes, or entries, are in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that a path can name.
pub const MAX_LEVEL: u8 = 63;

/// A hash of one level stands for 256 of the one below: 2^8.
pub(crate) const LEVEL_BITS: u32 = 8;

/// What a tile holds.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Kind {
    /// Entries themselves.
    Entries,
    /// Hashes: at level 0 those of leaves, above those of full tiles of the level below.
    Level(u8),
}

/// One file of a log.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Tile {
    pub kind: Kind,
    pub index: u64,
    /// 1..=256: how many hashes or entries it holds.
    pub width: u16,
}

impl Tile {
    /// Its path below the log's prefix.
    pub fn path(&self) -> String {
        let mut path = match self.kind {
            Kind::Entries => "tile/entries/".to_owned(),
            Kind::Level(level) => format!("tile/{level}/"),
        };
        let digits = self.index.to_string();
        let digits = format!("{digits:0>0$}", digits.len().next_multiple_of(3));
        let groups = digits.len() / 3;
        for (i, digit) in digits.chars().enumerate() {
            let (group, first) = (i / 3, i.is_multiple_of(3));
            if first && group > 0 {
                path.push('/');
            }
            if first && group + 1 < groups {
                path.push('x');
            }
            path.push(digit);
        }
        if !self.is_full() {
            path.push_str(&format!(".p/{}", self.width));
        }
        path
    }

    /// The tile of a path, if that is exactly how its path is spelled.
    pub fn parse(path: &str) -> Option<Tile> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Level(u8::try_from(decimal(level)?).ok()?),
        };
        if matches!(kind, Kind::Level(level) if level > MAX_LEVEL) {
            return None;
        }
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, u16::try_from(decimal(width)?).ok()?),
            None => (rest, TILE_WIDTH),
        };
        if !(1..=TILE_WIDTH).contains(&width) {
            return None;
        }
        let mut number = 0u64;
        for digit in index.bytes().filter(u8::is_ascii_digit) {
            number = number
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
        }
        let index = number;
        // Whatever else the path could have been is another spelling.
        Some(Tile { kind, index, width }).filter(|tile| tile.path() == path)
    }

    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile that this one is, or becomes. A log may have taken the partial one away by then.
    pub fn full(self) -> Tile {
        Tile {
            width: TILE_WIDTH,
            ..self
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// How many hashes a tree of this size has at a level.
pub(crate) fn hashes_at(size: u64, level: u8) -> u64 {
    let shift = u32::from(level) * LEVEL_BITS;
    size.checked_shr(shift).unwrap_or(0)
}

/// Every file of a tree of this size: bundles of entries, then hashes, the lowest level first; of each
/// the full ones, then the partial one.
pub fn tiles_of(size: u64) -> impl Iterator<Item = Tile> {
    let levels = (0..=MAX_LEVEL)
        .map(move |level| (Kind::Level(level), hashes_at(size, level)))
        .take_while(|(_, count)| *count > 0);
    std::iter::once((Kind::Entries, size))
        .chain(levels)
        .flat_map(|(kind, count)| tiles_at(kind, count))
}

fn tiles_at(kind: Kind, count: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(TILE_WIDTH);
    let full = (0..count / width).map(move |index| Tile {
        kind,
        index,
        width: TILE_WIDTH,
    });
    full.chain(open_tile(kind, count))
}

/// The tile that is not full yet, if `count` hashes or entries of this kind leave one open.
pub(crate) fn open_tile(kind: Kind, count: u64) -> Option<Tile> {
    let width = u64::from(TILE_WIDTH);
    let open = u16::try_from(count % width).ok().filter(|open| *open > 0)?;
    Some(Tile {
        kind,
        index: count / width,
        width: open,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn tile(kind: Kind, index: u64, width: u16) -> Tile {
        Tile { kind, index, width }
    }

    #[test]
    fn paths() {
        for (tile, path) in [
            (tile(Kind::Level(0), 0, 256), "tile/0/000"),
            (tile(Kind::Level(0), 999, 1), "tile/0/999.p/1"),
            (tile(Kind::Level(0), 1000, 256), "tile/0/x001/000"),
            (tile(Kind::Level(0), 1067, 8), "tile/0/x001/067.p/8"),
            (tile(Kind::Level(3), 1_234_067, 256), "tile/3/x001/x234/067"),
            (tile(Kind::Level(63), 5, 255), "tile/63/005.p/255"),
            (tile(Kind::Entries, 0, 256), "tile/entries/000"),
            (tile(Kind::Entries, 273, 112), "tile/entries/273.p/112"),
            (
                tile(Kind::Entries, u64::MAX, 256),
                "tile/entries/x018/x446/x744/x073/x709/x551/615",
            ),
        ] {
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Some(tile), "{path}");
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        for bad in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/x00/000",
            "tile/0/001/067",
            "tile/0/x001/x067",
            "tile/0/x001",
            "tile/0/x001//067",
            "tile/0/x001/067/",
            "/tile/0/000",
            "tile//000",
            "tile/00/000",
            "tile/64/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/data/000",
            "tile/Entries/000",
            "tile/entries/000.p/0",
            "tile/entries/000.p/256",
            "tile/entries/000.p/257",
            "tile/entries/000.p/01",
            "tile/entries/000.p/",
            "tile/entries/000.p",
            "tile/entries/000.p/1/",
            "tile/entries/000.p/1.p/1",
            "tile/entries/ 000",
            "tile/entries/000 ",
            "tile/entries/0a0",
            "tile/entries/X001/000",
            "tile/entries/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/999",
            "tile/0/٠٠٠",
            "tile/8/0/000",
            "tile/0/../000",
        ] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_other_spelling_of_a_path_is_another_tile_or_none() {
        let path = "tile/3/x001/x234/067.p/8";
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut bytes = path.as_bytes().to_vec();
            for _ in 0..=random.below(2) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = b"0123456789x/.p\0t"[random.below(16)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"0123456789x/.p t"[random.below(16)]),
                }
            }
            let other = String::from_utf8(bytes).unwrap();
            if let Some(tile) = Tile::parse(&other) {
                assert_eq!(tile.path(), other);
            }
        }
    }

    #[test]
    fn random_tiles_round_trip() {
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let shift = random.below(64);
            let tile = Tile {
                kind: match random.below(3) {
                    0 => Kind::Entries,
                    _ => Kind::Level(u8::try_from(random.below(64)).unwrap()),
                },
                index: random.next() >> shift,
                width: u16::try_from(1 + random.below(256)).unwrap(),
            };
            assert_eq!(Tile::parse(&tile.path()), Some(tile));
            assert_eq!(tile.to_string(), tile.path());
        }
    }

    /// The example of the specification.
    #[test]
    fn the_files_of_70_000_leaves() {
        let all: Vec<Tile> = tiles_of(70_000).collect();
        let of = |kind| all.iter().filter(|t| t.kind == kind).count();
        assert_eq!(of(Kind::Entries), 274);
        assert_eq!(of(Kind::Level(0)), 274);
        assert_eq!(of(Kind::Level(1)), 2);
        assert_eq!(of(Kind::Level(2)), 1);
        assert_eq!(all.len(), 551);
        for open in [
            tile(Kind::Entries, 273, 112),
            tile(Kind::Level(0), 273, 112),
            tile(Kind::Level(1), 0, 256),
            tile(Kind::Level(1), 1, 17),
            tile(Kind::Level(2), 0, 1),
        ] {
            assert!(all.contains(&open), "{open}");
        }
    }

    #[test]
    fn the_files_of_small_trees() {
        assert_eq!(tiles_of(0).count(), 0);
        let paths = |size| tiles_of(size).map(|t| t.path()).collect::<Vec<_>>();
        assert_eq!(paths(1), ["tile/entries/000.p/1", "tile/0/000.p/1"]);
        assert_eq!(
            paths(256),
            ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
        );
        assert_eq!(tile(Kind::Level(0), 0, 7).full().path(), "tile/0/000");
    }
}
