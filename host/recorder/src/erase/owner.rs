//! Whose session it is: nobody has the recording of their own session erased. The control plane remembers
//! sessions for a while; a recording stays for longer, and it says so itself.

use uuid::Uuid;

use super::known::{Known, Whose};
use super::{Erase, EraseError};
use crate::convert;
use crate::doc::{PrincipalDoc, StartDoc};
use crate::record::Kind;
use crate::recorder::Inner;
use crate::store::ReadError;

/// What a record says of whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Own,
    SomebodyElses,
    Nothing,
}

impl Inner {
    pub(super) async fn is_not_own(&self, ask: &Erase, known: &Known) -> Result<(), EraseError> {
        let Some(who) = &ask.who else {
            return Ok(());
        };
        let who = convert::principal(who);
        let by_leaf = self.by_leaf(&who, known);
        if by_leaf == Told::Own {
            return Err(EraseError::Own(ask.session));
        }
        // It knows those who answer for an agent, and a name whoever has issued it.
        let by_start = self.by_start(ask.session, &who, known).await?;
        match (by_start, by_leaf, ask.is_somebody_elses) {
            (Told::Own, ..) => Err(EraseError::Own(ask.session)),
            (Told::SomebodyElses, ..) | (_, Told::SomebodyElses, _) | (.., true) => Ok(()),
            (Told::Nothing, _, false) => Err(EraseError::OwnerUnknown(ask.session)),
        }
    }

    /// By pseudonyms, which are this Weir's if the log is. Who answers for an agent that acts by itself is
    /// not among them.
    fn by_leaf(&self, who: &PrincipalDoc, known: &Known) -> Told {
        let Some(had) = &known.who else {
            return Told::Nothing;
        };
        let asks = self.subjects.who(who);
        let mut asking = asks.act.iter().chain([&asks.id]);
        if asking.any(|id| *id == had.id || had.act.contains(id)) {
            return Told::Own;
        }
        let is_a_persons = had.kind == "User" || !had.act.is_empty();
        match known.whose {
            Whose::Own if is_a_persons => Told::SomebodyElses,
            Whose::Own | Whose::Other { .. } => Told::Nothing,
        }
    }

    /// By the first record, if it can be read. There can be several, after a crash, which then say the same.
    async fn by_start(
        &self,
        session: Uuid,
        who: &PrincipalDoc,
        known: &Known,
    ) -> Result<Told, EraseError> {
        // Made anew, so that no key is remembered afterwards.
        let store = self.store_with_keys();
        let (mut told, mut unread) = (Told::Nothing, false);
        for key in known.anchors.keys().filter(|key| key.segment == 0) {
            let segment = match store.segment(key).await {
                Ok(segment) => segment,
                Err(ReadError::Store(error)) if !error.is_missing() => return Err(error.into()),
                Err(error @ ReadError::KeyStore { .. }) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%session, %error, "who had the session is not read from its start");
                    unread |= !matches!(error, ReadError::Store(_));
                    continue;
                }
            };
            let start = segment.records().next();
            let start = start.filter(|record| record.known() == Some(Kind::SessionStart));
            let Some(doc) = start.and_then(|r| serde_json::from_slice::<StartDoc>(r.payload).ok())
            else {
                unread = true;
                continue;
            };
            let had: Vec<&str> = names(&doc.who).collect();
            if names(who).any(|name| had.contains(&name)) {
                return Ok(Told::Own);
            }
            told = Told::SomebodyElses;
        }
        // One that cannot be read may say otherwise.
        Ok(if unread { Told::Nothing } else { told })
    }
}

/// Everybody in the chain, and who answers for them.
fn names(who: &PrincipalDoc) -> impl Iterator<Item = &str> {
    who.on_behalf_of
        .iter()
        .chain([&who.actor])
        .flat_map(|actor| [Some(actor.subject.as_str()), actor.owner.as_deref()])
        .flatten()
}
