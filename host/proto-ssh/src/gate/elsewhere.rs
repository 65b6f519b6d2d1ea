//! What other channels are kept from: the pipes of gated shells, which belong to the same login. As far as text tells; who
//! looks for them in other ways finds pipes whose verdicts are sealed.

use shell::{Reading, Word};

use super::paths;
use crate::action::What;

const REACHES: &str = "this could reach the gate of a shell, which is not to be touched: name the files that it is about";
/// Directories to which a command line goes, of which patterns in it are looked at, and how long their names are.
const MOST: usize = 4;
const LONGEST: usize = 64;

/// Why this is refused whatever policy says.
pub(crate) fn reaches_a_gate(what: &What) -> Option<&'static str> {
    let reaches = match what {
        What::Exec { line, .. } => return line.reaches,
        What::File(request) => {
            let named = |raw: &[u8]| paths::names_a_gate(&String::from_utf8_lossy(raw));
            let paths = request.paths.iter();
            named(&request.raw) || paths.map(|asked| asked.path.text.as_bytes()).any(named)
        }
        What::DirectSocket { path } | What::ListenSocket { path } => {
            paths::names_a_gate(&String::from_utf8_lossy(path))
        }
        _ => false,
    };
    reaches.then_some(REACHES)
}

/// The same of a command line, or of a script that one runs; of what no shell reads there is no reading.
pub(crate) fn text_reaches(text: &[u8], reading: Option<&Reading>) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let directories = reading.map(goes_to).unwrap_or_default();
    let reaches = |text: &str, pattern: bool| {
        paths::names_a_gate(text) || pattern && paths::finds(text, &directories)
    };
    let word = |reading: &Reading| {
        let words = reading.commands.iter().flat_map(|c| &c.argv);
        let set = reading.commands.iter().flat_map(|c| &c.env);
        let opened = reading.redirects.iter().map(|r| &r.path);
        let mut words = words.chain(set.map(|(_, value)| value)).chain(opened);
        // Within brackets, what pieces are cut at is one of many.
        let named = words.any(|word| {
            reaches(&word.text, word.glob)
                || word.glob && paths::finds_one(&word.text, &directories)
        });
        // Where it is used it may be a pattern, whose backslashes mean nothing to some shells.
        let later = |word: &Word| {
            paths::finds_one(&word.text, &directories)
                || paths::finds_one(&word.text.replace('\\', ""), &directories)
        };
        named || reading.values.iter().any(later)
    };
    let goes = |reading: &Reading| {
        let mut patterns = targets(reading).filter(|word| word.glob);
        patterns.any(|word| paths::finds_one(&format!("{}/ask", word.text), &directories))
    };
    let reads = |reading: &Reading| word(reading) || goes(reading);
    (reaches(&text, true) || reading.is_some_and(reads)).then_some(REACHES)
}

/// Where it goes to by names that are written out. A long one, and one of many, may be either of those from which a
/// pattern finds a gate.
fn goes_to(reading: &Reading) -> Vec<String> {
    let mut to: Vec<String> = Vec::new();
    for target in targets(reading) {
        let known = to.len() < MOST && target.text.len() <= LONGEST;
        let text = target.text.trim_end_matches('/');
        let up = text.strip_suffix("tmp").map(|up| up.trim_end_matches('/'));
        // From the root, or from some place below it.
        let ups = up.is_some_and(|up| match up {
            "" | "." => to.iter().any(|one| one == "/"),
            up => up.split('/').all(|name| name == ".."),
        });
        let named = [target.text.as_str()];
        let directories = match target.text.starts_with('/') {
            true if known => &named[..],
            true => &["/", "/tmp"][..],
            false if ups => &["/tmp"][..],
            false => continue,
        };
        for directory in directories {
            if !to.iter().any(|one| one == directory) {
                to.push((*directory).to_owned());
            }
        }
    }
    to
}

/// What `cd` and its like are given.
fn targets(reading: &Reading) -> impl Iterator<Item = &Word> {
    reading.commands.iter().filter_map(|command| {
        let (head, args) = command.argv.split_first()?;
        let moves = matches!(head.text.as_str(), "cd" | "pushd");
        args.iter()
            .find(|word| moves && !word.text.starts_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use shell::Limits;

    use super::*;

    const GATE: &str = "weir-0123456789abcdef0123456789abcdef";

    #[test]
    fn command_lines_that_reach_a_gate_are_seen() {
        let mut wrong = Vec::new();
        for (text, expect) in [
            ("cat /tmp/@/ask", true),
            ("cat '/tmp/'@/ask", true),
            (
                "cat /tmp/we\"\"ir-0123456789abcdef0123456789abcdef/ask",
                true,
            ),
            ("cat /tmp/we\\ir-*/ask", true),
            ("cat /tmp/we''ir-*/ask", true),
            ("sudo -u x cat < /tmp/@/main", true),
            ("echo x > /tmp/*/ask", true),
            ("bash -c 'cat /tmp/*/ask'", true),
            ("cd /tmp && cat */ask", true),
            ("cd -P /tmp/x/.. ; cat w*/ask", true),
            ("cd /; cat tmp/*/ask", true),
            ("scp -f /tmp/@/ask", true),
            ("scp -f /tmp/weir-*/ask", true),
            ("rsync --server --sender . /tmp/@/", true),
            ("python3 -c 'open(\"/tmp/@/ask\")'", true),
            ("x=/tmp/@/ask cat", true),
            ("cd /a; cd /b; cd /c; cd /d; cd /tmp; cat */ask", true),
            ("cat /tmp/[[:alpha:]]*/ask", true),
            ("cat /tmp/[,w]*/ask", true),
            ("cat /tmp/w[[=e=]]ir-*/ask", true),
            ("cd /tmp; cat [[:alpha:]]*/ask", true),
            ("cat /tmp/[w]*/ask", true),
            ("cat /[t]mp/[!a-z]*/[a]sk", true),
            ("cat /x[/../tmp/*/ask", true),
            ("for f in /tmp/[[:alpha:]]*/ask; do cat \"$f\"; done", true),
            ("for f in /tmp/[,w]*/ask; do cat \"$f\"; done", true),
            ("x='/tmp/[[:alpha:]]*/ask'; cat $x", true),
            ("x=/tmp/[,w]*/ask; cat $x", true),
            (
                "x=/tmp/[,w]*/ask ls; bash -c 'y=/tmp/[,w]*/ask; cat $y'",
                true,
            ),
            (r#"sh -c 'x="/tmp/*\/ask"; cat $x'"#, true),
            ("cd /tmp/*r-* && cat ask", true),
            ("read x <<< '/tmp/[[:alpha:]]*/ask'; cat $x", true),
            ("export x='/tmp/[[:alpha:]]*/ask'; cat $x", true),
            ("export x=/tmp/[,w]*/ask; cat $x", true),
            ("cat ${x:-/tmp/[[:alpha:]]*/ask}", true),
            ("set -- '/tmp/[,w]*/ask'; cat $1", true),
            ("f() { cat $1; }; f '/tmp/[,w]*/ask'", true),
            ("bash -c 'cat $1' x '/tmp/[,w]*/ask'", true),
            ("x='/tmp/[,w'; cat $x]*/ask", true),
            ("grep -o 'GET /[^ ]*/[^ ]*/[^ ]*' access.log", false),
            ("cd /tmp/[,w]*; cat ask", true),
            ("cd /; cd tmp; cat */ask", true),
            ("cd /; cd ./tmp/; cat */ask", true),
            ("cd ../tmp; cat */ask", true),
            ("cd tmp && rm -rf */*", false),
            ("cd /srv/app; cd tmp && rm -rf */*", false),
            ("cd /srv/release-* && ls */*", false),
            ("cd /tmp/build-*; make", false),
            (
                "for f in /srv/[[:alpha:]]*/x.conf; do cat \"$f\"; done",
                false,
            ),
            ("for i in 1 2 a,b *.c; do ls /tmp/$i; done", false),
            ("re='^[^/]+/[^/]+$'; fmt='%s/%s/%s\\n'; ls", false),
            ("p=$HOME/*; u=https://h/a?b=[c]; d=/var/*/x; ls", false),
            ("grep -rE 'https?://[a-z]+/[a-z]+/[a-z]+' .", false),
            ("grep -E '/[0-9]+/[0-9]+/[0-9]+' access.log", false),
            ("sed -E 's|/[a-z]+/[a-z]+/[a-z]+|X|' f", false),
            (r"grep -oP '/\w+/\w+/\w+' f", false),
            (r"perl -ne 'print if m{/\d+/\d+/\d+}' f", false),
            ("awk '$0 ~ \"/[0-9]+/[0-9]+/[0-9]+\"' f", false),
            ("cat /tmp/[]+w]*/ask", true),
            ("find / -regex '/tmp/weir-[0-9a-f]+/ask'", true),
            ("grep -oE 'https?://[^/]+/[^/]+' access.log", false),
            ("sed -E 's|/[^/]*/[^/]*$||' f", false),
            (r"awk '/^\/[a-z]+\/[a-z]+\//' f", false),
            ("cat /tmp/[[:alpha:]]*.log", false),
            ("ls /srv/[[:digit:]]*/x/*", false),
            ("cat /tmp/weirdo", false),
            ("ls /tmp", false),
            ("ls /tmp/*", false),
            ("cd /tmp && rm -f *.log", false),
            ("cd /srv && cat */ask", false),
            ("tar xf weir-1.2.tar.gz -C /opt/weir-1.2", false),
            ("cat < /dev/fd/3", false),
            ("rsync --server . /srv/weir-data/", false),
        ] {
            let text = text.replace('@', GATE);
            let reading = shell::read(text.as_bytes(), &Limits::default());
            if text_reaches(text.as_bytes(), Some(&reading)).is_some() != expect {
                wrong.push((text, expect));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        let code = format!("print(open('/tmp/{GATE}/ask').read())");
        assert!(text_reaches(code.as_bytes(), None).is_some());
        assert!(text_reaches(b"print(open('/tmp/weirdo/ask').read())", None).is_none());
    }

    /// It is looked at where it is read, however long it is.
    #[test]
    fn long_scripts_take_no_time() {
        let text = "cat */a /tmp/*x/y; ".repeat(20 << 10);
        let (far, stars) = ("a/".repeat(32_000), "* ".repeat(31_000));
        let goes = format!("cd /{far}\ncat <<E\n{stars}\nE\n");
        let reading = shell::read(goes.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque());
        let took = crate::testing::processor_time(|| {
            assert!(text_reaches(text.as_bytes(), None).is_none());
            text_reaches(goes.as_bytes(), Some(&reading));
        });
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}
