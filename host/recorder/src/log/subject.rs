//! Pseudonyms of principals. Whoever has the key can tell whether a name belongs to one; the names
//! themselves are in the sessions' records.

use aws_lc_rs::hmac;

use crate::doc::{ActorDoc, PrincipalDoc, WhoPart};

/// Characters of a pseudonym: 80 bits.
const CHARACTERS: usize = 20;

/// The key under which principals get their pseudonyms.
pub struct Subjects(hmac::Key);

impl Subjects {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub fn who(&self, principal: &PrincipalDoc) -> WhoPart {
        let id = |actor: &ActorDoc| self.id(&actor.kind, &principal.issuer, &actor.subject);
        WhoPart {
            act: principal.on_behalf_of.iter().map(id).collect(),
            id: id(&principal.actor),
            kind: principal.actor.kind.clone(),
        }
    }

    /// Approvers are known by their names alone.
    pub fn approver(&self, name: &str) -> String {
        self.id("Approver", "", name)
    }

    /// Roles of a database are often people.
    pub fn role(&self, name: &str) -> String {
        self.id("PgRole", "", name)
    }

    /// So are logins of hosts.
    pub fn login(&self, name: &str) -> String {
        self.id("SshAccount", "", name)
    }

    fn id(&self, kind: &str, issuer: &str, subject: &str) -> String {
        let mut ctx = hmac::Context::with_key(&self.0);
        for part in [kind, issuer, subject] {
            ctx.update(&(part.len() as u64).to_be_bytes());
            ctx.update(part.as_bytes());
        }
        let mut text = hex::encode(ctx.sign().as_ref());
        text.truncate(CHARACTERS);
        text
    }
}
