//! Whether a word of a command, or where it stands, could name the pipes of a gate: by any of the ways around that a
//! path has, and by a pattern. Rather too many than too few: nobody else has a reason to go there.

use super::Place;

/// What a path of the system says when the file is gone.
const GONE: &str = " (deleted)";
/// A gate's directory is this, and so many digits.
const NAME: &str = "weir-";
const DIGITS: usize = 32;
/// A path of more pieces, each of which may lead elsewhere, is one to nobody.
const MOST_PIECES: usize = 64;
/// Characters of patterns; those that are such only in front of a bracket stand among them.
const PATTERN: &str = "*?[]\\(){}|!+@^";
/// What stands in front of a path in one word, and behind it: `--file=PATH`, `HOST:PATH`, and texts of programs.
const AROUND: &[char] = &[
    '=', ':', ',', ';', '|', '&', '<', '>', '(', ')', '{', '}', '"', '\'', '`', ' ', '\t', '\n',
];

/// Some gate's directory is named in this text.
pub(super) fn names_a_gate(text: &str) -> bool {
    text.split(NAME).skip(1).any(|rest| {
        let digits = rest.bytes().take(DIGITS);
        digits.filter(u8::is_ascii_hexdigit).count() == DIGITS
    })
}

/// This word could be, or have in it, the path of something of a gate. `pattern`: the shell looks for files by it.
pub(super) fn reaches(word: &str, pattern: bool, place: &Place) -> bool {
    let whole = std::iter::once(word);
    whole.chain(word.split(AROUND)).any(|piece| {
        // `-f/tmp/…`
        let option = piece.starts_with('-').then(|| piece.find('/')).flatten();
        let behind = option.and_then(|at| piece.get(at..));
        [Some(piece), behind]
            .into_iter()
            .flatten()
            .any(|path| leads_there(path, pattern, place))
    })
}

/// What is in the directory of a gate, beside a pipe for each ask.
const INSIDE: [&str; 5] = ["ask", "main", "h", "e", "rc"];

/// Some pattern in this text of another channel would find what is in the directory of a gate. `directories`: where else
/// than at its beginning the shell may stand.
pub(super) fn finds(text: &str, directories: &[String]) -> bool {
    let said = |piece: &str| {
        let option = piece.starts_with('-').then(|| piece.find('/')).flatten();
        let path = option.and_then(|at| piece.get(at..)).unwrap_or(piece);
        has_pattern(path) && finds_one(path, directories)
    };
    // Expressions such as `/[^,]*/[^,]*/[^,]*` have no name of anything.
    let names = |piece: &str| piece.contains(|c: char| c.is_ascii_alphanumeric());
    let mut pieces = text.split(AROUND);
    pieces.any(said)
        || text.contains('[') && {
            let text = without_brackets(text);
            let mut pieces = text.split(AROUND);
            pieces.any(|piece| names(piece) && said(piece))
        }
}

/// With `?` for what stands in brackets within one name: it is one of many, whatever else the text is cut at.
fn without_brackets(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['[', '\\']) {
        let (before, begun) = rest.split_at(at);
        out.push_str(before);
        let (closed, end) = match begun.starts_with('[') {
            true => bracket(begun),
            // The next character means itself.
            false => (false, begun.chars().take(2).map(char::len_utf8).sum()),
        };
        let (piece, behind) = begun.split_at(end);
        out.push_str(if closed { "?" } else { piece });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// How far what begins with a bracket goes, and whether it ends in this name.
fn bracket(text: &str) -> (bool, usize) {
    let begin = text.strip_prefix('[').unwrap_or(text);
    let begin = begin.strip_prefix(['!', '^']).unwrap_or(begin);
    // The first one of those inside is no end.
    let begin = begin.strip_prefix(']').unwrap_or(begin);
    let from = text.len() - begin.len();
    // `[:alpha:]`, `[=e=]`, `[.x.]`
    let (mut class, mut last, mut skips) = (None, ' ', false);
    for (at, c) in begin.char_indices() {
        match c {
            _ if skips => skips = false,
            '/' => return (false, from + at),
            '\\' => skips = true,
            ':' | '=' | '.' if last == '[' && class.is_none() => class = Some(c),
            ']' if class == Some(last) => class = None,
            ']' => return (true, from + at + 1),
            _ => {}
        }
        last = c;
    }
    (false, text.len())
}

/// The same of a whole word.
pub(super) fn finds_one(path: &str, directories: &[String]) -> bool {
    let said = |text: &str| {
        let named = text.get(..NAME.len());
        named.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
            && Name {
                text,
                pattern: true,
            }
            .is_gate()
    };
    let rooted = path.starts_with('/') || path.split('/').any(|name| name == "..");
    path.split('/').any(said)
        || match rooted {
            true => finds_from_root(path),
            false => directories
                .iter()
                .any(|directory| finds_from_root(&format!("{directory}/{path}"))),
        }
}

fn finds_from_root(path: &str) -> bool {
    let names = canonical(path, true);
    // A bracket that ends in another name, or begins there, is one to be found (`[^/]`): no file of a gate has one.
    let half = |text: &&str| match (text.find('['), text.rfind(']')) {
        (None, None) => false,
        (Some(begin), Some(end)) => end < begin,
        _ => true,
    };
    // Nor one that ends in a backslash, which a word has not any more, and which in an expression is of the `/` behind it.
    // Nor one with what is a character of a name, unless a parenthesis follows: of an expression (`[0-9]+`).
    let counts = |name: &&str| {
        let first = name.find('[').and_then(|at| name.get(..at));
        let last = name.rfind(']').and_then(|at| name.get(at..));
        let around = [first.unwrap_or(name), last.unwrap_or_default()];
        !name.contains('(')
            && around
                .iter()
                .any(|text| text.contains(['+', '@', '!', '^', '|']))
    };
    if names
        .iter()
        .any(|name| half(name) || counts(name) || name.ends_with('\\'))
    {
        return false;
    }
    let names: Vec<Name<'_>> = names
        .iter()
        .map(|text| Name {
            text,
            pattern: true,
        })
        .collect();
    (0..names.len()).any(|at| {
        let root = |name: &Name<'_>| name.is("root") || name.is("cwd");
        let before = at.checked_sub(1).and_then(|at| names.get(at));
        let begins = before.is_none_or(|name| at > 1 && root(name));
        let rest = names.get(at..).unwrap_or_default();
        begins
            && matches!(rest, [tmp, gate, inside, ..] if tmp.is("tmp") && gate.is_gate() && inside.is_inside())
    })
}

/// In that directory, every name could be one.
pub(super) fn is_inside(directory: &str) -> bool {
    leads_there(&format!("{directory}/x"), false, &Place::default())
}

fn leads_there(path: &str, pattern: bool, place: &Place) -> bool {
    let path = path.strip_suffix(GONE).unwrap_or(path);
    if path.is_empty() {
        return false;
    }
    let here = path.strip_prefix("~+").unwrap_or(path);
    let (known, whole) = match (&place.directory, here) {
        _ if path.starts_with('/') => (true, path.to_owned()),
        (Some(directory), _) if !here.starts_with('~') => (true, format!("{directory}/{here}")),
        _ => (false, here.to_owned()),
    };
    let is_unsure = |name: &str| pattern && name.starts_with(['.', '[']) && has_pattern(name);
    // Some versions of bash find `..` by a pattern.
    let climbs = whole.split('/').any(is_unsure);
    let names = canonical(&whole, pattern);
    let names: Vec<Name<'_>> = names.iter().map(|text| Name { text, pattern }).collect();
    if names.iter().any(|n| n.is_gate() && !n.has_pattern()) {
        return true;
    }
    // Behind a link of the system (`/var/run`, `/dev/fd`), `..` leads elsewhere than the text says.
    let pieces: Vec<&str> = whole.split('/').collect();
    let ups = pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| **piece == "..");
    let behind = |at: usize| {
        let rest = pieces.get(at + 1..).unwrap_or_default().join("/");
        let names = canonical(&rest, pattern);
        let names: Vec<Name<'_>> = names.iter().map(|text| Name { text, pattern }).collect();
        (0..names.len()).any(|at| is_there(names.get(at..).unwrap_or_default()))
    };
    let many = pieces.len() > MOST_PIECES && pieces.contains(&"..");
    if many || ups.take(MOST_PIECES).any(|(at, _)| behind(at)) {
        return true;
    }
    if known && !climbs {
        return is_there(&names);
    }
    let from = |at: usize| names.get(at..).unwrap_or_default();
    names.iter().any(|n| n.is_gate()) || (0..names.len()).any(|at| is_there(from(at)))
}

/// Without what leads nowhere.
fn canonical(path: &str, pattern: bool) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            // A pattern may stand for the way up.
            _ if pattern && name.starts_with("..") && has_pattern(name) => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

#[derive(Clone, Copy)]
struct Name<'a> {
    text: &'a str,
    pattern: bool,
}

impl Name<'_> {
    fn has_pattern(&self) -> bool {
        self.pattern && has_pattern(self.text)
    }

    fn is(&self, name: &str) -> bool {
        if !self.has_pattern() {
            return self.text == name;
        }
        let text = self.text.to_ascii_lowercase();
        let (first, last) = ends(&text);
        text.contains('(') || name.starts_with(first) && name.ends_with(last)
    }

    /// Of something in a gate's directory.
    fn is_inside(&self) -> bool {
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let text = self.text.to_ascii_lowercase();
        let (first, last) = match self.has_pattern() {
            true => ends(&text),
            false => (&*text, ""),
        };
        let of_an_ask = first.is_empty() || first.strip_prefix('s').is_some_and(digits);
        INSIDE.iter().any(|name| self.is(name)) || of_an_ask && digits(last)
    }

    /// Of a gate.
    fn is_gate(&self) -> bool {
        if !self.has_pattern() {
            return names_a_gate(self.text);
        }
        let text = self.text.to_ascii_lowercase();
        let (first, _) = ends(&text);
        let digit = |c: char| c.is_ascii_hexdigit();
        let begins = match first.strip_prefix(NAME) {
            Some(digits) => digits.chars().all(digit),
            None => NAME.starts_with(first),
        };
        // What stands in brackets is one of many, and behind a round one it may be what is not to be there.
        let mut inside = false;
        let fits = text.chars().all(|c| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => {}
            }
            inside || PATTERN.contains(c) || NAME.contains(c) || digit(c)
        });
        text.contains('(') || begins && fits
    }
}

fn has_pattern(name: &str) -> bool {
    name.contains(|c| PATTERN.contains(c))
}

/// What a name certainly begins and ends with.
fn ends(name: &str) -> (&str, &str) {
    let special = |c| PATTERN.contains(c);
    let first = name.split(special).next().unwrap_or_default();
    let last = name.rsplit(special).next().unwrap_or_default();
    (first, last)
}

/// From the root on.
fn is_there(names: &[Name<'_>]) -> bool {
    match names {
        [tmp, gate, ..] if tmp.is("tmp") && gate.is_gate() => true,
        [dev, fd, number, rest @ ..] if dev.is("dev") && fd.is("fd") => {
            !(rest.is_empty() && ["0", "1", "2"].contains(&number.text))
        }
        [proc, whose, rest @ ..] if proc.is("proc") => {
            // Of other processes those may be a gate's, too: its own, or those of a shell that asks.
            let own = |n: &Name<'_>| whose.text == "self" && ["0", "1", "2"].contains(&n.text);
            // `task/N/` may stand there, too.
            let rest = rest.get(..4).unwrap_or(rest);
            let through = |n: &Name<'_>| n.is("fd") || n.is("cwd") || n.is("root");
            let at = rest.iter().position(through);
            let behind = at.and_then(|at| rest.get(at..)).unwrap_or_default();
            match behind {
                [fd, number] if fd.text == "fd" => !own(number),
                [_, _, ..] => true,
                _ => rest.iter().any(|n| n.is("mem")),
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: &str = "weir-0123456789abcdef0123456789abcdef";

    fn at(directory: Option<&str>) -> Place {
        Place {
            directory: directory.map(str::to_owned),
            open: Vec::new(),
        }
    }

    #[test]
    fn every_way_to_a_gate_is_one() {
        let mut wrong = Vec::new();
        for (directory, word) in [
            ("/srv", "/tmp/@/ask"),
            ("/srv", "//tmp/./x/..//@"),
            ("/srv", "../tmp/@/main"),
            ("/srv", "/var/run/../tmp/we*/ask"),
            ("/var/run", "../tmp/we*/ask"),
            ("/srv", "/dev/fd/../root/tmp/w*/ask"),
            ("/srv", "/dev/fd/../root/dev/fd/7"),
            ("/srv", "x/../../var/run/../tmp/*/*"),
            ("/srv/a", "../../@"),
            ("/", "tmp/@"),
            ("/tmp", "@/ask"),
            ("/tmp", "./@/ask"),
            ("/tmp", "~+/we*/ask"),
            ("/srv", "~/../@"),
            ("/srv", "~/../../tmp/we*/ask"),
            ("/srv", "--file=/tmp/we*/ask"),
            ("/srv", "-f/tmp/we*/ask"),
            ("/srv", "host:/tmp/@/ask"),
            ("/srv", "open('/tmp/@/ask')"),
            ("/srv", "/tmp/@/ask (deleted)"),
            ("/srv", "/tmp/weir-*/ask"),
            ("/srv", "/t?p/*/ask"),
            ("/srv", "/*/*/ask"),
            ("/srv", "/tmp/[w]*"),
            ("/srv", "/tmp/[!a]*/a*"),
            ("/srv", "/tmp/WEIR*/ask"),
            ("/srv", "/tmp/*a/ask"),
            ("/srv", "/tmp/!(x)/ask"),
            ("/srv", "/tmp/x/..*/we*"),
            ("/srv", "/tmp/x/.*/we*/ask"),
            ("/tmp", "*"),
            ("/tmp", "w*/ask"),
            ("/", "*/*"),
            ("/", "tmp/*/ask"),
            ("/srv", "/var/lib/@"),
            ("/srv", "/proc/self/cwd/we*"),
            ("/proc", "self/root/tmp/x"),
            ("/srv", "/proc/self/fd/7"),
            ("/srv", "/proc/12/task/12/fd/64"),
            ("/srv", "/proc/self/fd/*"),
            ("/srv", "/pr*/self/f?/3"),
            ("/srv", "/dev/fd/3"),
            ("/srv", "/dev/fd/03"),
            ("/dev", "fd/64"),
            ("/srv", "/dev/./fd/../fd/10"),
            ("/srv", "/proc/1/mem"),
            ("/srv", "/proc/12/fd/0"),
            ("/proc/12", "fd/1"),
            ("/srv", "/proc/sel?/fd/0"),
        ] {
            let word = word.replace('@', GATE);
            if !reaches(&word, true, &at(Some(directory))) {
                wrong.push((directory, word));
            }
        }
        for word in ["*", "we*/ask", "../*/*", "~/../*"] {
            if !reaches(word, true, &at(None)) {
                wrong.push(("?", word.to_owned()));
            }
        }
        assert!(wrong.is_empty(), "not seen: {wrong:?}");
    }

    #[test]
    fn what_people_write_is_none() {
        let mut wrong = Vec::new();
        for (directory, word, pattern) in [
            ("/srv", "/tmp/x", false),
            ("/srv", "/tmp/*.c", true),
            ("/srv", "/tmp/*foo*", true),
            ("/tmp", "*.log", true),
            ("/tmp", "a", false),
            ("/tmp", "*", false),
            ("/tmp/x", "*", true),
            ("/srv", "*", true),
            ("/", "*", true),
            ("/srv", "/*", true),
            ("/srv", "/home/*/*", true),
            ("/srv", "/var/*/x", true),
            ("/srv", "/opt/weir-proxy/weir-1.2.tar.gz", false),
            ("/tmp", "weir-build/x", false),
            ("/srv", "/dev/fd/2", false),
            ("/srv", "/proc/self/fd", false),
            ("/srv", "/proc/self/fd/1", false),
            ("/srv", "/proc/12/status", false),
            ("/srv", "/proc/*/status", true),
            ("/srv", "/proc/meminfo", false),
            ("/srv", "-rf", false),
            ("/srv", "s/a/b/", false),
            ("/srv", "http://x/tmp", false),
            ("/srv", "~/x*", true),
            ("/srv", ".*", true),
            ("/srv", "", false),
        ] {
            if reaches(word, pattern, &at(Some(directory))) {
                wrong.push((directory, word));
            }
        }
        assert!(wrong.is_empty(), "too much: {wrong:?}");
        assert!(is_inside(&format!("/tmp/{GATE}")) && is_inside("/proc/7/fd"));
        assert!(!is_inside("/tmp") && !is_inside("/") && !is_inside("/proc/7"));
    }

    #[test]
    fn other_channels_find_no_gate_by_a_pattern() {
        let stands = |directory: &str| vec![directory.to_owned()];
        let mut wrong = Vec::new();
        for (directory, text, expect) in [
            ("", "cat /tmp/weir-*/ask", true),
            ("", "cat /tmp/weir-*", true),
            ("", "cat /tmp/WEIR-*/x", true),
            ("", "cat /tmp/weir-0*/ask", true),
            ("", "cat /tmp/we*/ask", true),
            ("", "cat /tmp/w?ir-*/main", true),
            ("", "cat /tmp/*/ask", true),
            ("", "cat /tmp/*/*", true),
            ("", "cat /t?p/*/a*", true),
            ("", "cat /*/*/ask", true),
            ("", "cat /tmp/*/s*", true),
            ("", "cat /tmp/[w]*/h/0", true),
            ("", "cat /tmp/x/../*/ask", true),
            ("", "cat /proc/1/root/tmp/*/ask", true),
            ("", "cat /proc/*/cwd/tmp/*/ask", true),
            ("", "cat ../tmp/*/ask", true),
            ("", "cat ~/../../tmp/*/ask", true),
            ("", "cat weir-*/ask", true),
            ("", "cat --file=/tmp/*/ask", true),
            ("", "cat -f/tmp/*/ask", true),
            ("", "for f in /tmp/*/ask; do cat $f; done", true),
            ("", "python3 -c 'glob(\"/tmp/*/ask\")'", true),
            ("", "cat ${x:-/tmp/[[:alpha:]]*/ask}", true),
            ("", "read x <<< '/tmp/[[:alpha:]]*/ask'", true),
            ("", "set -- '/tmp/[,w]*/ask'; cat $1", true),
            ("", "x='/tmp/[,w'; cat $x]*/ask", true),
            ("", "f '/tmp/[!],]*/ask'", true),
            ("", "f '/tmp/[],w]*/ask'", true),
            ("", "f '/tmp/[[=w=],]*/ask'", true),
            ("", "f '/tmp/[[.w.][:digit:],]*/ask'", true),
            ("", "f '/tmp/[\\],w]*/ask'", true),
            ("", "f '/[ t]mp/[; w]*/[, a]sk'", true),
            ("", "[ -n weir-* ]", true),
            ("", "[[ -n $x ]] && [ -f a ] && cat */ask", false),
            ("", "grep -o 'GET /[^ ]*/[^ ]*/[^ ]*' access.log", false),
            ("", "sed 's|/[^,]*/[^,]*/[^,]*|x|'", false),
            (
                "",
                "grep -o '/[[:alnum:]]*/[[:alnum:]]*/[[:alnum:]]*'",
                false,
            ),
            ("", "f '/tmp/[^,]+/ask'", false),
            ("", "f '/tmp/[,b]uild*/main'", false),
            ("", "f '\\[/tmp/a,]*/ask'", false),
            ("/tmp", "cat */ask", true),
            ("/tmp", "cat ./*/*", true),
            ("", "cat */ask", false),
            ("", "cat */main.c", false),
            ("", "ls /tmp/*", false),
            ("", "rm -rf /tmp/weirdo*", false),
            ("", "ls /tmp/weird/*", false),
            ("", "ls /tmp/weir-build-*/x", false),
            ("", "ls /tmp/weir-*.log", false),
            ("", "tar x weir-*.tar.gz", false),
            ("", "cat /tmp/*/*.log", false),
            ("", "cat /tmp/*.c", false),
            ("", "cat /tmp/build-*/main", false),
            ("", "cat /home/*/*/ask", false),
            ("", "cat /var/tmp/*/ask", false),
            ("", "cat /srv/tmp/*/ask", false),
            ("/srv", "cat */ask", false),
            ("/tmp", "rm *.o", false),
        ] {
            if finds(
                text,
                &stands(directory)[usize::from(directory.is_empty())..],
            ) != expect
            {
                wrong.push((directory, text, expect));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// A word may be as long as a command: it is looked at a few times, not once for each of its places.
    #[test]
    fn long_words_take_no_time() {
        let long = "/tmp/x=".repeat(16 << 10);
        let took = crate::testing::processor_time(|| {
            reaches(&long, true, &at(Some("/srv")));
            reaches(&"../*/".repeat(24 << 10), true, &at(None));
            finds(&"../*/".repeat(24 << 10), &[]);
            finds(&"*/x ".repeat(16 << 10), &["/tmp".to_owned()]);
        });
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }
}
