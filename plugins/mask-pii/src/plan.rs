//! One action per column, by label, name and type.

use weir_plugin::{Action, Column, Encoding, Plan};

use crate::config::Settings;
use crate::inspect::{Shape, State};

/// What a column holds, as far as its name and labels say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Secret,
    /// Card verification codes: three digits, so nothing of them may stay.
    Cvv,
    Pan,
    Iban,
    Ssn,
    Email,
    Phone,
    /// Labelled, and nothing more is known.
    Other,
}

impl Class {
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "secret" => Self::Secret,
            "cvv" => Self::Cvv,
            "pan" => Self::Pan,
            "iban" => Self::Iban,
            "ssn" => Self::Ssn,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "other" => Self::Other,
            _ => return None,
        })
    }

    pub fn default_action(self) -> Action {
        match self {
            Self::Secret | Self::Cvv => Action::NullOut,
            Self::Pan | Self::Iban => Action::KeepLast(4),
            Self::Phone => Action::KeepLast(2),
            Self::Ssn | Self::Email | Self::Other => Action::Redact("[redacted]".into()),
        }
    }

    /// By the words of a name: `homePhone`, `home_phone` and `HOME-PHONE` are the same words.
    fn of_name(name: &str) -> Option<Self> {
        let words = words(name);
        let has = |word: &str| words.iter().any(|w| w == word);
        let pair = |a: &str, b: &str| {
            words
                .windows(2)
                .any(|w| matches!(w, [x, y] if x == a && y == b))
                || has(&[a, b].concat())
        };
        let any = |list: &[&str]| list.iter().any(|w| has(w));
        Some(
            if any(&[
                "password",
                "passwd",
                "pwd",
                "passphrase",
                "secret",
                "credential",
                "credentials",
            ]) || pair("api", "key")
                || pair("private", "key")
                || pair("secret", "key")
                || pair("access", "token")
                || pair("refresh", "token")
                || pair("auth", "token")
                || pair("bearer", "token")
                || pair("session", "token")
            {
                Self::Secret
            } else if any(&["cvv", "cvc", "cvv2", "cvc2"]) {
                Self::Cvv
            } else if has("pan")
                || pair("card", "number")
                || pair("card", "no")
                || pair("credit", "card")
            {
                Self::Pan
            } else if has("iban") {
                Self::Iban
            } else if has("ssn") || pair("social", "security") {
                Self::Ssn
            } else if has("email") || has("emails") || pair("e", "mail") {
                Self::Email
            } else if any(&["phone", "telephone", "mobile", "msisdn"])
                && !any(&["type", "os", "app", "model"])
            {
                Self::Phone
            } else {
                return None;
            },
        )
    }
}

/// Lower-case words of a name: cut at everything that is no letter or digit, and where a capital
/// follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        let cut = !c.is_alphanumeric() || (small && c.is_uppercase());
        if cut && out.last().is_some_and(|w| !w.is_empty()) {
            out.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), out.last_mut()) {
            word.extend(c.to_lowercase());
        }
        small = c.is_lowercase();
    }
    out.retain(|w| !w.is_empty());
    out
}

pub fn plan(columns: &[Column], settings: &Settings) -> Plan {
    let mut state = State::new(settings.detectors);
    let actions = columns
        .iter()
        .enumerate()
        .map(|(i, column)| action(i, column, settings, &mut state))
        .collect();
    Plan {
        actions,
        state: state.write(),
    }
}

fn action(i: usize, column: &Column, settings: &Settings, state: &mut State) -> Action {
    // A plain reference has the table's own name for the column; an alias says nothing.
    let real = column.origin.as_deref().and_then(|o| o.rsplit('.').next());
    let by_name = Class::of_name(real.unwrap_or(&column.name));
    if column.must_mask {
        return settings.action(by_label(&column.labels, by_name));
    }
    if !column.labels.is_empty() {
        // Policy knows what it is, and shows it to this principal.
        return Action::Pass;
    }
    if let (true, Some(class)) = (settings.names, by_name) {
        // A count of e-mails, or a flag, is no e-mail.
        if Shape::of(column).is_some() {
            return settings.action(class);
        }
    }
    match Shape::of(column) {
        Some(shape) if !settings.detectors.is_empty() && settings.searches(&lower(column)) => {
            if settings.inspect {
                state.add(i, shape);
                Action::Inspect
            } else {
                let names = settings.detectors.iter().map(|one| one.name().to_owned());
                Action::Detect(names.collect())
            }
        }
        _ => Action::Pass,
    }
}

fn lower(column: &Column) -> String {
    column.name.to_ascii_lowercase()
}

/// The strictest class that labels and name allow.
fn by_label(labels: &[String], by_name: Option<Class>) -> Class {
    let has = |label: &str| labels.iter().any(|l| l == label);
    if by_name == Some(Class::Cvv) {
        Class::Cvv
    } else if has("secret") {
        Class::Secret
    } else if has("pii.email") {
        Class::Email
    } else {
        by_name.unwrap_or(Class::Other)
    }
}

impl Shape {
    /// How the values of a column are written, if detectors can read them.
    pub fn of(column: &Column) -> Option<Self> {
        if column.encoding == Encoding::Json {
            return Some(Self::Json);
        }
        let binary = column.encoding == Encoding::Binary;
        // OIDs of PostgreSQL's own types, from its catalogue; extensions by name.
        match column.type_oid {
            // text, varchar, bpchar, name, unknown, xml
            25 | 1043 | 1042 | 19 | 705 | 142 => Some(Self::Text),
            // json, jsonb
            114 | 3802 => Some(Self::Json),
            // text[], varchar[], bpchar[], name[], json[], jsonb[], xml[], tsvector
            1009 | 1015 | 1014 | 1003 | 199 | 3807 | 143 | 3614 => Some(match binary {
                true => Self::Opaque,
                false => Self::List,
            }),
            _ => match column.type_name.trim_start_matches("public.") {
                "citext" | "text" | "varchar" | "character varying" => Some(Self::Text),
                "hstore" => Some(if binary { Self::Opaque } else { Self::List }),
                _ => None,
            },
        }
    }
}
