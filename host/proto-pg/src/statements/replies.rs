//! What each reply of the server does to the queue.

use std::sync::Arc;

use pipeline::OutcomeKind;

use super::flow::{
    Changes, CopyIn, Described, Done, Effect, Expect, Flow, Manner, OnFailure, Violation,
};
use super::names::Settled;
use super::{Columns, Portal, Run};
use crate::analysis::CopyKind;
use crate::refusal::Refused;
use crate::wire::HEADER;
use crate::wire::backend::{self, TxStatus};

impl Flow {
    /// The run at the head, whose rows are coming.
    pub fn head_run(&mut self) -> Option<&mut Run> {
        match self.queue.front_mut() {
            Some(Expect::Query(run, _) | Expect::Execute(run, _)) => Some(run),
            _ => None,
        }
    }

    /// Takes one whole frame into account. Actions that end with it are added to `done`.
    pub fn reply(&mut self, frame: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let tag = frame.first().copied().unwrap_or(0);
        let body = frame.get(HEADER..).unwrap_or_default();
        match tag {
            b'S' | b'A' => return Ok(Effect::Pass(None)),
            b'N' => return Ok(self.notice()),
            b'E' => return self.error(body, done),
            _ => {}
        }
        if let Some(Expect::Own(own)) = self.queue.front_mut() {
            match own.collector.take(tag, body, own.bounds) {
                Ok(false) => return Ok(Effect::Swallow),
                Ok(true) => {
                    self.tx = backend::ready(body)?;
                    self.finish_own();
                    return Ok(Effect::Swallow);
                }
                Err(e) => {
                    if let Some(answer) = own.answer.take() {
                        answer.send(Err(e)).ok();
                    }
                    return Err(unexpected(tag, "a catalogue"));
                }
            }
        }
        match tag {
            b'1' => self.parse_complete(),
            b'2' => self.bind_complete(),
            b'3' => self.close_complete(),
            b't' => self.parameter_description(),
            b'T' => self.row_description(body),
            b'n' => self.no_data(),
            b'D' => self.data(),
            b'C' => self.command_complete(body, done),
            b's' | b'I' => self.suspended_or_empty(tag, done),
            b'G' => self.copy_in_response(),
            b'H' => self.copy_out_response(),
            b'd' | b'c' => self.copy_data(tag),
            b'Z' => self.ready(body, done),
            _ => Err(unexpected(tag, "no message of this type")),
        }
    }

    fn notice(&mut self) -> Effect {
        match self.queue.front() {
            Some(Expect::Query(run, _) | Expect::Execute(run, _)) => Effect::Report {
                seq: run.seq(),
                manner: if run.is_masked() {
                    Manner::Redacted
                } else {
                    Manner::AsIs
                },
            },
            Some(Expect::Own(_)) => Effect::Swallow,
            _ => Effect::Report {
                seq: None,
                manner: self.manner_between(),
            },
        }
    }

    /// Outside of a run: deferred work of the transaction may speak of what earlier ones touched.
    fn manner_between(&self) -> Manner {
        if self.tainted {
            Manner::Redacted
        } else {
            Manner::AsIs
        }
    }

    fn error(&mut self, body: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let report = backend::report(body)?;
        let sqlstate = report.sqlstate();
        self.copy_in = CopyIn::None;
        if report.is_fatal() {
            // The end of the connection follows.
            return Ok(Effect::Report {
                seq: self.head_run().and_then(|r| r.seq()),
                manner: match self.queue.front() {
                    Some(Expect::Query(run, _) | Expect::Execute(run, _)) if run.is_masked() => {
                        Manner::Redacted
                    }
                    _ => self.manner_between(),
                },
            });
        }
        let tainted = self.tainted;
        let manner = move |run: &Run| match &run.refused {
            Some(refused) => Manner::Instead(refused.clone()),
            None if run.is_masked() || (tainted && run.ends_transaction()) => Manner::Redacted,
            None => Manner::AsIs,
        };
        match self.queue.front_mut() {
            None => Err(unexpected(b'E', "nothing")),
            Some(Expect::Own(own)) => {
                own.collector
                    .take(b'E', body, own.bounds)
                    .map_err(|_| unexpected(b'E', "a catalogue"))?;
                Ok(Effect::Swallow)
            }
            Some(Expect::Query(run, _)) => {
                run.failed.get_or_insert(sqlstate);
                Ok(Effect::Report {
                    seq: run.seq(),
                    manner: manner(run),
                })
            }
            // A deferred constraint, at the end of an implicit transaction.
            Some(Expect::Sync) => Ok(Effect::Report {
                seq: None,
                manner: self.manner_between(),
            }),
            Some(_) => {
                let effect = self.fail_head(&sqlstate, manner, done);
                self.skip_to_sync(done);
                Ok(effect)
            }
        }
    }

    /// The head, an extended message, failed.
    fn fail_head(
        &mut self,
        sqlstate: &str,
        manner: impl Fn(&Run) -> Manner,
        done: &mut Vec<Done>,
    ) -> Effect {
        let instead = |refused: Option<Refused>, tainted: bool| match refused {
            Some(refused) => Manner::Instead(refused),
            None if tainted => Manner::Redacted,
            None => Manner::AsIs,
        };
        let tainted = self.tainted;
        match self.queue.pop_front() {
            Some(Expect::Execute(mut run, changes)) => {
                let effect = Effect::Report {
                    seq: run.seq(),
                    manner: manner(&run),
                };
                self.settle(changes, false, true);
                run.failed = Some(sqlstate.to_owned());
                done.extend(run.finish(true));
                effect
            }
            Some(Expect::Parse(changes, refused)) => {
                self.settle(changes, false, true);
                Effect::Report {
                    seq: None,
                    manner: instead(refused, false),
                }
            }
            Some(Expect::Bind(changes, refused, granted)) => {
                self.settle(changes, false, true);
                done.extend(unbound(granted, sqlstate));
                // Planning may run immutable functions, and read statistics.
                Effect::Report {
                    seq: None,
                    manner: instead(refused, tainted),
                }
            }
            Some(Expect::Close(changes)) => {
                self.settle(changes, false, true);
                Effect::Report {
                    seq: None,
                    manner: Manner::AsIs,
                }
            }
            _ => Effect::Report {
                seq: None,
                manner: Manner::AsIs,
            },
        }
    }

    /// The server ignores what was sent up to the next Sync.
    fn skip_to_sync(&mut self, done: &mut Vec<Done>) {
        loop {
            match self.queue.front() {
                Some(Expect::Sync | Expect::Own(_)) => return,
                None => {
                    self.skipping = true;
                    return;
                }
                Some(_) => {}
            }
            match self.queue.pop_front() {
                Some(Expect::Query(mut run, changes) | Expect::Execute(mut run, changes)) => {
                    self.settle(changes, false, false);
                    run.failed.get_or_insert_with(|| "skipped".to_owned());
                    done.extend(run.finish(false));
                }
                Some(Expect::Bind(changes, _, granted)) => {
                    self.settle(changes, false, false);
                    done.extend(unbound(granted, "skipped"));
                }
                Some(Expect::Parse(changes, _) | Expect::Close(changes)) => {
                    self.settle(changes, false, false);
                }
                _ => {}
            }
        }
    }

    /// `ran`: the server got to it.
    fn settle(&mut self, changes: Changes, ok: bool, ran: bool) {
        let how = match (ok, ran, changes.on_failure) {
            (true, _, _) => Settled::Applied,
            (false, false, _) | (false, true, OnFailure::Revert) => Settled::Reverted,
            (false, true, OnFailure::Gone) => Settled::Gone,
        };
        for name in changes.statements {
            self.statements.settle(&name, changes.id, how);
        }
        for name in changes.portals {
            self.portals.settle(&name, changes.id, how);
        }
    }

    fn finish_own(&mut self) {
        if let Some(Expect::Own(own)) = self.queue.pop_front()
            && let Some(answer) = own.answer
        {
            answer.send(own.collector.finish()).ok();
        }
    }

    fn parse_complete(&mut self) -> Result<Effect, Violation> {
        match self.queue.pop_front() {
            Some(Expect::Parse(changes, None)) => {
                self.settle(changes, true, true);
                Ok(Effect::Pass(None))
            }
            Some(Expect::Parse(_, Some(_))) => Err(Violation::RanRefused),
            other => Err(unexpected(b'1', kind(other.as_ref()))),
        }
    }

    fn bind_complete(&mut self) -> Result<Effect, Violation> {
        match self.queue.pop_front() {
            Some(Expect::Bind(changes, None, _)) => {
                self.settle(changes, true, true);
                Ok(Effect::Pass(None))
            }
            Some(Expect::Bind(_, Some(_), _)) => Err(Violation::RanRefused),
            other => Err(unexpected(b'2', kind(other.as_ref()))),
        }
    }

    fn close_complete(&mut self) -> Result<Effect, Violation> {
        match self.queue.pop_front() {
            Some(Expect::Close(changes)) => {
                self.settle(changes, true, true);
                Ok(Effect::Pass(None))
            }
            other => Err(unexpected(b'3', kind(other.as_ref()))),
        }
    }

    fn parameter_description(&mut self) -> Result<Effect, Violation> {
        match self.queue.front_mut() {
            Some(Expect::Describe {
                what: Described::Statement(_) | Described::Unknown,
                parameters: parameters @ false,
                ..
            }) => {
                *parameters = true;
                Ok(Effect::Pass(None))
            }
            other => Err(unexpected(b't', kind(other.as_deref()))),
        }
    }

    fn row_description(&mut self, body: &[u8]) -> Result<Effect, Violation> {
        match self.queue.front() {
            Some(Expect::Query(run, _)) => {
                return if run.refused.is_some() {
                    Err(Violation::RanRefused)
                } else {
                    Ok(Effect::Rows)
                };
            }
            Some(Expect::Describe { .. }) => {}
            other => return Err(unexpected(b'T', kind(other))),
        }
        let fields: Arc<[crate::analysis::Field]> = backend::row_description(body)?.into();
        self.described(Columns::Fields(fields))
    }

    fn no_data(&mut self) -> Result<Effect, Violation> {
        match self.queue.front() {
            Some(Expect::Describe { .. }) => self.described(Columns::None),
            other => Err(unexpected(b'n', kind(other))),
        }
    }

    fn described(&mut self, columns: Columns) -> Result<Effect, Violation> {
        let Some(Expect::Describe {
            what,
            parameters,
            own,
        }) = self.queue.pop_front()
        else {
            return Err(unexpected(b'T', "a Describe"));
        };
        match what {
            Described::Statement(_) if !parameters => {
                return Err(unexpected(b'T', "a ParameterDescription"));
            }
            Described::Statement(prepared) => *prepared.columns.lock() = columns,
            Described::Portal(portal) => *portal.columns.lock() = columns,
            Described::Unknown => {}
        }
        Ok(if own {
            Effect::Swallow
        } else {
            Effect::Pass(None)
        })
    }

    fn data(&mut self) -> Result<Effect, Violation> {
        match self.head_run() {
            Some(run) if run.refused.is_none() => Ok(Effect::Data),
            Some(_) => Err(Violation::RanRefused),
            None => Err(unexpected(b'D', "no row")),
        }
    }

    fn command_complete(&mut self, body: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let tag = String::from_utf8_lossy(backend::command(body)?).into_owned();
        self.copy_in = CopyIn::None;
        let seq = match self.head_run() {
            None => return Err(unexpected(b'C', "no command")),
            Some(run) => {
                if run.refused.is_some() {
                    return Err(Violation::RanRefused);
                }
                run.next += 1;
                run.copy_out = false;
                run.add_tag(&tag);
                run.seq()
            }
        };
        if let Some(Expect::Execute(..)) = self.queue.front() {
            self.finish_execute(done);
        }
        Ok(Effect::Pass(seq))
    }

    fn finish_execute(&mut self, done: &mut Vec<Done>) {
        if let Some(Expect::Execute(run, changes)) = self.queue.pop_front() {
            self.ddl |= run.changes_catalog();
            // What the text did to names happened, but what they are now is not known here.
            self.settle(changes, false, true);
            done.extend(run.finish(true));
        }
    }

    fn suspended_or_empty(&mut self, tag: u8, done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let seq = match self.queue.front_mut() {
            Some(Expect::Query(run, _)) if tag == b'I' => {
                if run.refused.is_some() {
                    return Err(Violation::RanRefused);
                }
                run.next += 1;
                return Ok(Effect::Pass(run.seq()));
            }
            Some(Expect::Execute(run, _)) => {
                if run.refused.is_some() {
                    return Err(Violation::RanRefused);
                }
                if tag == b's' {
                    run.add_tag("suspended");
                }
                run.seq()
            }
            other => return Err(unexpected(tag, kind(other.as_deref()))),
        };
        self.finish_execute(done);
        Ok(Effect::Pass(seq))
    }

    fn copy_in_response(&mut self) -> Result<Effect, Violation> {
        let run = self.head_run().ok_or(Violation::Copy)?;
        let seq = match (run.copy(), run.seq()) {
            (Some(CopyKind::In), Some(seq)) => seq,
            _ => return Err(Violation::Copy),
        };
        self.copy_in = CopyIn::Active { seq };
        Ok(Effect::Pass(Some(seq)))
    }

    fn copy_out_response(&mut self) -> Result<Effect, Violation> {
        let run = self.head_run().ok_or(Violation::Copy)?;
        match run.copy() {
            Some(CopyKind::Out { .. }) => {
                run.copy_out = true;
                Ok(Effect::CopyOut)
            }
            _ => Err(Violation::Copy),
        }
    }

    fn copy_data(&mut self, tag: u8) -> Result<Effect, Violation> {
        match self.head_run() {
            Some(run) if run.copy_out && tag == b'd' => Ok(Effect::Data),
            Some(run) if run.copy_out => Ok(Effect::Pass(run.seq())),
            _ => Err(unexpected(tag, "no COPY")),
        }
    }

    fn ready(&mut self, body: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let status = backend::ready(body)?;
        self.copy_in = CopyIn::None;
        match self.queue.pop_front() {
            Some(Expect::Query(run, changes)) => {
                if run.refused.is_some() && run.failed.is_none() {
                    return Err(Violation::RanRefused);
                }
                self.ddl |= run.changes_catalog();
                self.settle(changes, false, true);
                done.extend(run.finish(true));
            }
            Some(Expect::Sync) => {}
            other => return Err(unexpected(b'Z', kind(other.as_ref()))),
        }
        self.tx = status;
        if status == TxStatus::Idle {
            self.portals.clear_settled();
            self.catalog_changed |= std::mem::take(&mut self.ddl);
            // What is under way already counts for the next transaction.
            self.tainted = self.queue.iter().any(|e| match e {
                Expect::Query(run, _) | Expect::Execute(run, _) => run.is_masked(),
                _ => false,
            });
        }
        Ok(Effect::Pass(None))
    }
}

impl Run {
    /// COPY in the statement whose result comes next.
    fn copy(&self) -> Option<&CopyKind> {
        let judged = self.judged.as_ref()?;
        judged.analysis.statements.get(self.next)?.copy()
    }

    fn changes_catalog(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|judged| judged.analysis.changes_catalog)
    }

    fn ends_transaction(&self) -> bool {
        self.judged.as_ref().is_some_and(|judged| {
            judged
                .analysis
                .statements
                .iter()
                .any(|s| s.transaction().is_some())
        })
    }

    /// Kept short: a thousand statements in one text are one outcome.
    fn add_tag(&mut self, tag: &str) {
        const MAX_TAGS: usize = 512;
        if self.tags.len() + tag.len() > MAX_TAGS {
            if !self.tags.ends_with('…') {
                self.tags.push('…');
            }
            return;
        }
        if !self.tags.is_empty() {
            self.tags.push_str("; ");
        }
        self.tags.push_str(tag);
    }

    fn finish(self: Box<Self>, ran: bool) -> Option<Done> {
        let Self {
            receipt,
            tags,
            failed,
            ..
        } = *self;
        let (kind, detail) = match failed {
            None => (OutcomeKind::Done, tags),
            Some(code) if code == "57014" => (OutcomeKind::Cancelled, code),
            Some(code) => (OutcomeKind::Failed, code),
        };
        receipt.map(|receipt| Done {
            receipt,
            kind,
            detail,
            ran,
        })
    }
}

/// A decided portal that could not be bound: it is not run.
fn unbound(granted: Option<Arc<Portal>>, why: &str) -> Option<Done> {
    let receipt = granted?.granted.lock().take()?.give_up();
    Some(Done {
        receipt,
        kind: OutcomeKind::Failed,
        detail: why.to_owned(),
        ran: false,
    })
}

fn unexpected(tag: u8, expected: &'static str) -> Violation {
    Violation::Unexpected { tag, expected }
}

fn kind(expect: Option<&Expect>) -> &'static str {
    match expect {
        None => "nothing",
        Some(Expect::Query(..)) => "the answer to a query",
        Some(Expect::Parse(..)) => "ParseComplete",
        Some(Expect::Bind(..)) => "BindComplete",
        Some(Expect::Describe { .. }) => "a description",
        Some(Expect::Execute(..)) => "the answer to Execute",
        Some(Expect::Close(_)) => "CloseComplete",
        Some(Expect::Sync) => "ReadyForQuery",
        Some(Expect::Own(_)) => "a catalogue",
    }
}
