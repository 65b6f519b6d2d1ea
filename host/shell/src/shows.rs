//! What a client of Kubernetes shows of the variables that containers are given.

use crate::reading::Word;

/// Of these kinds, nothing has containers, or is made of what one may configure them with.
const WITHOUT: &[&str] = &[
    "endpoint",
    "endpoints",
    "endpointslice",
    "endpointslices",
    "ep",
    "ev",
    "event",
    "events",
    "horizontalpodautoscaler",
    "horizontalpodautoscalers",
    "hpa",
    "ing",
    "ingress",
    "ingresses",
    "namespace",
    "namespaces",
    "no",
    "node",
    "nodes",
    "ns",
    "pdb",
    "persistentvolume",
    "persistentvolumeclaim",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudget",
    "poddisruptionbudgets",
    "pv",
    "pvc",
    "quota",
    "resourcequota",
    "resourcequotas",
    "sc",
    "service",
    "services",
    "storageclass",
    "storageclasses",
    "svc",
];

/// Fields that say which one it is and how it does. An annotation holds all that was applied.
const FIELDS: &[&str] = &[
    ".kind",
    ".metadata.creationTimestamp",
    ".metadata.labels",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.uid",
    ".spec.nodeName",
    ".spec.replicas",
    ".status",
];

/// It may show what stands in the environments of others.
pub(crate) fn kubectl(args: &[Word]) -> bool {
    let says = |text: &str| args.iter().any(|w| w.text == text);
    let begins = |text: &str| args.iter().any(|w| w.text.starts_with(text));
    // With a revision, a history shows what the containers of that one were.
    let verb = says("view-last-applied")
        || says("diff")
        || says("export")
        || says("extract")
        || says("process")
        || says("cluster-info") && says("dump")
        || says("history") && begins("--revision")
        || begins("--list") && (says("set") || says("annotate"));
    // What stands behind it, others send.
    let raw = begins("--raw");
    // From the eighth level on, it writes all that it is sent.
    let verbose = says("--v") || begins("--v=");
    let whole = says("describe") || prints_whole(args);
    verb || raw || verbose || whole && !is_of_others(args)
}

/// It asks for more than a table of names and states, or may do so.
fn prints_whole(args: &[Word]) -> bool {
    args.iter().enumerate().any(|(at, word)| {
        let text = word.text.as_str();
        let next = || args.get(at + 1).filter(|w| w.is_literal());
        if word.may_be_option() || text.starts_with("--template") {
            return true;
        }
        let value = match text.strip_prefix('-') {
            None | Some("") => return false,
            Some("-output") => next().map(|w| w.text.as_str()),
            Some(long) if long.starts_with('-') => match long.strip_prefix("-output=") {
                Some(value) => Some(value),
                None => return false,
            },
            // Behind these letters stands a value.
            Some(cluster) if cluster.starts_with(['n', 'l', 'L', 'c', 's', 'k', 'f']) => {
                return false;
            }
            Some(cluster) => match (cluster.find('o'), cluster.find('v')) {
                (_, Some(_)) => return true,
                (None, None) => return false,
                (Some(letter), None) => match cluster.get(letter + 1..) {
                    Some("") | None => next().map(|w| w.text.as_str()),
                    Some(value) => Some(value.strip_prefix('=').unwrap_or(value)),
                },
            },
        };
        !value.is_some_and(|value| word.is_literal() && is_table(value))
    })
}

fn is_table(output: &str) -> bool {
    if matches!(output, "wide" | "name") {
        return true;
    }
    match output.split_once('=') {
        Some(("jsonpath", template)) => picks_plainly(template),
        Some(("custom-columns", columns)) => columns.split(',').all(|column| {
            column
                .split_once(':')
                .is_some_and(|(_, field)| is_plain(field))
        }),
        _ => false,
    }
}

/// A template of nothing but such fields, texts, and a loop over all that was found.
fn picks_plainly(template: &str) -> bool {
    let mut pieces = template.split('{');
    pieces.next();
    let piece = |inside: &str| {
        let text = inside
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .is_some_and(|text| !text.contains('"'));
        text || matches!(inside, "end" | "range .items[*]") || is_plain(inside)
    };
    template.contains('{')
        && pieces.all(|of| of.split_once('}').is_some_and(|(inside, _)| piece(inside)))
}

fn is_plain(field: &str) -> bool {
    let field = field.strip_prefix(".items[*]").unwrap_or(field);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-[]*".contains(c);
    field.chars().all(plain)
        && !field.contains("..")
        && FIELDS.iter().any(|known| {
            field
                .strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
}

/// `get nodes …`, `describe svc/x`: the verb first, then what certainly is a kind without containers.
fn is_of_others(args: &[Word]) -> bool {
    let [verb, kinds, rest @ ..] = args else {
        return false;
    };
    let certain = |w: &Word| w.is_literal() && !w.splits;
    let kind = |word: &Word| {
        let kinds = word.text.split('/').next().unwrap_or_default();
        certain(word) && kinds.split(',').all(|kind| WITHOUT.contains(&kind))
    };
    // What these name is of any kind.
    let file = |text: &str| {
        ["-f", "-k", "--f", "--k"]
            .iter()
            .any(|o| text.starts_with(o))
    };
    matches!(verb.text.as_str(), "get" | "describe")
        && kind(kinds)
        && rest.iter().all(|word| {
            let another = word.text.contains('/') && !word.text.starts_with('-');
            certain(word) && !file(&word.text) && (!another || kind(word))
        })
}
