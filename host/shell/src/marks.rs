//! Programs that put what they read in place of a mark, or behind the words of the command that they run.

use crate::reading::Word;
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::wrappers;

pub(crate) fn xargs(
    walk: &mut Walk<'_>,
    argv: &[Word],
    args: &[Word],
    ctx: &Ctx,
) -> Result<bool, Opaque> {
    let found = wrappers::XARGS.read("xargs", args)?;
    let mut under = ctx.under("xargs");
    under.shared = true;
    // With names from a file, what it runs has what it has itself; else it has nothing, or what is left of the names.
    if !(found.has("a") || found.has("arg-file")) {
        under.stdin = Stdin::Other;
    }
    if found.rest.is_empty() {
        // It runs `echo`.
        walk.leaf("xargs", argv.to_vec(), ctx);
        return Ok(true);
    }
    if ctx.stdin == Stdin::Session {
        walk.taken("xargs");
    }
    let mut marks = found
        .options
        .iter()
        .filter(|(n, _)| matches!(n.as_str(), "I" | "i" | "replace"));
    let replaced = marks.next().map(|(_, value)| {
        value
            .as_ref()
            .map_or_else(|| "{}".to_owned(), |w| w.text.clone())
    });
    let certain = |value: &Option<Word>| value.as_ref().is_none_or(Word::is_literal);
    let uncertain = found
        .options
        .iter()
        .any(|(n, v)| matches!(n.as_str(), "I" | "i" | "replace") && !certain(v));
    // Which of two counts, programs of this name do not agree on; and an empty one stands everywhere.
    if uncertain || marks.next().is_some() || replaced.as_deref() == Some("") {
        return Err(Opaque::Option {
            program: "xargs".into(),
            option: "-I".into(),
        });
    }
    // Of these two ways to use what it reads, the later one counts.
    let counted = ["n", "L", "l", "max-args", "max-lines"]
        .into_iter()
        .find(|option| found.has(option));
    if let (Some(_), Some(option)) = (&replaced, counted) {
        return Err(Opaque::Option {
            program: "xargs".into(),
            option: option.to_owned(),
        });
    }
    let command = match replaced {
        Some(mark) => found.rest.iter().map(|w| filled(w, &mark)).collect(),
        None => {
            let mut command = found.rest.to_vec();
            command.push(Word::anything());
            command
        }
    };
    walk.command(command, &under);
    Ok(true)
}

/// The words up to `:::` are text for a shell, into which arguments are put.
pub(crate) fn parallel(walk: &mut Walk<'_>, args: &[Word], ctx: &Ctx) -> Result<bool, Opaque> {
    let found = wrappers::PARALLEL.read("parallel", args)?;
    // To another program of this name, what stands behind it are whole commands.
    if args.iter().any(|w| w.text == "--") {
        return Err(Opaque::Unknown {
            program: "parallel".into(),
        });
    }
    let end = found.rest.iter().position(|w| w.text.starts_with(":::"));
    let command = found
        .rest
        .get(..end.unwrap_or(found.rest.len()))
        .unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let simple = |w: &Word| {
        w.is_literal() && !w.text.is_empty() && w.text.replace("{}", "").chars().all(plain)
    };
    // To the shell, `x=y` in front sets a variable.
    let sets = command.first().is_some_and(|w| w.text.contains('='));
    if command.is_empty() || sets || !command.iter().all(simple) {
        return Err(Opaque::Unknown {
            program: "parallel".into(),
        });
    }
    let mut filled_in: Vec<Word> = command.iter().map(|w| filled(w, "{}")).collect();
    if !filled_in.iter().any(|w| w.dynamic) {
        filled_in.push(Word::anything());
    }
    if ctx.stdin == Stdin::Session {
        walk.taken("parallel");
    }
    let mut under = ctx.under("parallel");
    under.stdin = Stdin::Other;
    under.in_shell = true;
    under.shell = Some("parallel".to_owned());
    walk.afresh(|walk| walk.command(filled_in, &under));
    Ok(true)
}

/// The word, where a program puts something in place of `mark`.
pub(crate) fn filled(word: &Word, mark: &str) -> Word {
    match word.text.find(mark) {
        Some(at) if !mark.is_empty() => Word {
            // A mark may look like a part of an option.
            text: word.text.replace(mark, "{}"),
            dynamic: true,
            leads: word.leads || at == 0,
            ..word.clone()
        },
        _ => word.clone(),
    }
}
