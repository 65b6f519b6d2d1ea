//! Files that no word names, but whose contents a program prints when it is asked for them by another name: the
//! environments of processes, passwords, tokens of clients.

use crate::parse::is_name;
use crate::reading::Word;
use crate::shows;
use crate::sure::Variables;

/// Of a shell or program itself.
pub(crate) const OWN: &str = "/proc/self/environ";
/// Of others.
const OTHERS: &str = "/proc/*/environ";

/// Programs, the words or parts of words with which they tell secrets, and where these lie.
const TOLD: &[(&str, &[&str], &str)] = &[
    (
        "aws",
        &[
            "export-credentials",
            "get-session-token",
            "get-login-password",
            "secret",
        ],
        "~/.aws/credentials",
    ),
    (
        "az",
        &["get-access-token", "secret", "credential", "keys"],
        "~/.azure",
    ),
    (
        "gcloud",
        &["print-access-token", "print-identity-token", "secrets"],
        "~/.config/gcloud",
    ),
    ("getent", &["gshadow"], "/etc/gshadow"),
    ("getent", &["shadow"], "/etc/shadow"),
    ("git", &["credential"], "~/.git-credentials"),
    ("gpg", &["secret", "decrypt", "-d"], "~/.gnupg"),
    ("gpg2", &["secret", "decrypt", "-d"], "~/.gnupg"),
    ("kubectl", &["secret"], "/run/secrets/kubernetes"),
    (
        "nmcli",
        &["-s", "--show", "psk"],
        "/etc/NetworkManager/system-connections",
    ),
    ("oc", &["secret", "whoami"], "/run/secrets/kubernetes"),
    ("wg", &["key", "conf", "dump"], "/etc/wireguard"),
    ("ypcat", &["passwd", "shadow"], "/etc/shadow"),
    ("ypmatch", &["passwd", "shadow"], "/etc/shadow"),
];

/// Variables that say nothing but where one is.
const HARMLESS: &[&str] = &[
    "COLORTERM",
    // Where a screen and an agent are: who may use them, the sockets' rights and cookies say.
    "DISPLAY",
    "HOME",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SSH_TTY",
    "TERM",
    "TZ",
    "UID",
    "USER",
    "WAYLAND_DISPLAY",
];

/// Those by which SSH says where it is are among them; those of which nobody knows the names, such as a key for SSH, are
/// not. `LC_…` comes from the client itself.
fn is_harmless(name: &Word) -> bool {
    name.is_literal() && (HARMLESS.contains(&name.text.as_str()) || name.text.starts_with("LC_"))
}

/// Of those that the shell itself sets.
const SHELLS: &[&str] = &[
    "BASHPID",
    "BASH_VERSION",
    "COLUMNS",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HOSTTYPE",
    "IFS",
    "LINENO",
    "LINES",
    "MACHTYPE",
    "OPTARG",
    "OPTIND",
    "OSTYPE",
    "PPID",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SRANDOM",
];

/// `$NAME` or `${NAME…}` is of a variable that nothing has certainly set, and that may be of the environment.
pub(crate) fn is_of_environment(raw: &str, variables: &mut Variables) -> bool {
    let text = raw.trim_start_matches(['$', '{', '#']);
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    is_name(name)
        && !variables.is_sure(name)
        && !SHELLS.contains(&name)
        && !is_harmless(&Word::literal(name))
}

pub(crate) fn behind(name: &str, args: &[Word]) -> Vec<&'static str> {
    let mut files = Vec::new();
    let lower = |w: &Word| w.text.to_ascii_lowercase();
    for (program, words, file) in TOLD {
        if *program == name
            && args
                .iter()
                .any(|a| words.iter().any(|w| lower(a).contains(w)))
        {
            files.push(*file);
        }
    }
    let says = |text: &str| args.iter().any(|w| w.text == text);
    // `declare +x` lists, too.
    let operands = || args.iter().filter(|w| !w.text.starts_with(['-', '+']));
    let own = match name {
        // `env` with a program behind it is that program.
        "env" => true,
        "printenv" => operands().next().is_none() || operands().any(|w| !is_harmless(w)),
        "set" => args.is_empty(),
        "export" | "declare" | "typeset" | "local" | "readonly" => {
            operands().next().is_none()
                || args
                    .iter()
                    .any(|w| w.text.starts_with(['-', '+']) && w.text.contains('p'))
        }
        _ => false,
    };
    if own {
        files.push(OWN);
    }
    let others = match name {
        "ps" => ps(args),
        // Drop-ins, which `cat` prints, may be for root alone.
        "systemctl" => {
            says("cat") || says("show-environment") || says("show") && shows_environment(args)
        }
        "docker" | "podman" | "nerdctl" => {
            says("inspect") && !formats_plainly(args)
                || says("top") && operands().count() > 2
                || says("generate")
        }
        "crictl" => says("inspect"),
        "journalctl" => journal(args),
        "kubectl" | "oc" => shows::kubectl(args),
        _ => false,
    };
    if others {
        files.push(OTHERS);
    }
    files
}

/// All fields, or the one, in which systemd keeps the variables of a process that crashed.
fn journal(args: &[Word]) -> bool {
    const WHOLE: [&str; 6] = [
        "verbose",
        "export",
        "json",
        "json-pretty",
        "json-sse",
        "json-seq",
    ];
    let option = |w: &Word| w.text.starts_with('-');
    let attached = args
        .iter()
        .any(|w| option(w) && WHOLE.iter().any(|whole| w.text.ends_with(whole)));
    let behind = args.windows(2).any(|two| match two {
        [name, value] => option(name) && WHOLE.contains(&value.text.as_str()),
        _ => false,
    });
    let some = args
        .iter()
        .any(|w| w.is_literal() && w.text.starts_with("--output-fields="));
    let named = |w: &Word| w.text.to_ascii_lowercase().contains("environ");
    (attached || behind) && !some || args.iter().any(named)
}

/// All properties, among them the variables that a service gets, unless some are named: by a word that is no value
/// of another option.
fn shows_environment(args: &[Word]) -> bool {
    let named = |w: &Word| {
        w.text == "--property"
            || w.text.starts_with("--property=")
            || w.text.starts_with("-p") && !w.text.starts_with("--")
    };
    let end = args.iter().position(|w| w.text == "--");
    let words = args.get(..end.unwrap_or(args.len())).unwrap_or_default();
    let mut before = "";
    let mut some = false;
    for word in words {
        some |= named(word) && !before.starts_with('-');
        before = &word.text;
    }
    !some
        || args
            .iter()
            .any(|w| !w.is_literal() || w.text.to_ascii_lowercase().contains("environ"))
}

/// A template of nothing but such fields.
fn formats_plainly(args: &[Word]) -> bool {
    const PLAIN: &[&str] = &[
        ".Created",
        ".Driver",
        ".Id",
        ".Image",
        ".Name",
        ".NetworkSettings",
        ".Platform",
        ".RestartCount",
        ".State",
    ];
    // Of two the later one counts, and others take words as their values.
    let mut options = args.iter().filter(|w| w.text.starts_with('-'));
    let (Some(option), None) = (options.next(), options.next()) else {
        return false;
    };
    let template = match option.text.split_once('=') {
        Some(("-f" | "--format", template)) if option.is_literal() => template,
        None if matches!(option.text.as_str(), "-f" | "--format") => {
            let value = args.iter().skip_while(|w| *w != option).nth(1);
            match value.filter(|w| w.is_literal()) {
                Some(value) => value.text.as_str(),
                None => return false,
            }
        }
        _ => return false,
    };
    let field = |field: &str| {
        let field = field.trim();
        let chars = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        chars
            && PLAIN.iter().any(|p| {
                field
                    .strip_prefix(p)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    };
    let mut pieces = template.split("{{");
    pieces.next();
    // Without any field it is a word, and `json` means all.
    template.contains("{{")
        && !args.iter().any(Word::may_be_option)
        && pieces.all(|piece| {
            piece
                .split_once("}}")
                .is_some_and(|(inside, _)| field(inside))
        })
}

/// `e` without a dash, or with one where the words make no sense otherwise: where `ps` fails to read its options
/// in one way it reads all of them in the other. So only what can be read in one way alone is trusted.
fn ps(args: &[Word]) -> bool {
    let formats = args
        .iter()
        .any(|w| is_cluster(&w.text) && w.text.contains('o'));
    let safe = if formats { "eALow" } else { "eAflLw" };
    let everybody = args
        .iter()
        .any(|w| is_cluster(&w.text) && w.text.contains('e'));
    let safely = |text: &str| is_cluster(text) && text.chars().skip(1).all(|c| safe.contains(c));
    let mut before = "";
    for word in args {
        let text = word.text.as_str();
        let format = safely(before) && before.ends_with('o') && is_format(text);
        let may_ask = (everybody || text.contains(['e', 'E'])) && !text.starts_with("--");
        let told = safely(text) || format || before == "-C";
        let column = text.starts_with("--") && text.to_ascii_lowercase().contains("env");
        if !word.is_literal() || may_ask && !told || column {
            return true;
        }
        before = text;
    }
    false
}

fn is_cluster(text: &str) -> bool {
    text.starts_with('-') && !text.starts_with("--")
}

/// Names of columns, of which one has the environment.
fn is_format(text: &str) -> bool {
    !text.starts_with('-')
        && !text.to_ascii_lowercase().contains("env")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "%_,=:".contains(c))
}
