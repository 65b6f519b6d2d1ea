//! FunctionCall: a function by its OID and its arguments, without a text. It is judged as the SELECT
//! that would do the same.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::{OutcomeKind, Parameter};

use super::End;
use super::client::FromClient;
use super::judge::request;
use crate::catalog::FIRST_USER_OID;
use crate::refusal::Refused;
use crate::statements::{Judged, Run, binary};
use crate::survey::About;
use crate::upstream::Statement;
use crate::wire::HEADER;
use crate::wire::frontend::{self, FunctionCall, format_of};

/// What libpq calls this way. Their answers are numbers and bytes of large objects, which no column
/// label reaches and no masker looks into; the answers of other functions could not be masked.
const LARGE_OBJECTS: &[&str] = &[
    "lo_close",
    "lo_creat",
    "lo_create",
    "lo_lseek",
    "lo_lseek64",
    "lo_open",
    "lo_tell",
    "lo_tell64",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "loread",
    "lowrite",
];

impl FromClient {
    pub(super) async fn call(&mut self, frame: Bytes) -> Result<(), End> {
        let body = frame.slice(HEADER..);
        let call = match frontend::function_call(&body) {
            Ok(call) => call,
            Err(e) => return self.refuse_query(Refused::malformed(e)),
        };
        let arguments = call.arguments.iter().enumerate();
        let parameters: Vec<_> = arguments
            .map(|(i, a)| match (a, format_of(&call.formats, i)) {
                // Its type is the function's, which may have several of this name.
                (Some(bytes), 1) => binary(bytes, None, self.judge.snapshot()),
                (text, _) => Parameter::from(*text),
            })
            .collect();
        let text = self.spelled_out(&call);
        let mut judged = match self.judge_text(text.as_bytes()).await? {
            Ok(judged) => judged,
            Err(refused) => return self.refuse_query(refused),
        };
        if !self.may_be_called(&call, &judged) {
            let why = "only functions of large objects can be called without SQL through Weir";
            judged.denied.get_or_insert_with(|| why.to_owned());
            let refused = self
                .record_refusal(b"call\0", &body, &judged, text.as_bytes())
                .await?;
            let refused = Refused {
                sqlstate: "42501".to_owned(),
                // It would be in a text of ours.
                position: None,
                ..refused
            };
            return self.refuse_query(refused.hint("Use SELECT."));
        }
        let judged = Arc::new(judged);
        let mut canonical = b"call\0".to_vec();
        canonical.extend_from_slice(&body);
        let mut asked = request(&judged, canonical, parameters, Statement::Call(frame));
        asked
            .unmaskable
            .get_or_insert("the answer of a function call cannot be masked");
        let permitted = match self
            .decide(asked, About::with_parameters(&judged, text.as_bytes()))
            .await?
        {
            Ok(permitted) => permitted,
            Err(refusal) => {
                let refused = judged.told(&refusal, &self.link.session.info().id_text);
                return self.refuse_query(refused);
            }
        };
        if permitted.receipt().was_held()
            && let Some(refused) = self.moved_on(text.as_bytes(), &judged).await?
        {
            self.withdraw(permitted, OutcomeKind::Failed, &refused.sqlstate)
                .await?;
            return self.refuse_query(refused);
        }
        if let Some(refused) = self.last_look().await? {
            self.withdraw(permitted, OutcomeKind::Cancelled, &refused.sqlstate)
                .await?;
            return self.refuse_query(refused);
        }
        if self.skipping() {
            return self
                .withdraw(permitted, OutcomeKind::Failed, "skipped")
                .await;
        }
        self.judge.forwarded(&judged.analysis);
        self.link.voice.says(&judged.analysis);
        let receipt = self.sender.send(permitted);
        let run = Run::permitted(receipt, judged, None).called();
        self.link.flow.lock().sent_call(run);
        Ok(())
    }

    /// The same as SQL; what has no name here does not parse, and counts as not understood.
    fn spelled_out(&self, call: &FunctionCall<'_>) -> String {
        let Some((schema, name)) = self.judge.snapshot().function_of(call.function) else {
            return format!("FunctionCall of {}", call.function);
        };
        let mut text = format!("SELECT {}.{}(", quoted(schema), quoted(name));
        for i in 1..=call.arguments.len() {
            let _ = write!(text, "{}${i}", if i > 1 { ", " } else { "" });
        }
        text + ")"
    }

    fn may_be_called(&self, call: &FunctionCall<'_>, judged: &Judged) -> bool {
        let name = self.judge.snapshot().function_of(call.function);
        let of_large_objects = name.is_some_and(|(schema, name)| {
            &**schema == "pg_catalog" && LARGE_OBJECTS.contains(&&**name)
        });
        judged.indifferent || (of_large_objects && call.function < FIRST_USER_OID)
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
