//! Variables that have become arrays in a gated shell.
//!
//! What `declare` and its like give to an array is read once more where it is in parentheses, and bash opens and computes
//! what stands there before it asks anybody. Whether it stands there is not known of `local x=$1`; whether `x` was made
//! an array before is, because every command that does so has been asked about. Functions of the login's own files are
//! none the worse for it: what is local to them is new each time.
//!
//! `x=(…)` and `x[0]=…` are refused, and so is what is computed with subscripts within the words of a simple command
//! (`reading`), and names with a subscript (`builtins`). What is left are the builtins that make arrays of whole names,
//! and compound commands that compute. Their names alone count: other text (`awk '{c[$1]+=1}'`) makes no array.

use std::collections::BTreeSet;

use shell::{Command, Reading, Word};

use super::{builtins, reading};

/// Once there are more, or one is longer, any variable may be one.
const MAX_NAMES: usize = 1024;
const MAX_NAME: usize = 64;
pub(crate) const ARRAYS: &str = "what is given to an array is computed before anybody is asked about it: \
     in a gated shell, local variables that were made arrays are given only what is known";

#[derive(Debug, Default)]
pub(crate) struct Arrays {
    names: BTreeSet<Box<str>>,
    any: bool,
}

impl Arrays {
    /// Is this command refused? If not, it may make arrays itself.
    pub fn judge(&mut self, text: &[u8], reading: &Reading) -> Option<&'static str> {
        if reading.commands.iter().any(|command| self.gives(command)) {
            return Some(ARRAYS);
        }
        for command in &reading.commands {
            makes(command).into_iter().for_each(|name| self.add(name));
        }
        if reading::is_compound(text) {
            let bare = String::from_utf8_lossy(text).replace(['"', '\'', '\\'], "");
            elements(&bare).for_each(|name| self.add(name));
        }
        None
    }

    fn add(&mut self, name: &str) {
        let room = self.names.len() < MAX_NAMES && name.len() <= MAX_NAME;
        self.any |= !room && !self.names.contains(name);
        if !self.any {
            self.names.insert(name.into());
        }
    }

    fn gives(&self, command: &Command) -> bool {
        let Some((head, args)) = command.argv.split_first() else {
            return false;
        };
        let gives = |word: &Word| {
            let (name, _) = word.text.split_once('=').unwrap_or_default();
            word.begins_unknown() && (self.any || self.names.contains(name.trim_end_matches('+')))
        };
        head.text == "local" && args.iter().any(gives)
    }
}

/// The names of which this makes arrays.
fn makes(command: &Command) -> Vec<&str> {
    let Some((head, args)) = command.argv.split_first() else {
        return Vec::new();
    };
    let option = |w: &Word| w.text.starts_with('-') && w.text.contains(['a', 'A']);
    let head = head.text.as_str();
    let makes = match head {
        "mapfile" | "readarray" => true,
        "read" | "declare" | "typeset" | "local" | "export" | "readonly" => args.iter().any(option),
        _ => false,
    };
    if !makes {
        return Vec::new();
    }
    let name =
        |text| str::split_once(text, '=').map_or(text, |(name, _)| name.trim_end_matches('+'));
    let names = builtins::names_set(head, args).into_iter().map(name);
    names.filter(|name| builtins::is_name(name)).collect()
}

/// `x` of `x[…]`, wherever it stands.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    let name = |(at, _)| {
        let before = text.get(..at)?;
        let rest = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        before.get(rest.len()..).filter(|name| !name.is_empty())
    };
    text.match_indices('[').filter_map(name)
}

#[cfg(test)]
mod tests {
    use shell::Limits;

    use super::super::Place;
    use super::*;

    fn refused(text: &str) -> bool {
        let reading = shell::read(text.as_bytes(), &Limits::default());
        let place = Place {
            directory: Some("/srv".to_owned()),
            open: Vec::new(),
        };
        reading::about_the_gate(text.as_bytes(), &place, "/tmp/weir-x", &reading).is_some()
    }

    /// One after the other.
    fn asks(texts: &[&str]) -> Vec<bool> {
        let mut arrays = Arrays::default();
        let judge = |text: &&str| {
            let reading = shell::read(text.as_bytes(), &Limits::default());
            arrays.judge(text.as_bytes(), &reading).is_some()
        };
        texts.iter().map(judge).collect()
    }

    #[test]
    fn what_was_made_an_array_is_given_only_what_is_known() {
        for made in [
            "read -a x <<< y",
            "read -ra x",
            "mapfile x < f",
            "readarray -t x < f",
            "local -a x",
            "declare -A x",
            "read -rax",
            "read -ap y x",
            "export -a x=y",
            "command read -a x",
            "((x[0]=1))",
            "((y, x[0]++))",
            "((x\"[\"0]=1))",
            "[[ x[0]++ -eq 0 ]]",
            "case ${x[0]:=a} in ",
            "for i in ${x[0]:=a}",
        ] {
            assert!(!refused(made), "{made}");
            assert_eq!(
                asks(&["local x=$y", made, "local x=$y"]),
                [false, false, true],
                "{made}"
            );
            assert_eq!(
                asks(&[made, "local x+=\"$1\"", "local -r y x=`id`"]),
                [false, true, true]
            );
            assert_eq!(
                asks(&[made, "local z=$y", "export x=$y", "local x=a$y"]),
                [false; 4]
            );
        }
        let many: Vec<String> = (0..=MAX_NAMES).map(|n| format!("read -a x{n}")).collect();
        let mut all: Vec<&str> = many.iter().map(String::as_str).collect();
        all.push("local other=$1");
        assert_eq!(asks(&all).last(), Some(&true));
        let long = format!("read -a {}", "x".repeat(MAX_NAME + 1));
        assert_eq!(asks(&[&long, "local other=$1"]), [false, true]);
    }
    /// Text that is no name of a variable makes no array, whatever it looks like; nor is there an end to how much there is
    /// of it.
    #[test]
    fn other_text_makes_no_arrays() {
        let many: String = (0..2 * MAX_NAMES).map(|n| format!(" x{n}[0]=1")).collect();
        let many = format!("echo '{many}'");
        for text in [
            "awk '{c[$1]+=1} END {for (name in c) print name, c[name]}' f",
            "awk '{name[$1]+=1}' f",
            "curl 'x?a[]=1&name=2'",
            "curl 'x?name[]=1'",
            "helm --set name[0]=b",
            "echo 'f=(name)' 'name=(a)'",
            "printf '%s\\n' 'name[0]=(name)'",
            "[[ a =~ [ab]=(name) ]]",
            "read -p name -a other",
            "read -a other -p 'name[0]'",
            "declare -ga other=name",
            "local -ar other",
            "read name",
            "declare -r name",
            many.as_str(),
        ] {
            for given in ["local name=$1", "local r=$1"] {
                assert_eq!(asks(&[text, given]), [false; 2], "{text} {given}");
            }
        }
    }

    /// An element makes an array of what was none, within whatever it is named.
    #[test]
    fn elements_are_not_set() {
        let mut wrong = Vec::new();
        for text in [
            "x=(a b)",
            "x+=(a)",
            "x[1]=a",
            "x[1]+=a",
            "x[1]=a ls",
            "local x=(a)",
            "local 'x=(a)=(b)'",
            "local 'x+=(a)'",
            "declare x[0]=a",
            "declare 'x[0]=a'",
            "local 'x[3]'",
            "export 'x[0]'",
            "readonly 'x[0]+=a'",
            "typeset -g \"x[0]=$y\"",
            "read 'x[0]'",
            "read -r y x\\[0]",
            "read -ra 'x[0]'",
            "read -ra'x[0]'",
            "read -p '[y/n]' 'x[0]'",
            "mapfile -n 1 'x[0]'",
            "readarray 'x[0]'",
            "printf -v 'x[0]' a",
            "printf -v'x[0]' a",
            "printf -v y -v 'x[0]' a",
            "printf -v y -v $x a",
            "printf -v y %n 'x[0]'",
            "printf %n 'x[0]'",
            "printf -- %n 'x[0]'",
            "printf -- %n $x",
            "getopts a 'x[0]'",
            "let '++x[1]'",
            "let '-x[0]++'",
            "wait -p 'x[0]'",
            "wait -p'x[0]'",
            "builtin printf -v 'x[0]' a",
            "echo $((x[0]=1))",
            "echo $[x[0]=1]",
            "echo ${x[0]:=a}",
            "echo ${y:x[0]=1}",
            "ls > ${x[0]:=a}",
            "exec {x[0]}> /dev/null",
        ] {
            if !refused(text) {
                wrong.push(("not refused", text));
            }
        }
        for text in [
            "read -rp 'Sure? [y/N] ' answer",
            "read -p'[y/N]' answer",
            "mapfile -td ':' x",
            "local x='[a]'",
            "local url='http://x/?q=(a)'",
            "declare msg='f(x)=(y)'",
            "export 'PS1=[\\u] '",
            "printf '[%s]' a",
            "printf -v x '[%s]' a",
            "printf -v x %s 'a[0]'",
            "printf -- '[%s]' 'a[0]'",
            "let x+=1",
        ] {
            if refused(text) {
                wrong.push(("refused", text));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
