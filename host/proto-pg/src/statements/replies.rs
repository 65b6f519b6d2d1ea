//! What each reply of the server does to the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pipeline::OutcomeKind;

use super::ends::{Done, unbound, unparsed};
use super::expect::{Changes, Described, Expect, OnFailure};
use super::flow::{CopyIn, Effect, Flow, Manner, NEVER, Violation};
use super::names::Settled;
use super::{Columns, Run};
use crate::analysis::Over;
use crate::wire::HEADER;
use crate::wire::backend::{self, TxStatus};

/// Parameters that the server reports and that can have any value.
const FREE_TEXT: &[&[u8]] = &[b"application_name", b"search_path"];

impl Flow {
    /// The run at the head, whose rows are coming.
    pub fn head_run(&mut self) -> Option<&mut Run> {
        match self.queue.front_mut() {
            Some(Expect::Query(run, _) | Expect::Execute(run, _)) => Some(run),
            _ => None,
        }
    }

    /// Is the next row one of the client's, by Execute? Nothing is taken into account.
    pub fn expects_first_row(&self) -> bool {
        match self.queue.front() {
            Some(Expect::Execute(run, _)) => run.refused.is_none() && !run.call,
            _ => false,
        }
    }

    /// Takes one whole frame into account. Actions that end with it are added to `done`.
    pub fn reply(&mut self, frame: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let tag = frame.first().copied().unwrap_or(0);
        let body = frame.get(HEADER..).unwrap_or_default();
        match tag {
            b'A' => return Ok(Effect::Notified(self.latest)),
            b'S' => return self.parameter(body),
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
        let call = self.head_run().is_some_and(|run| run.call);
        if call && !matches!(tag, b'V' | b'Z') {
            return Err(unexpected(tag, "the answer to a function call"));
        }
        match tag {
            b'V' => self.function_result(),
            b'1' => self.parse_complete(done),
            b'2' => self.bind_complete(done),
            b'3' => self.close_complete(),
            b't' => self.parameter_description(body),
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

    /// Code on the server can set a free text to a value that it may not return.
    fn parameter(&self, body: &[u8]) -> Result<Effect, Violation> {
        let (name, _) = backend::parameter(body)?;
        Ok(if self.may_tell() && FREE_TEXT.contains(&name) {
            Effect::Swallow
        } else {
            Effect::Pass(None)
        })
    }

    fn notice(&self) -> Effect {
        let seq = match self.queue.front() {
            Some(Expect::Own(_)) => return Effect::Swallow,
            // What comes before a refused statement fails is not about it.
            Some(Expect::Query(run, _) | Expect::Execute(run, _)) => run.seq(),
            _ => None,
        };
        let manner = self.manner();
        Effect::Report { seq, manner }
    }

    /// Can a text of the server show values that are hidden from the client? It is about the head, or
    /// about what came before it: deferred work of the transaction speaks of what earlier ones touched.
    fn may_tell(&self) -> bool {
        self.tainted || self.queue.front().is_some_and(Expect::hides)
    }

    fn manner(&self) -> Manner {
        match self.may_tell() {
            true => Manner::Redacted,
            false => Manner::AsIs,
        }
    }

    fn error(&mut self, body: &[u8], done: &mut Vec<Done>) -> Result<Effect, Violation> {
        let report = backend::report(body)?;
        let sqlstate = report.sqlstate();
        self.copy_in = CopyIn::None;
        if report.is_fatal() {
            // The end of the connection follows, and it is not about a refused statement.
            return Ok(match self.notice() {
                Effect::Swallow => Effect::Report {
                    seq: None,
                    manner: self.manner(),
                },
                effect => effect,
            });
        }
        match self.queue.front_mut() {
            None => Err(unexpected(b'E', "nothing")),
            Some(Expect::Local(_)) => Err(unexpected(b'E', "an answer of ours")),
            Some(Expect::Own(own)) => {
                own.collector
                    .take(b'E', body, own.bounds)
                    .map_err(|_| unexpected(b'E', "a catalogue"))?;
                Ok(Effect::Swallow)
            }
            Some(Expect::Query(run, _)) => {
                run.failed.get_or_insert(sqlstate);
                Ok(self.report_on_head())
            }
            // A deferred constraint, at the end of an implicit transaction.
            Some(Expect::Sync) => {
                self.batch_failed(None, &sqlstate);
                Ok(Effect::Late {
                    seq: self.latest,
                    manner: self.manner(),
                })
            }
            Some(_) => {
                let effect = self.report_on_head();
                self.fail_head(&sqlstate, done);
                self.skip_to_sync(&sqlstate, done);
                Ok(effect)
            }
        }
    }

    /// How the client is told that the head failed. Planning runs immutable and stable functions;
    /// parsing, what reads constants.
    fn report_on_head(&self) -> Effect {
        let (seq, refused) = match self.queue.front() {
            Some(Expect::Query(run, _) | Expect::Execute(run, _)) => (run.seq(), &run.refused),
            Some(Expect::Parse { refused, .. } | Expect::Bind { refused, .. }) => (None, refused),
            _ => (None, &None),
        };
        let manner = match refused {
            Some(refused) => Manner::Instead(refused.clone()),
            None => self.manner(),
        };
        Effect::Report { seq, manner }
    }

    /// The head, an extended message, failed.
    fn fail_head(&mut self, sqlstate: &str, done: &mut Vec<Done>) {
        match self.pop() {
            Some(Expect::Execute(mut run, changes)) => {
                self.settle(changes, false, true);
                run.failed = Some(sqlstate.to_owned());
                self.batch_failed(Some(&run), sqlstate);
                done.extend(run.finish(true));
                return;
            }
            Some(Expect::Close(changes)) => self.settle(changes, false, true),
            Some(Expect::Parse {
                changes, receipt, ..
            }) => {
                self.settle(changes, false, true);
                done.extend(unparsed(receipt, sqlstate));
            }
            Some(Expect::Bind {
                changes, granted, ..
            }) => {
                self.settle(changes, false, true);
                done.extend(unbound(granted, sqlstate));
            }
            // The next one to bind it tries again.
            Some(Expect::Again { prepared, .. }) => {
                prepared.foreign.store(NEVER, Ordering::SeqCst);
            }
            _ => {}
        }
        self.batch_failed(None, sqlstate);
    }

    /// The server ignores what was sent up to the next Sync: it shows nothing.
    fn skip_to_sync(&mut self, sqlstate: &str, done: &mut Vec<Done>) {
        let skipped = format!("skipped after {sqlstate}");
        loop {
            match self.queue.front() {
                Some(Expect::Sync | Expect::Own(_) | Expect::Local(_)) => return,
                None => {
                    self.skipping = true;
                    return;
                }
                Some(_) => {}
            }
            match self.queue.pop_front() {
                Some(Expect::Query(mut run, changes) | Expect::Execute(mut run, changes)) => {
                    self.settle(changes, false, false);
                    run.failed.get_or_insert_with(|| skipped.clone());
                    done.extend(run.finish(false));
                }
                Some(Expect::Bind {
                    changes, granted, ..
                }) => {
                    self.settle(changes, false, false);
                    done.extend(unbound(granted, &skipped));
                }
                Some(Expect::Close(changes)) => self.settle(changes, false, false),
                Some(Expect::Parse {
                    changes, receipt, ..
                }) => {
                    self.settle(changes, false, false);
                    done.extend(unparsed(receipt, &skipped));
                }
                Some(Expect::Again { prepared, .. }) => {
                    prepared.foreign.store(NEVER, Ordering::SeqCst);
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
        if let Some(Expect::Own(own)) = self.pop()
            && let Some(answer) = own.answer
        {
            answer.send(own.collector.finish()).ok();
        }
    }

    fn parse_complete(&mut self, done: &mut Vec<Done>) -> Result<Effect, Violation> {
        match self.pop() {
            Some(Expect::Parse {
                changes,
                refused: None,
                receipt,
                ..
            }) => {
                self.settle(changes, true, true);
                let parsed = |r| Done::new(r, OutcomeKind::Done, "PARSE".to_owned(), false);
                done.extend(receipt.map(parsed));
                Ok(Effect::Pass(None))
            }
            Some(Expect::Parse { .. }) => Err(Violation::RanRefused),
            Some(Expect::Again { closed: true, .. }) => Ok(Effect::Swallow),
            other => Err(unexpected(b'1', kind(other.as_ref()))),
        }
    }

    fn bind_complete(&mut self, done: &mut Vec<Done>) -> Result<Effect, Violation> {
        match self.pop() {
            Some(Expect::Bind {
                changes,
                refused: None,
                granted,
                ..
            }) => {
                self.settle(changes, true, true);
                if let Some(portal) = granted {
                    self.bound(portal, done);
                }
                Ok(Effect::Pass(None))
            }
            Some(Expect::Bind { .. }) => Err(Violation::RanRefused),
            other => Err(unexpected(b'2', kind(other.as_ref()))),
        }
    }

    fn close_complete(&mut self) -> Result<Effect, Violation> {
        if let Some(Expect::Again { closed, .. }) = self.queue.front_mut()
            && !*closed
        {
            *closed = true;
            return Ok(Effect::Swallow);
        }
        match self.pop() {
            Some(Expect::Close(changes)) => {
                self.settle(changes, true, true);
                Ok(Effect::Pass(None))
            }
            other => Err(unexpected(b'3', kind(other.as_ref()))),
        }
    }

    fn parameter_description(&mut self, body: &[u8]) -> Result<Effect, Violation> {
        match self.queue.front_mut() {
            Some(Expect::Describe {
                what: what @ (Described::Statement(_) | Described::Unknown),
                parameters: parameters @ false,
                ..
            }) => {
                *parameters = true;
                let types = backend::parameter_types(body)?;
                if let Described::Statement(prepared) = what {
                    *prepared.parameters.lock() = Some(Bytes::copy_from_slice(types));
                }
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
            ..
        }) = self.pop()
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

    fn function_result(&mut self) -> Result<Effect, Violation> {
        match self.head_run() {
            Some(run) if run.call && run.tags.is_empty() => {
                run.add_tag("FUNCTION CALL");
                Ok(Effect::Pass(run.seq()))
            }
            _ => Err(unexpected(b'V', "no function call")),
        }
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
        let (seq, names, over) = match self.head_run() {
            None => return Err(unexpected(b'C', "no command")),
            Some(run) => {
                if run.refused.is_some() {
                    return Err(Violation::RanRefused);
                }
                if run.is_one_too_many() {
                    // It was read otherwise than here.
                    if !run.is_indifferent() {
                        return Err(Violation::Command(tag));
                    }
                    run.add_tag("not understood:");
                }
                let over = match run.command() {
                    Some(command) if !command.verb.fits(&tag) => {
                        return Err(Violation::Command(tag));
                    }
                    Some(command) => command.over.clone(),
                    None => Over::Nothing,
                };
                run.next += 1;
                run.copy_out = false;
                run.add_tag(&tag);
                let names = run.judged.as_ref().map(|judged| judged.epoch.names);
                (run.seq(), names, over)
            }
        };
        self.drops(names.filter(|_| over.is_told(&tag)), &over);
        self.is_over(over);
        if let Some(Expect::Execute(..)) = self.queue.front() {
            self.finish_execute(done);
        }
        Ok(Effect::Pass(seq))
    }

    /// SQL dropped prepared statements or portals. That is for good, whatever becomes of the
    /// transaction.
    fn is_over(&mut self, over: Over) {
        match over {
            Over::Nothing => {}
            Over::Statement(name) => self.statements.drop_settled(name.as_bytes()),
            Over::Statements => self.statements.clear_named(),
            Over::Portal(name) => self.portals.drop_settled(name.as_bytes()),
            Over::Portals => self.portals.clear_settled(),
            Over::Everything => {
                self.statements.clear_named();
                self.portals.clear_settled();
            }
        }
    }

    fn finish_execute(&mut self, done: &mut Vec<Done>) {
        if let Some(Expect::Execute(run, changes)) = self.pop() {
            self.ddl |= run.changes_catalog();
            // What the text did to names happened, but what they are now is not known here.
            self.settle(changes, false, true);
            self.executed(run, done);
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
        let seq = match run.seq() {
            Some(seq) if run.may_copy_in() => seq,
            _ => return Err(Violation::Copy),
        };
        self.copy_in = CopyIn::Active { seq };
        Ok(Effect::Pass(Some(seq)))
    }

    fn copy_out_response(&mut self) -> Result<Effect, Violation> {
        let run = self.head_run().ok_or(Violation::Copy)?;
        if !run.may_copy_out() {
            return Err(Violation::Copy);
        }
        run.copy_out = true;
        Ok(Effect::CopyOut)
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
        match self.pop() {
            Some(Expect::Query(run, changes)) => {
                if run.refused.is_some() && run.failed.is_none() {
                    return Err(Violation::RanRefused);
                }
                self.ddl |= run.changes_catalog();
                self.settle(changes, false, true);
                self.batch_ended(run.failed.as_deref().map(|code| (&*run, code)));
                done.extend(run.finish(true));
            }
            // An error in it was settled when it came.
            Some(Expect::Sync) => self.batch_ended(None),
            other => return Err(unexpected(b'Z', kind(other.as_ref()))),
        }
        self.tx = status;
        if status == TxStatus::Idle {
            self.portals.clear_settled();
            self.never_run(done, |_| true);
            self.catalog_changed |= std::mem::take(&mut self.ddl);
            self.tainted = false;
        }
        Ok(Effect::Pass(None))
    }
}

fn unexpected(tag: u8, expected: &'static str) -> Violation {
    Violation::Unexpected { tag, expected }
}

fn kind(expect: Option<&Expect>) -> &'static str {
    match expect {
        None => "nothing",
        Some(Expect::Query(..)) => "the answer to a query",
        Some(Expect::Parse { .. } | Expect::Again { .. }) => "ParseComplete",
        Some(Expect::Bind { .. }) => "BindComplete",
        Some(Expect::Describe { .. }) => "a description",
        Some(Expect::Execute(..)) => "the answer to Execute",
        Some(Expect::Close(_)) => "CloseComplete",
        Some(Expect::Sync) => "ReadyForQuery",
        Some(Expect::Own(_)) => "a catalogue",
        Some(Expect::Local(_)) => "an answer of ours",
    }
}
