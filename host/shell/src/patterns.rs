//! Words that look like names of files and are none: what `find` compares names with, what `grep` looks for, and
//! what `jq` picks.

use crate::reading::{Command, Word};
use crate::{descend, programs, reads};

/// What stands behind these is compared with names.
const COMPARED: &[&str] = &[
    "-ilname",
    "-iname",
    "-ipath",
    "-iregex",
    "-iwholename",
    "-lname",
    "-name",
    "-path",
    "-regex",
    "-wholename",
];
/// They show names that they are sent, and open none of them.
const SHOW: &[&str] = &["cut", "grep", "head", "sort", "tail", "tr", "uniq", "wc"];
/// Options of jq that take no other word.
const JQ_FLAGS: &str = "acCeMnrsSj";

/// Nothing in it opens a file that another of its commands has found.
pub(crate) fn only_tell(commands: &[Command]) -> bool {
    commands.iter().all(|command| {
        let Some((head, args)) = command.argv.split_first() else {
            return true;
        };
        let name = programs::name(&head.text);
        let found = |w: &Word| !w.is_literal() || w.text.starts_with("--files");
        head.is_literal()
            && reads::only(name, &command.argv)
            && (name == "find" || SHOW.contains(&name) && !args.iter().any(found))
    })
}

/// The words of a program that only reads, without those that are no files. `tell`: see `only_tell`.
pub(crate) fn without<'a>(name: &str, args: &'a [Word], tell: bool) -> Vec<&'a Word> {
    let leaves = match name {
        "find" if tell => {
            let mut before = "";
            return args
                .iter()
                .filter(|word| {
                    let compared = COMPARED.contains(&before);
                    before = &word.text;
                    !compared
                })
                .collect();
        }
        "jq" => filter(args),
        _ => descend::pattern(name, args),
    };
    args.iter()
        .filter(|word| !leaves.is_some_and(|left| std::ptr::eq(left, *word)))
        .collect()
}

/// Without a text in it, that could name a module of jq's.
fn filter(args: &[Word]) -> Option<&Word> {
    let known = |w: &&Word| {
        w.text.strip_prefix('-').is_some_and(|cluster| {
            !cluster.is_empty() && cluster.chars().all(|c| JQ_FLAGS.contains(c))
        })
    };
    let before = args.iter().take_while(known).count();
    args.get(before)
        .filter(|w| w.is_literal() && !w.text.starts_with('-') && !w.text.contains(['"', '/']))
}

#[cfg(test)]
mod tests {
    use crate::{Limits, read};

    #[test]
    fn words_that_are_no_files() {
        for (text, word, named) in [
            ("jq .key a.json", ".key", false),
            ("jq -r .data.key a.json", ".data.key", false),
            ("jq --arg x .key . a.json", ".key", true),
            ("jq . site.key", "site.key", true),
            ("jq -r . site.key", "site.key", true),
            ("jq -f x.key a.json", "x.key", true),
            (
                "jq 'import \"x.key\" as $d; .'",
                "import \"x.key\" as $d; .",
                true,
            ),
            ("find /srv -name '*.pem'", "*.pem", false),
            ("find /srv -iname '*.pem' | sort | head -n1", "*.pem", false),
            ("find /srv/x.pem -name a", "/srv/x.pem", true),
            ("find /srv -name '*.pem' -exec cat {} +", "*.pem", true),
            ("find /srv -name '*.pem' | xargs cat", "*.pem", true),
            ("find /srv -name '*.pem' -fprint x", "*.pem", true),
            ("find /srv -name '*.pem' -delete", "*.pem", true),
            ("cat $(find /srv -name '*.pem')", "*.pem", true),
            ("head -n9 $(find /srv -name '*.pem')", "*.pem", true),
            ("find . -name '*.pem' | wc --files0-from=-", "*.pem", true),
            ("find . -name '*.pem' | sort --files0-from=-", "*.pem", true),
            ("find . -name '*.pem' | cpio -o", "*.pem", true),
            (
                "find . -name x.pem | while read f; do cat \"$f\"; done",
                "x.pem",
                true,
            ),
            ("grep -rn .pem /srv/app", ".pem", false),
            ("grep x.pem /srv/app", "x.pem", false),
            ("grep -e x /srv/x.pem", "/srv/x.pem", true),
            ("grep -f x.pem a", "x.pem", true),
            ("grep -rf x.pem a", "x.pem", true),
            ("grep -m x.pem y.pem", "y.pem", true),
            ("grep x y.pem", "y.pem", true),
            ("./grep y.pem x", "y.pem", true),
        ] {
            let paths = read(text.as_bytes(), &Limits::default()).reads.paths;
            assert_eq!(paths.contains(word), named, "{text}: {paths:?}");
        }
    }
}
