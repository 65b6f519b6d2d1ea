//! Private keys of sources that differ in digits only: to who looks at how lines begin, these are one.

use std::collections::HashSet;

use super::reference::Dice;
use super::*;

/// How lines of the first source begin, and of the others by number.
const LEADS: &[&str] = &[
    "web-#  | ",
    "Nov 28 00:59:59 h app[#]: ",
    "[pod/db-#/db] ",
    "keys/#.pem:",
];
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Of a title, with so many lines of its own that no two are alike.
fn pem(dice: &mut Dice, title: &str, lines: usize) -> Vec<String> {
    let mut line = |n: usize| -> String {
        let digits = (0..n).map(|_| char::from(DIGITS[dice.below(DIGITS.len())]));
        digits.collect()
    };
    let mut all = vec![format!("-----BEGIN {title}-----")];
    all.extend((1..lines).map(|_| line(64)));
    all.push(line(30) + "==");
    all.push(format!("-----END {title}-----"));
    all
}

fn key(dice: &mut Dice, lines: usize) -> Vec<String> {
    pem(dice, "RSA PRIVATE KEY", lines)
}

fn say(lead: &str, source: usize, line: &str) -> String {
    format!("{}{line}\n", lead.replace('#', &source.to_string()))
}

/// All lines of all sources in turns, one of each.
fn in_turns(lead: &str, sources: &[Vec<String>]) -> String {
    let longest = sources.iter().map(Vec::len).max().unwrap();
    let line = |n: usize, source: usize| Some(say(lead, source + 1, sources[source].get(n)?));
    let lines = (0..longest).flat_map(|n| (0..sources.len()).filter_map(move |s| line(n, s)));
    lines.collect()
}

/// So much of a line is more than a short word of it.
const SEEN: usize = 20;

/// How many parts of the lines of these keys are seen.
fn seen(out: &str, keys: &[Vec<String>]) -> usize {
    let lines = keys.iter().flatten().filter(|l| !l.starts_with('-'));
    let parts: HashSet<&[u8]> = lines.flat_map(|l| l.as_bytes().windows(SEEN)).collect();
    let runs = out.as_bytes().split(|c| !DIGITS.contains(c));
    runs.filter_map(|run| run.get(..SEEN))
        .filter(|run| parts.contains(run))
        .count()
}

/// The input as it is let go of, by pieces, on a terminal of so many columns.
fn masked(input: &str, columns: u16, piece: usize) -> String {
    let mut masker = Masker::new(patterns(&[]), Kind::Pipe);
    masker.resize(columns);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    for part in input.as_bytes().chunks(piece) {
        let _ = masker.push(part, now, &mut out);
    }
    masker.flush(&mut out);
    assert_eq!(out.len(), input.len());
    String::from_utf8(out.to_vec()).unwrap()
}

fn check(name: &str, input: &str, keys: &[Vec<String>]) {
    let input = format!("{input}$ ls\n");
    for piece in [7, 300] {
        let out = masked(&input, 0, piece);
        assert_eq!(seen(&out, keys), 0, "{name}: {out}");
        assert!(out.ends_with("$ ls\n"), "{name}: {out}");
    }
}

/// Only what ends a private key ends one.
#[test]
fn certificates_end_no_private_key() {
    let mut dice = Dice(1);
    let certificate = pem(&mut dice, "CERTIFICATE", 12);
    let public = pem(&mut dice, "PUBLIC KEY", 12);
    let long = [key(&mut dice, 40)];
    for lead in LEADS {
        for other in [&certificate, &public] {
            // What has begun before the key does, ends among its lines; whole, and cut off.
            let (before, behind) = other.split_at(6);
            let before: String = before.iter().map(|l| say(lead, 2, l)).collect();
            for cut in [0, 1, 5, 10] {
                let mut behind = behind.to_vec();
                let last = behind.last_mut().unwrap();
                last.truncate(last.len() - cut);
                let sources = [long[0].clone(), behind.clone()];
                check(
                    lead,
                    &format!("{before}{}", in_turns(lead, &sources)),
                    &long,
                );
                // Right behind the first line.
                let sources = [long[0].clone(), vec![behind.last().unwrap().clone()]];
                check(lead, &in_turns(lead, &sources), &long);
            }
            // And what begins and ends there has not begun a key.
            let input = in_turns(lead, &[long[0].clone(), other.clone()]);
            check(lead, &input, &long);
            let behind = say(lead, 1, "listening on 80").repeat(3);
            let out = masked(&format!("{input}{behind}"), 0, 300);
            assert!(out.ends_with(&behind), "{out}");
        }
    }
}

/// One that was cut off leaves those behind it as much as they need.
#[test]
fn a_key_without_an_end_uses_up_nothing_of_others() {
    let mut dice = Dice(2);
    for lead in LEADS {
        let keys: Vec<Vec<String>> = (0..30).map(|_| key(&mut dice, 50)).collect();
        let lines = keys.iter().zip(1..).flat_map(|(key, n)| {
            let cut = if n == 1 { 5 } else { usize::MAX };
            key.iter().take(cut).map(move |l| say(lead, n % 10, l))
        });
        let input: String = lines.collect();
        let text = "an ordinary line of text\n".repeat(70);
        check(lead, &format!("{input}{text}"), &keys);
        let out = masked(&format!("{input}{text}"), 0, 300);
        assert!(out.ends_with("an ordinary line of text\n"), "{out}");
    }
}

/// However many, and however long one of them takes.
#[test]
fn each_key_of_many_has_as_much_as_one() {
    let mut dice = Dice(3);
    for count in [2, 18, 24] {
        let mut keys: Vec<Vec<String>> = (0..count).map(|_| key(&mut dice, 50)).collect();
        check("in turns", &in_turns(LEADS[0], &keys), &keys);
        // The last one is slower.
        let slow = keys.pop().unwrap();
        let mut input = in_turns(LEADS[0], &[&keys[..], &[slow[..9].to_vec()]].concat());
        input.extend(slow[9..].iter().map(|l| say(LEADS[0], count, l)));
        keys.push(slow);
        check("one is slower", &input, &keys);
    }
    // Others come and go beside it.
    let slow = key(&mut dice, 50);
    let mut keys: Vec<Vec<String>> = (0..50).map(|_| key(&mut dice, 50)).collect();
    let mut input = say(LEADS[0], 1, &slow[0]);
    for (line, key) in slow[1..].iter().zip(&keys) {
        input.extend(key.iter().map(|l| say(LEADS[0], 2, l)));
        input += &say(LEADS[0], 1, line);
    }
    keys.push(slow);
    check("others come and go", &input, &keys);
}

/// The last line of one of them, cut off wherever, and also where the terminal ends.
#[test]
fn last_lines_that_are_cut_off_end_one_key_at_most() {
    let mut dice = Dice(4);
    for lead in LEADS {
        for cut in 1..20 {
            let (mut short, long) = (key(&mut dice, 12), key(&mut dice, 40));
            let last = short.last_mut().unwrap();
            last.truncate(last.len() - cut);
            let columns = say(lead, 1, last).len() - 1;
            let keys = [short, long];
            let input = in_turns(lead, &keys);
            check(lead, &input, &keys);
            // So wide is the terminal, and there every line is cut off.
            let cut_off = |line: &str| format!("{}\n", &line[..line.len().min(columns)]);
            let input: String = input.lines().map(cut_off).collect();
            check(lead, &input, &keys);
            for piece in [7, 300] {
                let columns = u16::try_from(columns).unwrap();
                let out = masked(&input, columns, piece);
                assert_eq!(seen(&out, &keys), 0, "{lead} {cut}: {out}");
            }
        }
    }
}

/// And first lines: behind a part of the title that says what it is, where the next line begins alike.
#[test]
fn first_lines_that_are_cut_off_begin_a_key() {
    let mut dice = Dice(5);
    for lead in LEADS {
        for cut in 1..14 {
            let mut keys = [key(&mut dice, 12), key(&mut dice, 40)];
            for cut_in in [0, 1] {
                let whole = keys[cut_in][0].clone();
                keys[cut_in][0].truncate(whole.len() - cut);
                let input = in_turns(lead, &keys);
                check(lead, &input, &keys);
                keys[cut_in][0] = whole;
            }
        }
    }
    let alone = "-----BEGIN RSA PRIVATE KEY-\nMIIEowIBAAKCAQEAMIIEowIBAAKCAQEA\n$ ls\n";
    let out = masked(alone, 0, 300);
    assert!(!out.contains("MIIE") && out.ends_with("$ ls\n"), "{out}");
}

/// A few lines of others may stand right behind the first one.
#[test]
fn keys_whose_lines_come_later() {
    let mut dice = Dice(6);
    let keys = [key(&mut dice, 40), key(&mut dice, 12)];
    for lead in LEADS {
        let text = [
            "listening on 80",
            "level:info ok",
            "GET /index.html 200",
            "ok",
        ];
        let text: String = text.iter().map(|l| say(lead, 3, l)).collect();
        let others =
            "api-1  | GET /index.html\nan ordinary line\nd41d8cd98f00b204e9800998 a\nbin\n";
        let rest = keys.clone().map(|key| key[1..].to_vec());
        for between in [text.as_str(), others] {
            let first: String = (0..2).map(|n| say(lead, n + 1, &keys[n][0])).collect();
            let input = format!("{first}{between}{}", in_turns(lead, &rest));
            check(lead, &input, &keys);
            let input = say(lead, 1, &keys[0][0]) + between + &in_turns(lead, &rest[..1]);
            check(lead, &input, &keys[..1]);
        }
        // Nothing of theirs is hidden.
        let input = say(lead, 1, &keys[0][0]) + others + others + others;
        let out = masked(&input, 0, 300);
        assert!(out.ends_with(&others.repeat(2)), "{out}");
    }
}

/// First lines alone, found by a search in more files than are followed at the same time.
#[test]
fn many_first_lines_hide_little() {
    let find = |n: u8| {
        format!(
            "{}.key:-----BEGIN RSA PRIVATE KEY-----\n",
            char::from(b'a' + n)
        )
    };
    let input: String = (0..26).map(find).collect();
    let behind = "total 12\nroot@host:~# ls\nbin\netc\n".repeat(20);
    let out = masked(&format!("{input}{behind}"), 0, 300);
    let changed = |a: &str, b: &str| a.bytes().zip(b.bytes()).filter(|(a, b)| a != b).count();
    assert!(changed(&input, &out) <= 60, "{out}");
    assert!(changed(&behind, &out[input.len()..]) <= 8, "{out}");
    // And no key has to give way to them.
    let keys = [key(&mut Dice(7), 12), key(&mut Dice(8), 12)];
    let turns = keys[0].iter().zip(&keys[1]);
    let turns: String = turns
        .map(|(a, b)| format!("one | {a}\ntwo | {b}\n"))
        .collect();
    check("behind them", &format!("{input}{turns}"), &keys);
}

/// How lines begin whose digits say more than which source it is: a line's number, a clock, a count.
const COUNTED: &[&str] = &[
    "keys/#.pem:@:",
    "app[#] t=17327@.5 ",
    "h app[#]: 09:59:@0.25Z ",
];

fn counted(lead: &str, source: usize, n: usize, line: &str) -> String {
    say(&lead.replace('@', &n.to_string()), source, line)
}

/// The last lines of a key whose first ones were cut off before, among those of one that has begun: in the order in
/// which they come, cut wherever.
#[test]
fn an_end_of_no_key_that_has_begun_ends_none() {
    let mut dice = Dice(8);
    for lead in LEADS.iter().chain(COUNTED) {
        for (first, last) in [(2, 1), (1, 2)] {
            for (before, tail) in [(1, 1), (1, 3), (3, 1), (6, 3)] {
                let (key, old) = (key(&mut dice, 8), key(&mut dice, 8));
                let mut tail = old[old.len() - tail..].iter();
                let (mut input, mut n) = (String::new(), 0);
                let mut say = |source, line: &str| {
                    n += 1;
                    input += &counted(lead, source, n, line);
                };
                key[..before].iter().for_each(|line| say(first, line));
                for line in &key[before..] {
                    if let Some(line) = tail.next() {
                        say(last, line);
                    }
                    say(first, line);
                }
                say(9, "listening on 80");
                input += "$ ls\n";
                let keys = [key];
                let whole = masked(&input, 0, usize::MAX);
                assert_eq!(seen(&whole, &keys), 0, "{lead}: {whole}");
                assert!(
                    whole.ends_with("listening on 80\n$ ls\n"),
                    "{lead}: {whole}"
                );
                let step = if (first, before) == (2, 3) { 1 } else { 43 };
                for at in (1..input.len()).step_by(step) {
                    let mut masker = Masker::new(patterns(&[]), Kind::Pipe);
                    let (now, mut out) = (Instant::now(), BytesMut::new());
                    let _ = masker.push(&input.as_bytes()[..at], now, &mut out);
                    let _ = masker.push(&input.as_bytes()[at..], now, &mut out);
                    masker.flush(&mut out);
                    assert!(out == whole.as_bytes(), "{lead} at {at}: {out:?}");
                }
            }
        }
    }
}

/// Of several that go on none is shown for one that had begun before, and none for one that ends twice.
#[test]
fn ends_are_counted_for_each_source() {
    let mut dice = Dice(9);
    for lead in LEADS {
        let keys = [key(&mut dice, 30), key(&mut dice, 12), key(&mut dice, 20)];
        let all = in_turns(lead, &keys);
        let end = "-----END RSA PRIVATE KEY-----";
        for source in 1..=5 {
            for at in [3, 8, 30, 45, 52] {
                let lines = all.lines().enumerate().map(|(n, line)| match n == at {
                    true => format!("{line}\n{}", say(lead, source, end)),
                    false => format!("{line}\n"),
                });
                // What ends one of them while it goes on says that it is over.
                let others = (1..).zip(&keys).filter(|(n, _)| *n != source);
                let others: Vec<_> = others.map(|(_, key)| key.clone()).collect();
                check(lead, &lines.collect::<String>(), &others);
            }
        }
        // All have ended, and all is over.
        let behind = say(lead, 2, "d41d8cd98f00b204e9800998ecf8427e");
        let out = masked(&format!("{all}{behind}"), 0, 300);
        assert!(out.ends_with(&behind), "{lead}: {out}");
    }
}

/// Where digits count something, what stands behind a key is shown unless it may be one's line.
#[test]
fn little_is_hidden_behind_an_end_that_may_be_another_ones() {
    let mut dice = Dice(10);
    for lead in COUNTED {
        let key = key(&mut dice, 12);
        let lines = key.iter().zip(1..);
        let shown: String = lines.map(|(line, n)| counted(lead, 1, n, line)).collect();
        let words = [
            "listening on 80",
            "bin",
            "GET /index.html 200",
            "level:info ok",
        ];
        let behind = words.iter().zip(20..);
        let behind: String = behind.map(|(line, n)| counted(lead, 1, n, line)).collect();
        let behind = format!("{behind}bin\netc\n/usr/local/lib/python\n{behind}");
        let out = masked(&format!("{shown}{behind}"), 0, 300);
        assert_eq!(seen(&out, &[key]), 0, "{lead}: {out}");
        assert!(out.ends_with(&behind), "{lead}: {out}");
        // And after so many lines, everything is.
        let text = counted(lead, 1, 50, "listening on 80").repeat(65);
        let word = counted(lead, 1, 50, "d41d8cd98f00b204e9800998ecf8427e");
        let out = masked(&format!("{shown}{text}{word}"), 0, 300);
        assert!(out.ends_with(&word), "{lead}: {out}");
    }
}

/// A last line behind nothing, right behind a first line that stands behind something; and where it is its own.
#[test]
fn an_end_that_begins_otherwise_ends_none() {
    let mut dice = Dice(11);
    let key = key(&mut dice, 12);
    let end = "-----END RSA PRIVATE KEY-----\n";
    for lead in LEADS {
        let rest = key[1..].iter().map(|line| say(lead, 1, line));
        let input = format!("{}{end}{}", say(lead, 1, &key[0]), rest.collect::<String>());
        check(lead, &input, std::slice::from_ref(&key));
    }
    let word = "key=d41d8cd98f00b204e9800998ecf8427e\n";
    for line in ["\n", "\\n"] {
        let input = format!("key={}{line}{word}", key.join(line));
        let out = masked(&input, 0, 300);
        assert_eq!(seen(&out, std::slice::from_ref(&key)), 0, "{out}");
        assert!(out.ends_with(word) || line == "\\n", "{out}");
    }
}

/// Sources that print keys, ends of keys, certificates and text, in any order, of which first and last lines are cut off
/// or missing;
/// on a terminal or not, which all lines may be cut off at.
/// Not among them: more text in a row than is followed, and first lines that are cut off before their title.
#[test]
fn no_schedule_shows_a_line_of_a_key() {
    for seed in 1..=200 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let (mut keys, mut sources) = (Vec::new(), Vec::new());
        let mut text = 14;
        for _ in 0..2 + dice.below(4) {
            let mut lines = Vec::new();
            // Of a key that has begun before.
            if dice.below(3) == 0 {
                let old = key(&mut dice, 13);
                lines.extend(old.into_iter().skip(1 + dice.below(13)));
            }
            for _ in 0..=dice.below(4) {
                match dice.below(8) {
                    0..4 => {
                        let count = [1, 4, 13, 50][dice.below(4)];
                        let mut key = key(&mut dice, count);
                        keys.push(key.clone());
                        let (first, last) = (key[0].len(), key.len() - 1);
                        match dice.below(8) {
                            0 => key[0].truncate(first - 1 - dice.below(14)),
                            1 => {
                                let end = &mut key[last];
                                end.truncate(6 + dice.below(end.len() - 6));
                            }
                            2 => key.truncate(1 + dice.below(last)),
                            _ => {}
                        }
                        lines.extend(key);
                    }
                    4..7 => {
                        let mut other = pem(&mut dice, "CERTIFICATE", 8);
                        let end = &mut other[9];
                        end.truncate(end.len() - [0, 0, 3, 12][dice.below(4)]);
                        lines.extend(other.into_iter().skip([0, 0, 5][dice.below(3)]));
                    }
                    _ => {
                        let count = dice.below(4).min(text);
                        text -= count;
                        lines.extend(vec!["listening on 80".to_owned(); count]);
                    }
                }
            }
            lines.reverse();
            sources.push(lines);
        }
        let lead = LEADS[dice.below(LEADS.len())];
        let (mut input, behind) = (String::new(), "plain words are here\n".repeat(70));
        while sources.iter().any(|lines| !lines.is_empty()) {
            let source = dice.below(sources.len());
            for _ in 0..[1, 1, 2, 5][dice.below(4)] {
                let line = sources[source].pop();
                input.extend(line.map(|line| say(lead, source + 1, &line)));
            }
        }
        let width = lead.len() + SEEN + dice.below(60);
        if dice.below(3) == 0 {
            let cut_off = |line: &str| format!("{}\n", &line[..line.len().min(width)]);
            input = input.lines().map(cut_off).collect();
        }
        let columns = [0, u16::try_from(width).unwrap()][dice.below(2)];
        let out = masked(&format!("{input}{behind}"), columns, 1 + dice.below(600));
        assert_eq!(seen(&out, &keys), 0, "{seed}:\n{input}\n{out}");
        assert!(out.ends_with("plain words are here\n"), "{seed}: {out}");
    }
}
