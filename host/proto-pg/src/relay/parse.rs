//! Parse and Describe: texts that are kept, and what they return.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{OutcomeKind, Receipt};

use super::End;
use super::client::FromClient;
use super::judge::request;
use crate::refusal::Refused;
use crate::statements::{Described, Judged, Prepared};
use crate::survey::About;
use crate::upstream::{NO_SUCH, Planned, Statement};
use crate::wire::HEADER;
use crate::wire::frontend::{self, Object};

impl FromClient {
    pub(super) async fn parse(&mut self, frame: Bytes) -> Result<(), End> {
        let p = match frontend::parse(frame.get(HEADER..).unwrap_or_default()) {
            Ok(p) => p,
            Err(e) => return self.refuse_parse(Bytes::new(), Refused::malformed(e)),
        };
        let sql = frame.slice_ref(p.sql);
        let types = frame.slice_ref(p.types);
        let name = match self.fit(p.name) {
            Ok(name) => frame.slice_ref(name),
            // Under a name of ours: the client's unnamed statement stays.
            Err(refused) => return self.refuse_parse(Bytes::from_static(NO_SUCH), refused),
        };
        // The analysis keeps the text as well.
        let size = sql.len() * 2 + types.len();
        let charge = match self.name_is_free(&name, true, size) {
            Ok(charge) => charge,
            Err(refused) => return self.refuse_parse(name, refused),
        };
        let judged = match self.judge_plan(&sql, None).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return self.refuse_parse(name, refused),
        };
        if !judged.may_be_planned() {
            let refused = self.record_refusal(b"parse\0", &sql, &judged, &sql).await?;
            return self.refuse_parse(name, refused);
        }
        if let Err(refused) = self.plain_types(&types, &judged) {
            return self.refuse_parse(name, refused);
        }
        if let Some(refused) = self.last_look().await? {
            return self.refuse_parse(name, refused);
        }
        if self.skipping() {
            return Ok(());
        }
        let ran = match judged.analysis.parses_code() {
            true => match self.decide_parse(&judged, &sql, frame).await? {
                Ok(Some(receipt)) => Some(receipt),
                Ok(None) => return Ok(()),
                Err(refused) => return self.refuse_parse(name, refused),
            },
            false => {
                let Some(planned) = Planned::new(&frame, &judged) else {
                    return Ok(());
                };
                self.sender.plan(planned);
                None
            }
        };
        self.judge.parsed(&name, &judged.analysis);
        let hides = ran.is_some() && self.hides(&judged);
        let locked = ran.is_none() && !judged.is_late();
        let prepared = Arc::new(Prepared::new(sql, types, judged).charged(charge));
        self.parsed = Some(prepared.clone()).filter(|_| locked);
        self.link.flow.lock().sent_parse(name, prepared, ran, hides);
        Ok(())
    }

    /// Parsing the text runs code: that is decided on, and on record, before it is sent, and what the
    /// code can change counts from then on. None: the server will not get to it.
    async fn decide_parse(
        &mut self,
        judged: &Judged,
        sql: &[u8],
        frame: Bytes,
    ) -> Result<Result<Option<Receipt>, Refused>, End> {
        let canonical = [b"parse\0", sql].concat();
        let asked = request(judged, canonical, Vec::new(), Statement::Parse(frame));
        let permitted = match self.decide(asked, About::text(judged, sql)).await? {
            Ok(permitted) => permitted,
            Err(refusal) => {
                return Ok(Err(judged.told(&refusal, &self.link.session.info().id_text)));
            }
        };
        if permitted.receipt().was_held()
            && let Some(refused) = self.moved_on(sql, judged).await?
        {
            self.withdraw(permitted, OutcomeKind::Failed, &refused.sqlstate)
                .await?;
            return Ok(Err(refused));
        }
        if let Some(refused) = self.last_look().await? {
            self.withdraw(permitted, OutcomeKind::Cancelled, &refused.sqlstate)
                .await?;
            return Ok(Err(refused));
        }
        if self.skipping() {
            self.withdraw(permitted, OutcomeKind::Failed, "skipped")
                .await?;
            return Ok(Ok(None));
        }
        let receipt = self.sender.send(permitted);
        self.judge.planned(&judged.analysis);
        Ok(Ok(Some(receipt)))
    }

    /// A parameter's type is not in the text: a domain's checks would run unseen when it is bound.
    pub(super) fn plain_types(&self, types: &[u8], judged: &Judged) -> Result<(), Refused> {
        if judged.indifferent {
            return Ok(());
        }
        let snapshot = self.judge.snapshot();
        let oids = types.as_chunks::<4>().0.iter().copied();
        match oids
            .map(u32::from_be_bytes)
            .find(|&o| snapshot.runs_code(o))
        {
            None => Ok(()),
            Some(oid) => {
                let text = format!("parameters of type {oid} would run code that is not judged");
                Err(Refused::new("42501", text)
                    .hint("Send the parameter as its base type, and cast it in the statement."))
            }
        }
    }

    fn refuse_parse(&mut self, name: Bytes, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_parse(&name);
            self.link.flow.lock().sent_refused_parse(name, refused);
        }
        Ok(())
    }

    /// Puts on record that something was refused before it was planned or called: what `sql` means, as
    /// a message of this kind and body.
    pub(super) async fn record_refusal(
        &mut self,
        kind: &[u8],
        body: &[u8],
        judged: &Judged,
        sql: &[u8],
    ) -> Result<Refused, End> {
        let canonical = [kind, body].concat();
        let asked = request(judged, canonical, Vec::new(), Statement::Nothing);
        match self.decide(asked, About::text(judged, sql)).await? {
            Err(refusal) => Ok(judged.told(&refusal, &self.link.session.info().id_text)),
            // It cannot be permitted: its policy only refuses.
            Ok(permitted) => {
                self.withdraw(permitted, OutcomeKind::Failed, "refused")
                    .await?;
                Ok(Refused::new("42501", "refused"))
            }
        }
    }

    pub(super) async fn describe(&mut self, body: Bytes) -> Result<(), End> {
        let object = match frontend::object(&body) {
            Ok(object) => object,
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        };
        let object = match self.fit(object.name()) {
            Ok(name) => object.named(name),
            Err(refused) => return self.refuse_bind(refused),
        };
        let mut hides = false;
        let (kind, name, what) = match object {
            Object::Statement(name) => {
                let found = self.statement(name).await?;
                if let Some(prepared) = &found {
                    hides = match self.described_again(prepared).await? {
                        Ok(hides) => hides,
                        Err(refused) => return self.refuse_bind(refused),
                    };
                }
                let what = match found {
                    // Not to be remembered if it could be another's.
                    Some(prepared) if self.is_doubtful(name, &prepared) => Described::Unknown,
                    Some(prepared) => Described::Statement(prepared),
                    None => Described::Unknown,
                };
                (b'S', name, what)
            }
            Object::Portal(name) => {
                let what = match self.portal(name).await? {
                    Some(portal) => Described::Portal(portal),
                    None => Described::Unknown,
                };
                (b'P', name, what)
            }
        };
        if let Some(refused) = self.last_look().await? {
            return self.refuse_bind(refused);
        }
        if !self.skipping() {
            self.sender.describe(kind, name);
            self.link.flow.lock().sent_describe(what, false, hides);
        }
        Ok(())
    }

    /// The server may read the text again to describe it. What that runs was decided on when it was
    /// parsed; it counts again, and has to be permitted still. True: it can reach columns that are hidden
    /// from the client.
    async fn described_again(
        &mut self,
        prepared: &Arc<Prepared>,
    ) -> Result<Result<bool, Refused>, End> {
        let parses_code = prepared.judged.lock().analysis.parses_code();
        if !parses_code {
            return Ok(Ok(false));
        }
        let judged = match self.current(prepared).await? {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        self.judge.planned(&judged.analysis);
        let hides = self.hides(&judged);
        self.link.flow.lock().reads_again(&judged);
        Ok(Ok(hides))
    }
}
