//! Any bytes from the helper of a gated shell, and its lines in any order.

use std::collections::BTreeMap;

use crate::action::Unread;
use crate::fuzzing::Script;

use super::asks::fuzzing::read;
use super::*;

impl Gate {
    /// The same every time, and with a secret that is soon found.
    pub fn fixed() -> Self {
        Self {
            directory: "/tmp/weir-f".into(),
            secret: "s".into(),
            key: Key::fixed(1, 2),
        }
    }
}

/// However they come in pieces, the same is said; what is kept has its bounds; and each ask is read, and answered in
/// one line.
pub fn gate(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let whole = read(data, usize::MAX);
    let cut = read(data, 1 + usize::from(*size));
    assert_eq!(whole, cut);
    for said in whole.0 {
        let Said::Ask(ask) = said else { continue };
        for yes in [true, false] {
            let answer = ask.answer(yes);
            let words: Vec<&str> = answer.split([' ', '\n']).collect();
            assert!(
                matches!(words[..], [_, _, "yes", _, ""] | [_, _, "no", ""]),
                "{answer:?}"
            );
            assert!(ask.to != "live", "that word is Weir's own");
        }
        let directory = ask.place.directory.as_deref();
        assert!(directory.is_none_or(|d| d.starts_with('/')));
        let gate = Gate::fixed();
        let line = Unread::gated(ask.text.clone(), ask.place.clone()).read();
        let why = about_the_gate(&ask.text, &ask.place, gate.directory(), &line.command);
        // Whatever stands around it, its own names are not touched.
        let text = String::from_utf8_lossy(&ask.text);
        assert!(why.is_some() || !text.contains("__weir_"), "{text:?}");
    }
}

const ID: &str = "i-d";

/// What is known of a line that waits until it was judged.
struct Waits {
    whole: Whole,
    /// It is not allowed, however it is judged.
    never: bool,
    first: u64,
    /// What is new in it; none: nobody knows from here.
    text: Option<Vec<u8>>,
}

/// Prompts, lines that go on and whole lines in any order, and judged in any order. What is allowed was judged as a
/// whole: it is what was told when it was read, of the command that was asked about last, behind all that was asked
/// about before, and only until something else is asked.
pub fn lines(data: &[u8]) {
    let mut script = Script(data);
    let mut lines = Lines::default();
    let mut waits: Vec<Waits> = Vec::new();
    // What was told since the last prompt or line, by its number, and whether all of it is what it was at first.
    let (mut told, mut sound) = (BTreeMap::<u64, Vec<u8>>::new(), true);
    let (mut next, mut behind) = (0, 0);
    while !script.is_over() {
        let open = lines.is_open();
        match script.byte() % 8 {
            0 | 1 => {
                let n = u64::from(script.number());
                lines.prompt(n);
                waits.iter_mut().for_each(|w| w.never = true);
                (next, sound) = (n, n >= behind && n > 0);
                told = BTreeMap::new();
                assert!(!lines.is_open(), "a prompt opens nothing");
            }
            2 | 3 => {
                let (n, entry) = (u64::from(script.number()), entry(&mut script));
                waits.iter_mut().for_each(|w| w.never = true);
                let said = [b": weir-more\n", &written(n, &entry)[..]].concat();
                let plain = is_plain(&entry);
                let kept = lines.more(&asked(said));
                if !plain {
                    // Under which number that is kept, nobody knows from here.
                    lines.prompt(0);
                    (told, sound, next) = (BTreeMap::new(), false, 0);
                    continue;
                }
                let known = told.entry(n).or_insert_with(|| entry.clone());
                sound &= kept && *known == entry;
                assert_eq!(lines.is_open(), open, "a line that goes on opens nothing");
            }
            4 | 5 => {
                let first = u64::from(script.number());
                let entries: Vec<_> = (0..=script.byte() % 4)
                    .map(|_| entry(&mut script))
                    .collect();
                let all = (first..).zip(&entries);
                let said: Vec<_> = all.clone().map(|(n, entry)| written(n, entry)).collect();
                let said = [b": weir-line\n".to_vec(), said.join(&b'\n')].concat();
                let busy = waits.iter().any(|w| !w.never);
                waits.iter_mut().for_each(|w| w.never = true);
                let taken = lines.takes(&asked(said));
                assert!(!lines.is_open(), "nothing is allowed before it is judged");
                let from = behind.max(next);
                let new: Vec<_> = all.clone().filter(|(n, _)| *n >= from).collect();
                let plain = entries.iter().all(|entry| is_plain(entry));
                let last = new.len().saturating_sub(1);
                let as_read = new
                    .iter()
                    .enumerate()
                    .all(|(at, (n, entry))| told.get(n).map_or(at == last, |told| told == *entry));
                let new: Vec<&[u8]> = new.iter().map(|(_, entry)| entry.as_slice()).collect();
                if let Ok(whole) = taken {
                    assert!(
                        !plain || first <= from && !new.is_empty(),
                        "all of it is new"
                    );
                    waits.push(Waits {
                        whole,
                        never: busy || !sound || plain && !as_read,
                        first: from,
                        text: plain.then(|| new.join(&b'\n')),
                    });
                }
                if plain && first <= from {
                    behind = behind.max(first + entries.len() as u64);
                }
                if !plain {
                    // Which numbers these are, nobody knows from here.
                    lines.prompt(0);
                    next = 0;
                    waits.iter_mut().for_each(|w| w.never = true);
                }
                (told, sound) = (BTreeMap::new(), false);
            }
            _ if !waits.is_empty() => {
                let at = usize::from(script.byte()) % waits.len();
                let Waits {
                    whole,
                    never,
                    first,
                    text,
                } = waits.swap_remove(at);
                let allowed = lines.judged(whole.judge()).is_ok();
                if never {
                    assert!(!allowed && lines.is_open() == open, "nobody waits for it");
                    continue;
                }
                assert_eq!(lines.is_open(), allowed);
                sound = allowed;
                if let (true, Some(text)) = (allowed, text) {
                    assert!(first < behind, "no line belongs to two commands");
                    assert!(text.len() <= 16 << 10, "{} bytes", text.len());
                    let gaps = shell::gaps(&text, &shell::Limits::default());
                    assert!(gaps.is_ok(), "{:?} has {gaps:?}", text.escape_ascii());
                }
            }
            _ => {}
        }
    }
}

/// A line, now and then one that is long.
fn entry(script: &mut Script<'_>) -> Vec<u8> {
    let times = match script.byte() {
        255 => 100,
        _ => 1,
    };
    script.bytes().repeat(times)
}

/// It is one line, without marks, and bash has not changed it.
fn is_plain(entry: &[u8]) -> bool {
    !entry.contains(&b'\n') && !entry.windows(ID.len()).any(|w| w == ID.as_bytes())
}

fn written(number: u64, entry: &[u8]) -> Vec<u8> {
    [format!("{number:5}  {ID} ").as_bytes(), entry].concat()
}

fn asked(text: Vec<u8>) -> Ask {
    Ask {
        to: "s1".into(),
        id: ID.into(),
        pid: 7,
        depth: 1,
        text: text.into(),
        place: Place::default(),
        cut: false,
        seal: 0,
    }
}
