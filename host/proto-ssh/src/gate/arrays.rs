//! Variables that have become arrays in a gated shell.
//!
//! What `declare` and its like give to an array is read once more where it is in parentheses, and bash opens and computes
//! what stands there before it asks anybody. Whether it stands there is not known of `local x=$1`; whether `x` was made
//! an array before is, because every command that does so has been asked about. Functions of the login's own files are
//! none the worse for it: what is local to them is new each time.

use std::collections::BTreeSet;

use shell::{Command, Reading, Word};

/// Once there are more, any variable may be one.
const MAX_NAMES: usize = 1024;
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
        let text = String::from_utf8_lossy(text);
        let assigned = ["=(", "]=", "]+="].iter().any(|mark| text.contains(mark));
        if assigned || reading.commands.iter().any(makes) {
            let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in names.filter(|name| !name.is_empty()) {
                self.any |= self.names.len() >= MAX_NAMES;
                if !self.any {
                    self.names.insert(name.into());
                }
            }
        }
        None
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

fn makes(command: &Command) -> bool {
    let Some((head, args)) = command.argv.split_first() else {
        return false;
    };
    let option = |w: &Word| w.text.starts_with('-') && w.text.contains(['a', 'A', 'I']);
    match head.text.as_str() {
        "mapfile" | "readarray" => true,
        "read" | "declare" | "typeset" | "local" | "export" | "readonly" => args.iter().any(option),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use shell::Limits;

    use super::*;

    #[test]
    fn what_was_made_an_array_is_given_only_what_is_known() {
        let asks = |texts: &[&str]| {
            let mut arrays = Arrays::default();
            let judge = |text: &&str| {
                let reading = shell::read(text.as_bytes(), &Limits::default());
                arrays.judge(text.as_bytes(), &reading).is_some()
            };
            texts.iter().map(judge).collect::<Vec<_>>()
        };
        for made in [
            "read -a x <<< y",
            "read -ra x",
            "mapfile x < f",
            "readarray -t x < f",
            "local -a x",
            "declare -A x",
            "local -I x",
            "x=(a b)",
            "x+=(a)",
            "x[1]=a",
            "x[1]+=a",
        ] {
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
    }
}
