//! Bundles of entries (tlog-tiles): each entry after its length, two bytes, the higher first.

use thiserror::Error;

/// The longest entry: its length has two bytes.
pub const MAX_ENTRY: usize = 65_535;

const LENGTH: usize = 2;

#[derive(Debug, Error, Eq, PartialEq)]
pub enum EntryError {
    #[error("an entry of {0} bytes; {MAX_ENTRY} are allowed")]
    TooLong(usize),
    #[error("the bundle ends within an entry")]
    Cut,
    #[error("the bundle holds {found} entries, not {expected}")]
    Count { expected: u16, found: usize },
}

/// Appends one entry.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryError> {
    let Ok(length) = u16::try_from(entry.len()) else {
        return Err(EntryError::TooLong(entry.len()));
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle. After an error there is nothing more.
pub fn entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], EntryError>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = rest
            .split_first_chunk::<LENGTH>()
            .and_then(|(n, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*n))));
        let Some((entry, after)) = entry else {
            rest = &[];
            return Some(Err(EntryError::Cut));
        };
        rest = after;
        Some(Ok(entry))
    })
}

/// The entries of a bundle that must hold exactly so many, as its path says.
pub fn bundle_of(width: u16, bundle: &[u8]) -> Result<Vec<&[u8]>, EntryError> {
    let found: Vec<&[u8]> = entries(bundle).collect::<Result<_, _>>()?;
    if found.len() != usize::from(width) {
        return Err(EntryError::Count {
            expected: width,
            found: found.len(),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn bundle(all: &[&[u8]]) -> Vec<u8> {
        let mut bundle = Vec::new();
        for entry in all {
            push_entry(&mut bundle, entry).unwrap();
        }
        bundle
    }

    #[test]
    fn entries_come_back() {
        let longest = vec![7; MAX_ENTRY];
        let all: [&[u8]; 4] = [b"one", b"", &longest, b"\0\0"];
        let bundle = bundle(&all);
        assert_eq!(&bundle[..5], b"\0\x03one");
        assert_eq!(bundle_of(4, &bundle).unwrap(), all);
        assert_eq!(
            bundle_of(3, &bundle),
            Err(EntryError::Count {
                expected: 3,
                found: 4
            })
        );
        assert_eq!(entries(b"").count(), 0);
    }

    #[test]
    fn what_is_too_long_changes_nothing() {
        let mut bundle = bundle(&[b"one"]);
        let before = bundle.clone();
        let long = vec![0; MAX_ENTRY + 1];
        assert_eq!(
            push_entry(&mut bundle, &long),
            Err(EntryError::TooLong(MAX_ENTRY + 1))
        );
        assert_eq!(bundle, before);
    }

    #[test]
    fn a_bundle_cut_anywhere_shows_whole_entries_and_then_an_error() {
        let all: [&[u8]; 5] = [b"first", b"", b"second entry", b"x", b""];
        let bundle = bundle(&all);
        let mut ends = vec![0];
        for entry in all {
            ends.push(ends[ends.len() - 1] + 2 + entry.len());
        }
        for cut in 0..=bundle.len() {
            let found: Vec<_> = entries(&bundle[..cut]).collect();
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let good: Vec<_> = found.iter().filter_map(|e| e.as_ref().ok()).collect();
            assert_eq!(good.len(), whole, "cut at {cut}");
            for (good, was) in good.into_iter().zip(all) {
                assert_eq!(*good, was);
            }
            let clean = ends.contains(&cut);
            assert_eq!(found.last() == Some(&Err(EntryError::Cut)), !clean, "{cut}");
            assert_eq!(found.len(), whole + usize::from(!clean));
        }
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut random = Random::new(3);
        for _ in 0..2_000 {
            let length = random.below(400);
            let bytes = random.bytes(length);
            let shown: usize = entries(&bytes).flatten().map(|e| e.len() + 2).sum();
            assert!(shown <= bytes.len());
        }
    }
}
