//! `controls.html` and `README.txt`: which control each file of a package speaks to, and what it does not
//! prove; and how to verify it.

use crate::derive::{APPROVALS, Counts, ERASURES, EVENTS, GAPS, OPERATORS, POPULATION, SAMPLE};
use crate::logs::Span;
use crate::policies::CHANGES;
use crate::records::{PEOPLE, RECORDS};
use crate::select::Selection;
use crate::tables::{GRANTS, MASKING, PLUGINS, POLICIES};

pub const CONTROLS: &str = "controls.html";
pub const README: &str = "README.txt";

/// A control, the files that speak to it, what these show, and what they do not.
struct Control {
    id: &'static str,
    what: &'static str,
    files: &'static [&'static str],
    shows: &'static str,
    not: &'static str,
}

struct Framework {
    name: &'static str,
    controls: &'static [Control],
}

const FRAMEWORKS: &[Framework] = &[
    Framework {
        name: "SOC 2, Trust Services Criteria 2017 (points of focus 2022)",
        controls: &[
            Control {
                id: "CC6.1",
                what: "Logical access to protected information is restricted",
                files: &[POPULATION, GRANTS, POLICIES],
                shows: "Every request through Weir in the window, with the policies that permitted or \
                        refused it, and the bundle in force.",
                not: "That nobody reaches the databases around Weir: network rules and the databases' own \
                      accounts have to show that. That the policies are the right ones.",
            },
            Control {
                id: "CC6.2, CC6.3",
                what: "Access is authorized, changed and removed; least privilege",
                files: &[GRANTS, APPROVALS, PEOPLE],
                shows: "Who was granted what on which target, under which policy, and what was refused.",
                not: "That accounts are removed in time at the identity provider, and that access is \
                      reviewed. The pseudonyms of people.csv are linked to names only by the records \
                      that the package holds.",
            },
            Control {
                id: "CC6.7",
                what: "Transmission and disclosure of information is restricted",
                files: &[MASKING, POPULATION],
                shows: "For which statements which labelled columns stayed masked.",
                not: "That every sensitive column has a label, and what people did with what they were \
                      permitted to see.",
            },
            Control {
                id: "CC7.2, CC7.3",
                what: "Monitoring for anomalies, evaluation of events",
                files: &[EVENTS, POPULATION, GAPS],
                shows: "That refusals, risk scores and labels were recorded with each request, and where \
                        the recording has gaps.",
                not: "That anybody looked at them.",
            },
            Control {
                id: "CC8.1",
                what: "Changes are authorized and tracked",
                files: &[OPERATORS, POLICIES, CHANGES, PLUGINS, APPROVALS],
                shows: "Uploads and activations of bundles and plugins by operators, versions and digests \
                        in use, the bundles' texts and what changed in them, and which risky statements \
                        people approved.",
                not: "Why a policy was changed, and changes that were made around Weir.",
            },
        ],
    },
    Framework {
        name: "ISO/IEC 27001:2022, Annex A",
        controls: &[
            Control {
                id: "A.5.15, A.5.18, A.8.3",
                what: "Access control, access rights, restriction of access to information",
                files: &[GRANTS, POPULATION, POLICIES],
                shows: "Which access was asked for, permitted and refused, and by which policy.",
                not: "That access rights are reviewed regularly, and access around Weir.",
            },
            Control {
                id: "A.8.2",
                what: "Privileged access rights",
                files: &[APPROVALS, OPERATORS, GRANTS],
                shows: "Approvals of risky statements with their approvers, and acts of operators.",
                not: "Who else holds administrative accounts of the databases.",
            },
            Control {
                id: "A.8.11",
                what: "Data masking",
                files: &[MASKING],
                shows: "Statements and columns that were masked.",
                not: "That labels are complete.",
            },
            Control {
                id: "A.8.15",
                what: "Logging: produced, stored, protected, analysed",
                files: &[POPULATION, GAPS, SAMPLE, RECORDS],
                shows: "A log whose entries of the window are complete and unaltered under checkpoints that \
                        it has signed, and records that are what their entries say.",
                not: "That logs are analysed. That nobody who held the signing key and the whole store made \
                      another history: for that, checkpoints have to be kept elsewhere, or witnessed.",
            },
            Control {
                id: "A.8.16",
                what: "Monitoring activities",
                files: &[EVENTS],
                shows: "The events in a form that a SIEM takes.",
                not: "That they were delivered, and that anybody reacts.",
            },
        ],
    },
    Framework {
        name: "PCI DSS 4.0",
        controls: &[
            Control {
                id: "7.2, 8.2",
                what: "Access by need to know; identification of users",
                files: &[GRANTS, POPULATION, PEOPLE],
                shows: "Each request with its principal, and on whose behalf it acted.",
                not: "That shared accounts do not exist at the identity provider.",
            },
            Control {
                id: "10.2.1.1, 10.2.1.2, 10.2.1.4",
                what: "Individual access to cardholder data, administrative actions, invalid access attempts",
                files: &[POPULATION, OPERATORS, EVENTS],
                shows: "All requests to the selected targets, permitted and refused, and acts of operators. \
                        Tables and columns are named; labels of the catalogue say which hold such data.",
                not: "Logins that failed before a session began: those are in the service's own log. \
                      Access around Weir.",
            },
            Control {
                id: "10.2.1.3, 10.2.1.6",
                what: "Access to audit logs; start, stop and pause of them",
                files: &[OPERATORS, POPULATION, GAPS],
                shows: "Start and stop of each recorder, and gaps. Reads through Weir's API, as far as it \
                        records them.",
                not: "Reads of the object store itself, which its provider logs. {making}",
            },
            Control {
                id: "10.2.2",
                what: "What each entry holds: who, what, when, where, outcome",
                files: &[POPULATION, SAMPLE],
                shows: "All of these for each entry; the client's address is in the records.",
                not: "That the clock is right: its source is the machine's (10.6).",
            },
            Control {
                id: "10.3",
                what: "Audit logs are protected from destruction and change",
                files: &[GAPS],
                shows: "That the entries of the window are those that were signed.",
                not: "Object Lock and rights on the store, which its configuration shows.",
            },
            Control {
                id: "10.5.1",
                what: "Twelve months of history, three at hand",
                files: &[POPULATION],
                shows: "That the window could be had when the package was made.",
                not: "Retention outside of the window.",
            },
        ],
    },
    Framework {
        name: "GDPR",
        controls: &[
            Control {
                id: "Art. 5(2), 30",
                what: "Accountability, records of processing",
                files: &[POPULATION, GRANTS],
                shows: "Which principals processed which tables and labelled columns, and when.",
                not: "Purposes and legal grounds.",
            },
            Control {
                id: "Art. 17",
                what: "Erasure",
                files: &[ERASURES],
                shows: "Erasures of recorded content. The entries of an erased session stay: they hold a \
                        pseudonym and no content.",
                not: "Erasure in the databases themselves, and of packages that were handed out before.",
            },
            Control {
                id: "Art. 25, 32",
                what: "Data protection by design; security of processing",
                files: &[MASKING, GRANTS, APPROVALS],
                shows: "Masking of labelled columns, and approval before risky statements.",
                not: "Completeness of labels; encryption of the databases.",
            },
        ],
    },
    Framework {
        name: "HIPAA Security Rule",
        controls: &[
            Control {
                id: "164.308(a)(1)(ii)(D)",
                what: "Review of information system activity",
                files: &[EVENTS, POPULATION],
                shows: "What there was to review.",
                not: "The review.",
            },
            Control {
                id: "164.312(a)(1), (d)",
                what: "Access control; authentication",
                files: &[GRANTS, POLICIES],
                shows: "Decisions on every request of an authenticated principal.",
                not: "Strength of the authentication at the identity provider.",
            },
            Control {
                id: "164.312(b)",
                what: "Audit controls",
                files: &[POPULATION, GAPS, SAMPLE],
                shows: "That activity is recorded, completely for the window, and what is missing.",
                not: "Systems that are not behind Weir.",
            },
            Control {
                id: "164.312(c)(1)",
                what: "Integrity",
                files: &[SAMPLE, RECORDS],
                shows: "That records are unaltered.",
                not: "Integrity of the data in the databases.",
            },
        ],
    },
];

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 \
    1rem;color:#1b1f24}table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{border:1px solid \
    #c8ccd1;padding:.4rem .6rem;text-align:left;vertical-align:top}th{background:#f2f4f6}code{font-size:.9em}";

/// In the text of a control: whether the package itself is on record.
const MAKING: &str = "{making}";

fn making(recorded: bool) -> &'static str {
    match recorded {
        true => {
            "Making this package: that is the entry evidence:exported, which is later than the entries here, and \
             which the log of the Weir that made it has."
        }
        false => {
            "Making this package: it is made from the store alone, and is not itself an entry of the log."
        }
    }
}

/// The matrix, as one page that needs nothing else.
pub fn html(selection: &Selection, counts: &Counts, spans: &[Span], recorded: bool) -> String {
    let window = selection.window;
    let (from, to) = (
        recorder::timestamp(window.from_ns),
        recorder::timestamp(window.to_ns),
    );
    let targets: Vec<&str> = selection.targets.iter().map(String::as_str).collect();
    let targets = match targets.as_slice() {
        [] => "all".to_owned(),
        some => some.join(", "),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta \
         http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\"><title>Evidence of Weir</title><style>{STYLE}</style></head><body>\n\
         <h1>Evidence of Weir</h1>\n<p>Window: {from} to {to}. Targets: {}.</p>\n",
        escape(&targets)
    );
    out.push_str("<table><tr><th>in the window</th><th>number</th></tr>\n");
    for (what, number) in [
        ("entries of logs", counts.leaves),
        ("sessions begun", counts.sessions),
        ("requests permitted", counts.permitted),
        ("requests refused", counts.refused),
        ("times that something was held for people", counts.held),
        ("results", counts.results),
        ("results that nobody knows", counts.unknown_results),
        ("requests that people approved", counts.approvals),
        ("columns masked, once for each statement", counts.masked),
        ("acts of operators", counts.operators),
        ("erasures", counts.erasures),
        ("gaps, of all targets", counts.gaps),
    ] {
        out.push_str(&format!("<tr><td>{what}</td><td>{number}</td></tr>\n"));
    }
    out.push_str("</table>\n<h2>Logs</h2>\n<table><tr><th>log</th><th>entries</th><th>begins</th><th>ends</th></tr>\n");
    for span in spans {
        out.push_str(&format!(
            "<tr><td><code>{}</code></td><td>{} to {} of {}</td><td>{}</td><td>{}</td></tr>\n",
            escape(&span.origin),
            span.first,
            span.end,
            span.size,
            escape(&span.begins),
            escape(&span.ends)
        ));
    }
    out.push_str("</table>\n");
    for framework in FRAMEWORKS {
        out.push_str(&format!(
            "<h2>{}</h2>\n<table><tr><th>control</th><th>files</th><th>what they show</th><th>what they \
             do not prove</th></tr>\n",
            escape(framework.name)
        ));
        for control in framework.controls {
            let files: Vec<String> = control
                .files
                .iter()
                .map(|file| format!("<code>{}</code>", escape(file)))
                .collect();
            out.push_str(&format!(
                "<tr><td><b>{}</b><br>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(control.id),
                escape(control.what),
                files.join("<br>"),
                escape(control.shows),
                escape(&control.not.replace(MAKING, making(recorded)))
            ));
        }
        out.push_str("</table>\n");
    }
    out.push_str(
        "<p>This page maps files to controls. It is no audit opinion, and no control is met by a file \
         alone.</p>\n</body></html>\n",
    );
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

pub const README_TEXT: &str = "\
An evidence package of Weir
===========================

How to verify it, offline, with the public key that you were given by another way than this package:

    weir verify PACKAGE.zip --log-key 'name+hash+key'

It ends with 0 if everything holds, with 3 if something that should be here is noted as missing, and with
1 if anything is not what it should be. Do not unpack the zip to verify it.

What is in it
-------------
manifest.json      what the package is about, and the SHA-256 of every other file
manifest.note      its signature: a signed note of C2SP, by the key of the logs under <name>/evidence
population.csv     every entry of the logs in the window, for the selected targets
ocsf.jsonl         the same as events of OCSF 1.8.0
sample.csv         requests that were drawn from the population: the smallest hashes of their entries
                   with a seed made of the window and the targets. Nobody chose them; but who makes
                   packages about other windows gets other samples, so agree on the window first.
records.json       what stands around the records below: with it, each gives the hash in its entry
records/           the records behind the sample, as JSON: text of statements and parameters, names
people.csv         whom pseudonyms stand for, as far as these records say so
proofs/            the entries of the sample, each with its proof (C2SP tlog-proof)
approvals.csv      requests that people approved (those that they denied are among the refused)
grants.csv         who was permitted or refused what, where, by which policies
policies.csv       bundles in force; plugins.csv: plugins in use; both by version and digest. What was
                   held counts once, with what became of it: not at all, where nobody saw that
policies/          the bundles themselves, as archives of which the digest is the SHA-256, and as text;
                   changes.txt: what changed from one version to the next
masking.csv        which columns stayed masked, and for how many statements
operators.csv      acts of operators; erasures.csv: erasures
erasures-later.json  sessions of which records would be here, and that were erased after the window;
                   erasures/ has the entry that says so for each, with its proof
gaps.json          what the recorder noted as missing; how the range of each log is known to be complete;
                   logs of the store of which nothing is here, and why
controls.html      which control each file speaks to, and what it does not prove
log/               entry bundles and tiles of each log, and its signed checkpoint (C2SP tlog-tiles)

What it proves, and what not
----------------------------
Every entry in log/ is in a log whose checkpoint is signed, without a hole from before the window to after
it, and everything else here follows from these entries or is what one of them says. Where gaps.json says
that a log was open, later entries of the window may exist (choose a window that ended before the last
entry). Where it says that an instance has ended its last log, a later start of it may be missing: only
the registry in the store tells, which weir verify reads and a package does not have. Where it says that a log
is left out, nothing of that log is here: one that is not signed by a key that counts can be another's, or
planted by who writes to the store; of one that is, weir verify of the store says what is wrong. That the times of a log's other entries are in
order is not shown here, but by weir verify of the whole store. A package cannot show logs of a Weir that
it does not know of: count the instances.

Recorded results are not in a package. Statements of the sample are, and can have values in them that
somebody wrote there: treat records/ as you would the databases. weir evidence --sample 0 leaves them out.
Where manifest.json says recorded, an entry evidence:exported of the log of the Weir that made the package names
the SHA-256 of manifest.json; it is later than the entries here, and weir audit or another package shows it.
Otherwise it was made from the store alone, and that it was made is on no log: whoever can read the store can
make one.

Other tools
-----------
The logs are those of C2SP tlog-tiles, https://c2sp.org. A proof needs its file, its .leaf.json and the
log's key. A record's hash is SHA-256 of 00 and the record: length u32, kind u8, time u64, stream (16
bytes), number u64, for kinds 2 to 6 the action's number u64, and the JSON; integers little-endian, the
length without itself. Cells of CSV that would begin a formula have an apostrophe before them.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Window;

    #[test]
    fn names_are_text_on_the_page() {
        let selection = Selection {
            window: Window::new(0, 1_000_000_000),
            targets: ["<script>alert('x')</script>".to_owned()].into(),
            sample: 0,
            names: false,
        };
        let page = html(&selection, &Counts::default(), &[], false);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        for file in [POPULATION, GRANTS, MASKING, ERASURES, GAPS, RECORDS, SAMPLE] {
            assert!(page.contains(file) && README_TEXT.contains(file));
        }
        // What is on record is not said to be on none, and the other way round.
        let recorded = html(&selection, &Counts::default(), &[], true);
        assert!(
            page.contains("is not itself an entry of the log")
                && !page.contains("evidence:exported")
        );
        assert!(recorded.contains("evidence:exported") && !recorded.contains("is not itself"));
        assert!(!page.contains(MAKING) && !recorded.contains(MAKING));
    }
}
