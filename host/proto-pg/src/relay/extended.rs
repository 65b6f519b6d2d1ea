//! Bind, Execute, Close: each refused, or sent and expected, at its place. Parse and Describe are in
//! `parse`.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{Obligations, OutcomeKind, Permitted};

use super::End;
use super::call::quoted;
use super::client::{FromClient, copies_in};
use super::judge::{forgets, request};
use super::witness::Vouched;
use crate::refusal::Refused;
use crate::statements::{
    Charge, Columns, Described, Forgets, Judged, Lookup, Portal, Prepared, Run, cut_name, fit_name,
};
use crate::survey::About;
use crate::upstream::{Bound, DecidedBind, Sender, Statement};
use crate::wire::frontend::{self, Bind, Execute, Object};

/// An execution that may go out.
enum Go {
    Permitted(Permitted<Statement>),
    /// Decided when its portal was bound.
    Bound(Bound),
}

impl Go {
    fn obligations(&self) -> &Obligations {
        match self {
            Self::Permitted(permitted) => permitted.receipt().obligations(),
            Self::Bound(bound) => bound.obligations(),
        }
    }
}

impl FromClient {
    pub(super) fn refuse_bind(&mut self, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_bind();
            self.link.flow.lock().sent_refused_bind(refused);
        }
        Ok(())
    }

    fn refuse_execute(&mut self, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_execute();
            let forgets = Forgets::default();
            self.link
                .flow
                .lock()
                .sent_execute(Run::refused(refused), &forgets);
        }
        Ok(())
    }

    /// The name as the server will know it.
    pub(super) fn fit<'n>(&self, name: &'n [u8]) -> Result<&'n [u8], Refused> {
        let utf8 = self.link.utf8;
        match (fit_name(name, utf8), cut_name(name, utf8)) {
            (Ok(()), _) => Ok(name),
            (Err(_), Some(cut)) if self.link.indifferent(&*self.link.session.pin()) => Ok(cut),
            (Err(refused), _) => Err(refused),
        }
    }

    /// May one more thing of this size be kept under this name? The unnamed ones replace each other.
    pub(super) fn name_is_free(
        &self,
        name: &[u8],
        statement: bool,
        size: usize,
    ) -> Result<Option<Charge>, Refused> {
        if name.is_empty() {
            return Ok(None);
        }
        let limit = self.link.limits.max_names;
        let flow = self.link.flow.lock();
        let used = if statement {
            flow.statements.named()
        } else {
            flow.portals.named()
        };
        if used >= limit {
            let text = format!("a session may have {limit} prepared statements or portals");
            return Err(Refused::new("54000", text));
        }
        let charge = self.named.charge(size).ok_or_else(|| {
            let limit = self.link.limits.max_named_bytes;
            let text =
                format!("the prepared statements and portals of a session may take {limit} bytes");
            Refused::new("54000", text).hint("Close those that are not needed.")
        })?;
        Ok(Some(charge))
    }

    pub(super) async fn statement(&mut self, name: &[u8]) -> Result<Option<Arc<Prepared>>, End> {
        loop {
            let found = {
                let flow = self.link.flow.lock();
                flow.statements.lookup(name, flow.batch())
            };
            match found {
                Lookup::Known(prepared) => return Ok(Some(prepared)),
                Lookup::Absent => return Ok(None),
                Lookup::Unsettled => {
                    self.wait_until(|flow| {
                        !matches!(
                            flow.statements.lookup(name, flow.batch()),
                            Lookup::Unsettled
                        )
                    })
                    .await?;
                }
            }
        }
    }

    pub(super) async fn portal(&mut self, name: &[u8]) -> Result<Option<Arc<Portal>>, End> {
        loop {
            let found = {
                let flow = self.link.flow.lock();
                flow.portals.lookup(name, flow.batch())
            };
            match found {
                Lookup::Known(portal) => return Ok(Some(portal)),
                Lookup::Absent => return Ok(None),
                Lookup::Unsettled => {
                    self.wait_until(|flow| {
                        !matches!(flow.portals.lookup(name, flow.batch()), Lookup::Unsettled)
                    })
                    .await?;
                }
            }
        }
    }

    /// A name that only SQL has made, if any: where policy is indifferent, it is what SQL would run
    /// by it, and the server has the word.
    async fn made_by_sql(&mut self, verb: &str, name: &[u8]) -> Result<Option<Arc<Prepared>>, End> {
        let policy = self.link.session.pin();
        let (false, Ok(name)) = (name.is_empty(), std::str::from_utf8(name)) else {
            return Ok(None);
        };
        if !self.link.indifferent(&*policy) {
            return Ok(None);
        }
        let sql = format!("{verb} {}", quoted(name));
        let Ok(mut judged) = self.judge_text(sql.as_bytes()).await? else {
            return Ok(None);
        };
        if !judged.indifferent {
            return Ok(None);
        }
        // It answers as what was prepared or declared.
        Arc::make_mut(&mut judged.analysis).commands.clear();
        let prepared = Prepared::new(sql.into(), Bytes::new(), Arc::new(judged));
        Ok(Some(Arc::new(prepared)))
    }

    async fn opened_by_sql(&mut self, name: &[u8]) -> Result<Option<Arc<Portal>>, End> {
        let Some(prepared) = self.made_by_sql("FETCH ALL FROM", name).await? else {
            return Ok(None);
        };
        let judged = prepared.judged.lock().clone();
        let nothing = Bind {
            portal: name,
            statement: &[],
            rest: &[],
            params: Vec::new(),
            formats: Vec::new(),
            result_formats: Vec::new(),
        };
        let epoch = self.judge.epoch();
        let portal = Portal::new(prepared, judged, epoch, &nothing, Vec::new());
        Ok(Some(Arc::new(portal)))
    }

    pub(super) async fn bind(&mut self, body: Bytes) -> Result<(), End> {
        let b = match frontend::bind(&body) {
            Ok(b) => b,
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        };
        let b = match (self.fit(b.portal), self.fit(b.statement)) {
            (Ok(portal), Ok(statement)) => Bind {
                portal,
                statement,
                ..b
            },
            (Err(refused), _) | (_, Err(refused)) => return self.refuse_bind(refused),
        };
        // Its values, and what approvals are bound to.
        let charge = match self.name_is_free(b.portal, false, b.rest.len() * 2) {
            Ok(charge) => charge,
            Err(refused) => return self.refuse_bind(refused),
        };
        let mut prepared = self.statement(b.statement).await?;
        if prepared.is_none() {
            prepared = self.made_by_sql("EXECUTE", b.statement).await?;
        }
        let Some(prepared) = prepared else {
            let name = String::from_utf8_lossy(b.statement);
            let text = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            return self.refuse_bind(Refused::new("26000", text));
        };
        let judged = match self.current(&prepared).await? {
            Ok(judged) => judged,
            Err(refused) => return self.refuse_bind(refused),
        };
        if let Err(refused) = self.plain_types(&prepared.types, &judged) {
            return self.refuse_bind(refused);
        }
        if self.skipping() {
            return Ok(());
        }
        let parameters = prepared.parameters(&b, self.judge.snapshot());
        let runs_code = judged.analysis.runs_code();
        let name = Bytes::copy_from_slice(b.portal);
        self.judge.bound(b.portal, &judged.analysis, &parameters);
        let epoch = self.judge.epoch();
        let mut portal =
            Portal::new(prepared.clone(), judged, epoch, &b, parameters).charged(charge);
        let mut permitted = None;
        if runs_code {
            let bind = DecidedBind {
                portal: name.clone(),
                statement: body.slice_ref(b.statement),
                rest: body.slice_ref(b.rest),
            };
            match self.decide_portal(&portal, &portal.judged, bind).await? {
                Ok(decided) if self.skipping() => {
                    return self.withdraw(decided, OutcomeKind::Failed, "skipped").await;
                }
                Ok(decided) => permitted = Some(decided),
                Err(refused) => return self.refuse_bind(refused),
            }
        }
        let refused = match self.last_look().await? {
            Some(refused) => Err(refused),
            None => self.restore(b.statement, &prepared, &portal.judged),
        };
        if let Err(refused) = refused {
            if let Some(decided) = permitted {
                self.withdraw(decided, OutcomeKind::Failed, &refused.sqlstate)
                    .await?;
            }
            return self.refuse_bind(refused);
        }
        if runs_code {
            self.judge.planned(&portal.judged.analysis);
            self.link.voice.says(&portal.judged.analysis);
            // It goes on as it is planned now, whatever its own code does to names.
            portal.epoch.path += 1;
        }
        let hides = match permitted {
            Some(decided) => {
                let bound = self.sender.bind_decided(decided);
                let masked = !bound.obligations().masked.is_empty();
                let hides =
                    (masked && !portal.judged.analysis.is_quiet()) || portal.judged.is_doubtful();
                *portal.granted.lock() = Some(bound);
                hides
            }
            None => {
                self.sender.bind(b.portal, b.statement, b.rest);
                self.hides(&portal.judged)
            }
        };
        let mut flow = self.link.flow.lock();
        flow.sent_bind(name, Arc::new(portal), hides);
        Ok(())
    }

    /// Decides on the execution of a portal; `payload` is what goes to the server when it may be.
    async fn decide_portal<R>(
        &mut self,
        portal: &Portal,
        judged: &Judged,
        payload: R,
    ) -> Result<Result<Permitted<R>, Refused>, End> {
        let (canonical, params) = (portal.canonical.clone(), portal.params.clone());
        let asked = request(judged, canonical, params, payload);
        let about = match portal.params.is_empty() {
            true => About::text(judged, &portal.prepared.sql),
            false => About::with_parameters(judged, &portal.prepared.sql),
        };
        let permitted = match self.decide(asked, about).await? {
            Ok(permitted) => permitted,
            Err(refusal) => {
                return Ok(Err(judged.told(&refusal, &self.link.session.info().id_text)));
            }
        };
        if permitted.receipt().was_held() {
            let sql = portal.prepared.sql.clone();
            if let Some(refused) = self.moved_on(&sql, judged).await? {
                self.withdraw(permitted, OutcomeKind::Failed, &refused.sqlstate)
                    .await?;
                return Ok(Err(refused));
            }
        }
        Ok(Ok(permitted))
    }

    /// The decision that was made when the portal was bound, for its first execution; none when
    /// policy has changed since.
    async fn granted(&mut self, portal: &Portal) -> Result<Option<Bound>, End> {
        let Some(bound) = portal.granted.lock().take() else {
            return Ok(None);
        };
        let active = self.link.session.pin();
        if active.bundle().digest == portal.judged.policy.bundle().digest {
            return Ok(Some(bound));
        }
        self.give_up(Go::Bound(bound), "policy has changed").await?;
        Ok(None)
    }

    async fn give_up(&mut self, go: Go, why: &str) -> Result<(), End> {
        // What was bound was planned, which ran the code in it.
        let (receipt, done) = match go {
            Go::Permitted(permitted) => (Sender::withdraw(permitted), "not sent"),
            Go::Bound(bound) => (bound.give_up(), "bound and not run"),
        };
        let session = self.link.session.clone();
        let kind = OutcomeKind::Failed;
        let detail = format!("{done}: {why}");
        session.outcome(receipt, kind, &detail, 0, 0).await?;
        Ok(())
    }

    /// The verdict on a prepared text as the server understands it now: it plans again when names
    /// have changed their meaning.
    pub(super) async fn current(
        &mut self,
        prepared: &Arc<Prepared>,
    ) -> Result<Result<Arc<Judged>, Refused>, End> {
        let judged = prepared.judged.lock().clone();
        let policy = self.link.session.pin();
        let parsed = self.parsed.as_ref();
        let locked = parsed.is_some_and(|p| Arc::ptr_eq(p, prepared));
        let (catalog, held) = (&self.link.catalog, self.judge.held());
        // In a transaction, it was read for the Parse right before.
        let fresh = catalog.is_fresh(held) || (locked && catalog.is_young(held));
        if fresh
            && judged.is_current(&*policy, self.judge.snapshot(), self.judge.epoch())
            && (locked || self.vouched(&judged).await? == Vouched::Yes)
        {
            return Ok(Ok(judged));
        }
        let sql = prepared.sql.clone();
        let judged = match self.judge_plan(&sql, Some(&judged)).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return Ok(Err(refused)),
        };
        if !judged.may_be_planned() {
            return Ok(Err(self
                .record_refusal(b"parse\0", &sql, &judged, &sql)
                .await?));
        }
        *prepared.judged.lock() = judged.clone();
        // Its columns may come from elsewhere now.
        *prepared.columns.lock() = Columns::Unknown;
        Ok(Ok(judged))
    }

    pub(super) fn close(&mut self, body: Bytes) -> Result<(), End> {
        let object = match frontend::object(&body) {
            Ok(object) => object,
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        };
        let object = match self.fit(object.name()) {
            Ok(name) => object.named(name),
            Err(refused) => return self.refuse_bind(refused),
        };
        let (kind, statement, portal) = match object {
            Object::Statement(name) => (b'S', Some(body.slice_ref(name)), None),
            Object::Portal(name) => (b'P', None, Some(body.slice_ref(name))),
        };
        self.sender.close(kind, object.name());
        self.link.flow.lock().sent_close(statement, portal);
        Ok(())
    }

    pub(super) async fn execute(&mut self, body: Bytes) -> Result<(), End> {
        let e = match frontend::execute(&body) {
            Ok(e) => e,
            Err(e) => return self.refuse_execute(Refused::malformed(e)),
        };
        let e = match self.fit(e.portal) {
            Ok(portal) => Execute { portal, ..e },
            Err(refused) => return self.refuse_execute(refused),
        };
        let mut portal = self.portal(e.portal).await?;
        if portal.is_none() {
            portal = self.opened_by_sql(e.portal).await?;
        }
        let Some(portal) = portal else {
            let name = String::from_utf8_lossy(e.portal);
            let text = format!("portal \"{name}\" does not exist");
            return self.refuse_execute(Refused::new("34000", text));
        };
        if let Err(refused) = self.is_itself(e.portal, &portal) {
            return self.refuse_execute(refused);
        }
        let judged = match self.at_execution(&portal).await? {
            Ok(judged) => judged,
            Err(refused) => return self.refuse_execute(refused),
        };
        let describes = matches!(portal.known_columns(), Columns::Unknown);
        let go = match self.granted(&portal).await? {
            Some(bound) => Go::Bound(bound),
            None => {
                let execute = Statement::Execute {
                    portal: body.slice_ref(e.portal),
                    max_rows: e.max_rows,
                    describe: describes,
                };
                match self.decide_portal(&portal, &judged, execute).await? {
                    Ok(permitted) => Go::Permitted(permitted),
                    Err(refused) => return self.refuse_execute(refused),
                }
            }
        };
        let copy_masks = match self.copy_masks(&judged, go.obligations()).await {
            Ok(masks) => masks,
            Err(refused) => {
                self.give_up(go, &refused.sqlstate).await?;
                return self.refuse_execute(refused);
            }
        };
        if let Some(refused) = self.last_look().await? {
            self.give_up(go, &refused.sqlstate).await?;
            return self.refuse_execute(refused);
        }
        if self.skipping() {
            return self.give_up(go, "skipped").await;
        }
        self.judge.forwarded(&judged.analysis);
        self.link.voice.says(&judged.analysis);
        let forgets = forgets(&judged.analysis);
        let copies_in = copies_in(&judged);
        let receipt = match go {
            Go::Permitted(permitted) => self.sender.send(permitted),
            Go::Bound(bound) => self.sender.execute_bound(bound, e.max_rows, describes),
        };
        let mut run = Run::permitted(receipt, judged, Some(portal.clone()));
        run.copy_masks = copy_masks;
        {
            let mut flow = self.link.flow.lock();
            if describes {
                flow.sent_describe(Described::Portal(portal), true, false);
            }
            flow.sent_execute(run, &forgets);
        }
        if copies_in {
            self.wait_for_copy().await?;
        }
        Ok(())
    }

    /// What a bound portal does is what it meant when it was bound; only policy may be newer.
    async fn at_execution(
        &mut self,
        portal: &Arc<Portal>,
    ) -> Result<Result<Arc<Judged>, Refused>, End> {
        if portal.is_overtaken(self.judge.epoch()) {
            let text = "the meaning of names may have changed since this portal was bound";
            return Ok(Err(Refused::new("42501", text).hint("Bind it again.")));
        }
        let judged = portal.judged.clone();
        let policy = self.link.session.pin();
        if judged.policy.bundle().digest == policy.bundle().digest {
            // The server has no lock yet on what it will plan only now.
            if judged.is_late() && self.vouched(&judged).await? != Vouched::Yes {
                let text = "a view that this reads may have been replaced since it was bound";
                return Ok(Err(Refused::new("42501", text).hint("Bind it again.")));
            }
            return Ok(Ok(judged));
        }
        let epoch = self.judge.epoch();
        let moved = judged.epoch.path != epoch.path
            || (judged.by_name && judged.epoch.names != epoch.names);
        if !moved {
            let sql = portal.prepared.sql.clone();
            match self.judge_text(&sql).await? {
                Ok(now) if !now.analysis.names_the_same(&judged.analysis) => {}
                now => return Ok(now.map(Arc::new)),
            }
        }
        let text = "policy and the meaning of names have changed since this portal was bound";
        Ok(Err(Refused::new("42501", text).hint("Bind it again.")))
    }
}
