//! Words that are names of files for certain, because their program opens what they name; and commands of which it is not
//! certain that they stand elsewhere than where the text began. A relative name among these is one below the directory in
//! which the login begins.
//!
//! Most programs are none of these: of their words nobody knows which ones are names, and to take all for names would
//! make every word of root's a file of `/root`.

use crate::reading::Word;
use crate::walk::Walk;
use crate::{programs, reads};

/// Programs that open what they are given: the letters of short options that take the next word, and those among them
/// that take a name.
const OPEN: &[(&str, &str, &str)] = &[
    ("b2sum", "l", ""),
    ("base32", "w", ""),
    ("base64", "w", ""),
    ("bat", "lHrm", ""),
    ("batcat", "lHrm", ""),
    ("bunzip2", "", ""),
    ("bzcat", "", ""),
    ("bzip2", "", ""),
    ("cat", "", ""),
    ("cksum", "al", ""),
    ("cmp", "in", ""),
    ("column", "cosNREOTHWprin", ""),
    ("comm", "", ""),
    ("cp", "tS", "t"),
    ("csplit", "fbn", ""),
    ("cut", "bcdf", ""),
    ("diff", "CUIxXSFWL", "X"),
    ("expand", "t", ""),
    ("file", "eFfmP", "fm"),
    ("fold", "w", ""),
    ("gunzip", "S", ""),
    ("gzip", "S", ""),
    ("head", "cn", ""),
    ("hexdump", "efns", "f"),
    ("iconv", "fto", "o"),
    ("install", "gmotS", "t"),
    ("join", "aejotv12", ""),
    ("less", "bhjkoOpPtTxyz", "koO"),
    ("ln", "tS", "t"),
    ("md5sum", "", ""),
    ("mkdir", "m", ""),
    ("more", "n", ""),
    ("mv", "tS", "t"),
    ("nano", "", ""),
    ("nl", "bdfhilnsvw", ""),
    ("od", "AjNSt", ""),
    ("paste", "d", ""),
    ("rev", "", ""),
    ("rm", "", ""),
    ("sdiff", "wIo", "o"),
    ("sha1sum", "", ""),
    ("sha224sum", "", ""),
    ("sha256sum", "", ""),
    ("sha384sum", "", ""),
    ("sha512sum", "", ""),
    ("shred", "ns", ""),
    ("shuf", "eino", "o"),
    ("sort", "kStTo", "oT"),
    ("split", "abCnlt", ""),
    ("strings", "nteT", ""),
    ("sum", "", ""),
    ("tac", "s", ""),
    ("tail", "cns", ""),
    ("tee", "", ""),
    ("touch", "dtr", "r"),
    ("truncate", "sr", "r"),
    ("uniq", "fsw", ""),
    ("unxz", "S", ""),
    ("vi", "", ""),
    ("view", "", ""),
    ("vim", "", ""),
    ("wc", "", ""),
    ("who", "", ""),
    ("xxd", "cglosR", ""),
    ("xz", "S", ""),
    ("xzcat", "", ""),
    ("zcat", "", ""),
    ("zless", "", ""),
    ("zmore", "", ""),
];

/// The same, where the first word is a program, a pattern or a mode unless an option brings it: that option's letters.
const BEHIND: &[(&str, &str, &str, &str)] = &[
    ("awk", "Fvf", "f", "f"),
    ("chgrp", "", "", ""),
    ("chmod", "", "", ""),
    ("chown", "", "", ""),
    ("egrep", "ABCmefdD", "f", "ef"),
    ("fgrep", "ABCmefdD", "f", "ef"),
    ("gawk", "Fvf", "f", "f"),
    ("grep", "ABCmefdD", "f", "ef"),
    ("jq", "fL", "fL", "f"),
    ("mawk", "Fvf", "f", "f"),
    ("nawk", "Fvf", "f", "f"),
    ("rg", "ABCmefgtTjrEdM", "f", "ef"),
    ("sed", "efl", "f", "ef"),
    ("zgrep", "ABCmefdD", "f", "ef"),
];

/// A word that begins with a `+` is a command or a number to these.
const PLUS: &[&str] = &[
    "head", "less", "more", "nano", "sort", "tail", "uniq", "vi", "view", "vim",
];

/// Long options whose values are no names.
const NO_NAMES: &[&str] = &[
    "after-context",
    "before-context",
    "bytes",
    "color",
    "colour",
    "context",
    "delimiter",
    "exclude",
    "exclude-dir",
    "expression",
    "field-separator",
    "fields",
    "include",
    "key",
    "lines",
    "max-count",
    "max-depth",
    "mode",
    "regexp",
    "width",
];

/// With these, the first word is a name.
const BRING: &[&str] = &["expression", "file", "from-file", "reference", "regexp"];

/// Names in the words of a program that begin where it stands.
pub(crate) fn opened(name: &str, args: &[Word]) -> Vec<String> {
    let found = match name {
        "dd" => args
            .iter()
            .filter_map(|w| w.text.split_once("f="))
            .filter(|(begin, _)| matches!(*begin, "i" | "o"))
            .map(|(_, name)| name)
            .collect(),
        // What stands by itself sets the clock, or is how the time is written.
        "date" => {
            let behind = operands(args, "dfrsI", "fr", None);
            let written = |text: &str| args.iter().any(|w| w.text == text && text.starts_with('+'));
            behind.into_iter().filter(|text| !written(text)).collect()
        }
        _ => match (
            OPEN.iter().find(|(n, ..)| *n == name),
            BEHIND.iter().find(|(n, ..)| *n == name),
        ) {
            (Some((_, values, files)), _) => operands(args, values, files, None),
            (None, Some((_, values, files, brings))) => {
                operands(args, values, files, Some(*brings))
            }
            (None, None) => return Vec::new(),
        },
    };
    found
        .into_iter()
        .filter(|text| is_relative(text) && !(text.starts_with('+') && PLUS.contains(&name)))
        .map(str::to_owned)
        .collect()
}

/// The directory itself is no file: who reads all below it is said to read what is not known.
pub(crate) fn is_relative(text: &str) -> bool {
    let names = text.split('/').any(|p| !matches!(p, "" | "." | ".."));
    text != "-" && names && !text.starts_with(['/', '~'])
}

/// `brings`: the first word is no name, unless one of these options stands before it.
fn operands<'a>(args: &'a [Word], values: &str, files: &str, brings: Option<&str>) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut taken = brings.is_none();
    let mut first = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        let Some(option) = text.strip_prefix('-').filter(|o| !o.is_empty()) else {
            match taken || first.is_some() {
                true => names.push(text),
                false => first = Some(text),
            }
            continue;
        };
        if option == "-" {
            let rest = words.as_slice().iter().map(|w| w.text.as_str());
            let skipped = usize::from(!taken && first.is_none());
            names.extend(rest.skip(skipped));
            break;
        }
        if let Some(long) = option.strip_prefix('-') {
            let (long, value) = match long.split_once('=') {
                Some((long, value)) => (long, Some(value)),
                None => (long, None),
            };
            taken |= BRING.iter().any(|l| l.starts_with(long));
            names.extend(value.filter(|_| !NO_NAMES.contains(&long)));
            continue;
        }
        let Some((at, letter)) = option.char_indices().find(|(_, c)| values.contains(*c)) else {
            continue;
        };
        taken |= brings.is_some_and(|letters| letters.contains(letter));
        let attached = option.get(at + letter.len_utf8()..).unwrap_or_default();
        let value = match attached {
            "" => words.next().map(|w| w.text.as_str()),
            attached => Some(attached),
        };
        names.extend(value.filter(|_| files.contains(letter)));
    }
    // Only behind an option that brought it is the first word a name.
    names.extend(first.filter(|_| taken && brings.is_some()));
    names
}

impl Walk<'_> {
    /// The shell goes to another directory.
    pub(crate) fn goes(&mut self, argv: &[Word], plainly: bool) {
        let operands: Vec<&Word> = argv
            .iter()
            .skip(1)
            .filter(|w| !matches!(w.text.as_str(), "--" | "-P" | "-L"))
            .collect();
        match operands.as_slice() {
            [dir] if dir.is_literal() && dir.text.starts_with('/') => self.away |= plainly,
            // Home, or nobody knows where.
            _ => self.returns = true,
        }
    }

    /// Relative names that the shell and its programs open where the text began, or may have.
    pub(crate) fn name_here(&mut self) {
        for (command, away) in self.out.commands.iter().zip(&self.commands_away) {
            let Some((head, args)) = command.argv.split_first() else {
                continue;
            };
            if *away && !self.returns {
                continue;
            }
            let name = programs::name(&head.text);
            let names = opened(name, args);
            if !reads::only(name, &command.argv) {
                self.out.writes.here.extend(names.iter().cloned());
            }
            self.out.reads.here.extend(names);
        }
        for (redirect, away) in self.out.redirects.iter().zip(&self.redirects_away) {
            let text = &redirect.path.text;
            if *away && !self.returns || !redirect.path.is_literal() || !is_relative(text) {
                continue;
            }
            let files = match redirect.access {
                crate::Access::Read => &mut self.out.reads,
                crate::Access::Write | crate::Access::Append => &mut self.out.writes,
            };
            files.here.insert(text.clone());
        }
    }
}
