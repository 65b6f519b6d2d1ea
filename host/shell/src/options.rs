//! Options of programs that run other programs, read as those programs read them: up to the first word that is none.

use crate::reading::Word;
use crate::reason::Opaque;

/// How a program's words begin before the command that it runs. An option that is not named here is one of which
/// nobody knows whether it takes the next word, so what follows cannot be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spec {
    /// Short options without a value.
    pub(crate) flags: &'static str,
    /// Short options with one.
    pub(crate) values: &'static str,
    /// Short options whose value, if any, is written in one with them.
    pub(crate) attached: &'static str,
    pub(crate) long: &'static [&'static str],
    pub(crate) long_values: &'static [&'static str],
    /// Words between the options and the command.
    pub(crate) operands: usize,
    /// `NAME=value` may stand before the command.
    pub(crate) assigns: bool,
}

/// What was found before the command.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    /// Options, without dashes, and their values.
    pub(crate) options: Vec<(String, Option<Word>)>,
    pub(crate) operands: Vec<Word>,
    pub(crate) assigns: Vec<(String, Word)>,
    pub(crate) rest: &'a [Word],
}

impl Found<'_> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| n == name)
    }

    pub(crate) fn value(&self, names: &[&str]) -> Option<&Word> {
        self.options
            .iter()
            .rev()
            .find(|(n, v)| v.is_some() && names.contains(&n.as_str()))
            .and_then(|(_, v)| v.as_ref())
    }
}

fn unknown(program: &str, option: &str) -> Opaque {
    Opaque::Option {
        program: program.to_owned(),
        option: option.to_owned(),
    }
}

impl Spec {
    /// `argv` is without the program's own name.
    pub(crate) fn read<'a>(&self, program: &str, argv: &'a [Word]) -> Result<Found<'a>, Opaque> {
        let mut found = Found::default();
        let mut at = self.options(program, argv, &mut found)?;
        while let Some(word) = argv.get(at).filter(|_| self.assigns) {
            let Some((name, value)) = word.text.split_once('=') else {
                break;
            };
            if word.splits || word.leads || name.contains('$') {
                return Err(unknown(program, &word.text));
            }
            let value = Word {
                text: value.to_owned(),
                leads: word.dynamic,
                ..word.clone()
            };
            found.assigns.push((name.to_owned(), value));
            at += 1;
        }
        for _ in 0..self.operands {
            let Some(word) = argv.get(at) else { break };
            if word.splits || word.glob {
                return Err(unknown(program, &word.text));
            }
            found.operands.push(word.clone());
            at += 1;
        }
        found.rest = argv.get(at..).unwrap_or_default();
        Ok(found)
    }

    /// Reads options, and says where the first other word is.
    fn options(
        &self,
        program: &str,
        argv: &[Word],
        found: &mut Found<'_>,
    ) -> Result<usize, Opaque> {
        let mut at = 0;
        while let Some(word) = argv.get(at) {
            // The word where the command should be is judged as such; here it only must not be an option.
            if word.may_be_option() {
                return Err(unknown(program, &word.text));
            }
            if word.text == "--" {
                return Ok(at + 1);
            }
            let Some(text) = word.text.strip_prefix('-').filter(|t| !t.is_empty()) else {
                return Ok(at);
            };
            at += 1;
            let wants = match text.strip_prefix('-') {
                Some(long) => self.long(program, long, word, found)?,
                None => self.short(program, text, word, found)?,
            };
            if let Some(name) = wants {
                let value = argv.get(at).filter(|v| !v.splits && !v.glob);
                let Some(value) = value else {
                    return Err(unknown(program, &word.text));
                };
                found.options.push((name, Some(value.clone())));
                at += 1;
            }
        }
        Ok(at)
    }

    fn long(
        &self,
        program: &str,
        text: &str,
        word: &Word,
        found: &mut Found<'_>,
    ) -> Result<Option<String>, Opaque> {
        if let Some((name, value)) = text.split_once('=') {
            if self.long_values.contains(&name) || self.long.contains(&format!("{name}=").as_str())
            {
                found.options.push((
                    name.to_owned(),
                    Some(Word {
                        text: value.to_owned(),
                        ..word.clone()
                    }),
                ));
                return Ok(None);
            }
        } else if self.long_values.contains(&text) {
            return Ok(Some(text.to_owned()));
        } else if self.long.contains(&text) && !word.dynamic {
            found.options.push((text.to_owned(), None));
            return Ok(None);
        }
        Err(unknown(program, &word.text))
    }

    fn short(
        &self,
        program: &str,
        text: &str,
        word: &Word,
        found: &mut Found<'_>,
    ) -> Result<Option<String>, Opaque> {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if self.flags.contains(c) {
                found.options.push((c.into(), None));
                continue;
            }
            let rest = chars.as_str();
            if self.values.contains(c) && rest.is_empty() {
                return Ok(Some(c.into()));
            }
            if self.values.contains(c) || self.attached.contains(c) {
                let value = Word {
                    text: rest.to_owned(),
                    ..word.clone()
                };
                found
                    .options
                    .push((c.into(), (!rest.is_empty()).then_some(value)));
                return Ok(None);
            }
            return Err(unknown(program, &word.text));
        }
        // A cluster with something in it that is known only later: `-n$x`.
        if word.dynamic {
            return Err(unknown(program, &word.text));
        }
        Ok(None)
    }
}
