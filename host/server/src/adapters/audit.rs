//! What the recorder has written, as the index keeps it: who, what, on what, and how it ended, without
//! anything that could be a value of somebody's data.
//!
//! Left out on purpose: parameters, literals, comments and recorded bytes; errors and whatever else the
//! upstream says in words; reasons that people or plugins wrote, since they may quote a statement; names
//! that the database does not know, since they may be values in the wrong quotes; what a client says of
//! itself; of hosts whatever only a client has called so; fingerprints, since a statement can be guessed and hashed. `weir replay` has all of it.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use control::index::{
    Backfill, Index, IndexAct, IndexAction, IndexEntry, IndexOutcome, IndexPlace, IndexShape,
    IndexStart, IndexText, IndexWho, Indexed,
};
use parking_lot::Mutex;
use proto_pg::analysis::{Words, searchable};
use recorder::doc::{
    AccessDoc, ActionDoc, ApprovalDoc, ControlDoc, ErasureDoc, FactsDoc, HeldDoc, IntentDoc,
    OutcomeDoc, PrincipalDoc, RefusedDoc, StartDoc,
};
use recorder::{
    Day, Days, Followed, FollowedBody, Follower, Place, Recorder, Store, TakeHistory, history,
};
use tokio_util::sync::CancellationToken;

mod hosts;

/// Statements whose searchable text is remembered, and the longest.
const TEXTS: usize = 4_096;
const LONGEST_TEXT: usize = 4_096;
/// The kind of resource that a column is.
const COLUMN: &str = "PgColumn";
const TWO_WAYS: &str = "its values cannot be told from its words";
/// The longest tag or state of the upstream's.
const LONGEST_DETAIL: usize = 120;
/// How long the store may take to get what is on its way, before older records are read from it.
const STORED_WITHIN: Duration = Duration::from_secs(600);
/// How often it is looked whether older records have to be read.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Feeds the index with what the recorder has made durable.
pub(crate) struct Feed {
    index: Index,
    /// Those that were made before.
    texts: Mutex<HashMap<Asked, Option<IndexText>>>,
}

/// A statement, and the names that it is known to touch.
type Asked = (String, BTreeSet<String>);

impl Feed {
    pub(crate) fn new(index: Index) -> Self {
        Self {
            index,
            texts: Mutex::default(),
        }
    }

    /// What was made of statements is made again: nobody knows which were the erased session's.
    fn forget_texts(&self, records: &[Followed]) {
        let erases = |r: &Followed| matches!(r.body, FollowedBody::Erasure(_));
        if records.iter().any(erases) {
            self.texts.lock().clear();
        }
    }

    fn entries(&self, records: &[Followed]) -> Vec<IndexEntry> {
        records.iter().map(|record| self.entry(record)).collect()
    }

    fn entry(&self, record: &Followed) -> IndexEntry {
        IndexEntry {
            stream: *record.stream.as_bytes(),
            n: record.n,
            at: record.at_ns / 1_000_000,
            action: record.action,
            what: match &record.body {
                FollowedBody::Start(doc) => Indexed::Started(Box::new(start(doc))),
                FollowedBody::Intent(doc) => Indexed::Action(Box::new(self.intent(doc))),
                FollowedBody::Refused(doc) => Indexed::Action(Box::new(self.refused(doc))),
                FollowedBody::Held(doc) => Indexed::Held(Box::new(self.held(doc))),
                FollowedBody::Outcome(doc) => Indexed::Outcome(outcome(doc)),
                FollowedBody::End(doc) => Indexed::Ended(doc.reason.clone()),
                FollowedBody::ControlStart(doc) => Indexed::Instance(doc.software.clone()),
                FollowedBody::Control(doc) => Indexed::Act(Box::new(act(doc))),
                FollowedBody::Erasure(doc) => Indexed::Act(Box::new(erasure(doc))),
                FollowedBody::Gap(doc) => Indexed::Gap(doc.what.clone()),
                FollowedBody::Unreadable => Indexed::Unreadable,
            },
        }
    }

    fn intent(&self, doc: &IntentDoc) -> IndexAction {
        let approval = doc.approval.as_ref();
        let list = |of: fn(&ApprovalDoc) -> &Vec<String>| approval.map(of).cloned();
        IndexAction {
            decision: doc.decision.clone(),
            shape: shape(&doc.action, None),
            carried: (!doc.masked.is_empty() || has_names(&doc.action))
                .then(|| shape(&doc.action, Some(&doc.masked))),
            risk: doc.action.risk.score,
            text: self.text(&doc.action),
            hold: approval.map(|a| a.hold.clone()),
            rules: list(|a| &a.rules).unwrap_or_default(),
            approvers: list(|a| &a.approvers).unwrap_or_default(),
        }
    }

    fn refused(&self, doc: &RefusedDoc) -> IndexAction {
        IndexAction {
            decision: doc.kind.clone(),
            shape: shape(&doc.action, None),
            carried: None,
            risk: doc.action.risk.score,
            text: self.text(&doc.action),
            hold: doc.hold.clone(),
            rules: Vec::new(),
            approvers: Vec::new(),
        }
    }

    fn held(&self, doc: &HeldDoc) -> IndexAction {
        let basis = doc.action.basis.as_ref();
        IndexAction {
            decision: doc.decision.clone(),
            shape: shape(&doc.action, None),
            carried: None,
            risk: doc.action.risk.score,
            text: self.text(&doc.action),
            hold: Some(doc.hold.clone()),
            rules: basis.map(|b| b.rules.clone()).unwrap_or_default(),
            approvers: Vec::new(),
        }
    }

    fn text(&self, action: &ActionDoc) -> Result<IndexText, &'static str> {
        let sql = match &action.facts {
            FactsDoc::Sql(sql) => sql,
            FactsDoc::Ssh(ssh) => return hosts::text(ssh, action),
            FactsDoc::Connect { .. } => return Err("the session itself was asked for"),
        };
        if !sql.parsed {
            return Err("it was not understood in full");
        }
        let is_short = sql.text.len() <= LONGEST_TEXT;
        let names = names(&action.accesses);
        let key = is_short.then(|| (sql.text.clone(), names.clone()));
        if let Some(known) = key
            .as_ref()
            .and_then(|key| self.texts.lock().get(key).cloned())
        {
            return known.ok_or(TWO_WAYS);
        }
        let text = |words| searchable(&sql.text, words, |name| names.contains(name));
        let both = text(Words::Carried).zip(text(Words::Known));
        let text = both.map(|(carried, known)| IndexText { carried, known });
        if let Some(key) = key {
            let mut texts = self.texts.lock();
            if texts.len() >= TEXTS {
                texts.clear();
            }
            texts.insert(key, text.clone());
        }
        text.ok_or(TWO_WAYS)
    }
}

impl Follower for Feed {
    fn place(&self) -> Option<Place> {
        match self.index.place() {
            Ok(place) => place.map(|p| Place {
                file: p.file,
                chain: p.chain,
            }),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%error, "the index does not say how far it is: it is told all again");
                None
            }
        }
    }

    fn take(&self, records: &[Followed], place: Place) -> Result<(), String> {
        let place = IndexPlace {
            file: place.file,
            chain: place.chain,
        };
        let entries = self.entries(records);
        self.forget_texts(records);
        forget(&self.index, records)
            .and_then(|()| self.index.take(&entries, place))
            .map_err(|e| chain(&e))
    }
}

/// The parts of the names that the database knows. What a statement merely calls something may be anything.
fn names(accesses: &[AccessDoc]) -> BTreeSet<String> {
    let known = |access: &&AccessDoc| {
        let is_object = matches!(&*access.kind, "PgTable" | "PgFunction");
        is_object && !access.flags.iter().any(|f| f == "unknown")
    };
    let touched = accesses.iter().filter(known).map(|a| &a.resource);
    touched
        .flat_map(|name| name.split('.').map(str::to_owned))
        .collect()
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn who(doc: &PrincipalDoc) -> IndexWho {
    IndexWho {
        kind: doc.actor.kind.clone(),
        subject: doc.actor.subject.clone(),
        issuer: doc.issuer.clone(),
        groups: doc.actor.groups.clone(),
        owner: doc.actor.owner.clone(),
        on_behalf_of: doc.on_behalf_of.iter().map(|a| a.subject.clone()).collect(),
    }
}

fn start(doc: &StartDoc) -> IndexStart {
    IndexStart {
        who: who(&doc.who),
        target: doc.target.name.clone(),
        database: doc.scope.name().to_owned(),
        source: doc.source.clone(),
    }
}

/// Is there something in it of which the upstream shows that it is called so by carrying it out?
fn has_names(doc: &ActionDoc) -> bool {
    hosts::is_on_host(doc) || doc.accesses.iter().any(|a| a.kind == COLUMN)
}

/// With `masked`, it was carried out: until then, a column's name is what somebody wrote.
fn shape(doc: &ActionDoc, masked: Option<&[String]>) -> IndexShape {
    let data = doc.accesses.iter().flat_map(|a| &a.labels);
    let labels: BTreeSet<&String> = data.chain(&doc.risk.labels).collect();
    let actions: BTreeSet<&String> = doc.accesses.iter().map(|a| &a.action).collect();
    let resources: BTreeSet<String> = {
        let names = doc.accesses.iter();
        names
            .map(|a| {
                let is_carried = masked.is_some();
                hosts::resource(a, doc, is_carried).unwrap_or_else(|| resource(a, is_carried))
            })
            .collect()
    };
    let plugins = doc.risk.plugins.iter();
    IndexShape {
        kind: match &doc.facts {
            FactsDoc::Connect { .. } => "connect".into(),
            FactsDoc::Sql(sql) => sql.kind.clone(),
            FactsDoc::Ssh(ssh) => ssh.kind.clone(),
        },
        actions: actions.into_iter().cloned().collect(),
        resources: resources.into_iter().collect(),
        labels: labels.into_iter().cloned().collect(),
        findings: doc.risk.findings.iter().map(|f| f.code.clone()).collect(),
        policies: doc.policies.clone(),
        plugins: plugins
            .map(|p| (p.name.clone(), p.version.clone(), p.digest.clone()))
            .collect(),
        masked: masked.unwrap_or_default().to_vec(),
        bundle: Some((doc.bundle.name.clone(), doc.bundle.version)),
    }
}

/// A name that the database does not know may be a value.
fn resource(access: &AccessDoc, is_carried: bool) -> String {
    let kind = &access.kind;
    // What only the client has said to be a name may be anything: a setting's value, what is to be made.
    let is_said = matches!(&**kind, "PgRole" | "PgSchema" | "PgDatabase");
    let is_dotted = kind == COLUMN && !access.path.is_empty();
    if !is_carried && (is_said || is_dotted) {
        return format!("{kind}::(unknown)");
    }
    if kind == COLUMN && !is_carried {
        let table = access.resource.rsplit_once('.').map_or("", |(t, _)| t);
        return format!("{kind}::{table}.(unknown)");
    }
    match (access.flags.iter().any(|f| f == "unknown"), &access.target) {
        (true, _) => format!("{kind}::(unknown)"),
        (false, Some(target)) if access.resource.is_empty() => format!("{kind}::{target}"),
        (false, _) => format!("{kind}::{}", access.resource),
    }
}

fn outcome(doc: &OutcomeDoc) -> IndexOutcome {
    // Tags and states are made of these; anything else would be words.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | ';' | ',');
    let is_plain = doc.detail.len() <= LONGEST_DETAIL && doc.detail.chars().all(plain);
    IndexOutcome {
        outcome: doc.outcome.clone(),
        detail: if is_plain {
            doc.detail.clone()
        } else {
            String::new()
        },
        rows: doc.rows,
        elapsed_us: doc.elapsed_us,
    }
}

fn act(doc: &ControlDoc) -> IndexAct {
    IndexAct {
        who: doc.who.as_ref().map(who),
        action: doc.action.clone(),
        resource: doc.resource.clone(),
        refused: doc.refused.is_some(),
    }
}

fn erasure(doc: &ErasureDoc) -> IndexAct {
    IndexAct {
        who: doc.who.as_ref().map(who),
        action: match doc.outcome {
            None => "record:erase".into(),
            Some(_) => "record:erased".into(),
        },
        resource: format!("Session::\"{}\"", doc.session),
        refused: false,
    }
}

/// What was erased goes before the erasure is taken: after a crash it is told again.
fn forget(index: &Index, records: &[Followed]) -> control::store::Result<()> {
    for record in records {
        if let FollowedBody::Erasure(doc) = &record.body
            && doc.outcome.is_none()
            && let Ok(session) = doc.session.parse::<uuid::Uuid>()
        {
            index.forget(*session.as_bytes())?;
            // While somebody reads the file that cannot be. The erasure itself does not end before it is.
            if let Err(error) = index.settle() {
                tracing::debug!(%error, %session, "what was erased is still beside the index");
            }
        }
    }
    Ok(())
}

/// As long as Weir runs: whenever the index is new, older records are read from where they are stored.
pub(crate) async fn read_older(
    index: Index,
    recorder: Arc<Recorder>,
    store: Store,
    age: Duration,
    stop: CancellationToken,
) {
    let feed = Arc::new(Feed::new(index.clone()));
    loop {
        let reading = older(&index, &feed, &recorder, &store, age);
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = reading => result,
        };
        if let Err(why) = result {
            tracing::warn!(%why, "older records cannot be indexed now; it is tried again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn older(
    index: &Index,
    feed: &Arc<Feed>,
    recorder: &Recorder,
    store: &Store,
    age: Duration,
) -> Result<(), String> {
    let behind = blocking(index, |index| index.backfill()).await?;
    let Backfill::Behind { after, generation } = behind else {
        return Ok(());
    };
    // What is in neither the write-ahead log nor the store is on its way between them.
    if !recorder.flush(STORED_WITHIN).await {
        return Err("the store does not have everything yet".into());
    }
    let since = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let days = Days {
        since: Some(Day::of_ns(
            u64::try_from(since.as_nanos()).unwrap_or_default(),
        )),
        until: None,
    };
    let mut taking = Taking {
        feed: feed.clone(),
        generation,
        segments: 0,
    };
    let unread = history(store, days, after.as_deref(), &mut taking)
        .await
        .map_err(|e| chain(&e))?;
    let segments = taking.segments;
    blocking(index, move |index| index.backfilled(generation)).await?;
    tracing::info!(
        segments,
        unread,
        "the index has all records that are stored"
    );
    Ok(())
}

/// Stored segments on their way into the index.
struct Taking {
    feed: Arc<Feed>,
    generation: u64,
    segments: u64,
}

#[async_trait]
impl TakeHistory for Taking {
    async fn take(&mut self, key: &str, records: Vec<Followed>) -> Result<(), String> {
        self.segments += 1;
        let (feed, key, generation) = (self.feed.clone(), key.to_owned(), self.generation);
        blocking(&self.feed.index, move |index| {
            forget(index, &records)?;
            index.take_stored(&feed.entries(&records), &key, generation)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    index: &Index,
    run: impl FnOnce(&Index) -> control::store::Result<T> + Send + 'static,
) -> Result<T, String> {
    let index = index.clone();
    match tokio::task::spawn_blocking(move || run(&index)).await {
        Ok(result) => result.map_err(|e| chain(&e)),
        Err(_) => Err("it ended unexpectedly".into()),
    }
}

#[cfg(test)]
mod tests;
