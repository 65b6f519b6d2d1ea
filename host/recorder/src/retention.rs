//! What a policy bundle wants kept for longer than the vault keeps everything: is the vault one that does?

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::objects::{Objects, StoreError};
use crate::recorder::Recorder;

/// What is made of a store that does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is an error: people bring a bundle that nobody has proved yet.
    Now,
    /// It is asked again before anything is stored: what was in force goes on.
    OrLater,
}

impl Recorder {
    /// Call it before such a bundle comes into force. An error when nothing is locked, or when the store says
    /// that it does not keep what it stores for so many days.
    pub async fn prove_retention(
        &self,
        days: BTreeSet<u32>,
        proof: Proof,
    ) -> Result<(), StoreError> {
        prove(&self.inner.objects, &days, proof).await
    }
}

/// All are asked at once, so it takes as long as one.
pub async fn prove(
    objects: &Objects,
    days: &BTreeSet<u32>,
    proof: Proof,
) -> Result<(), StoreError> {
    let proofs = days.iter().map(async |days| {
        let objects = objects.keeping(Some(*days))?;
        match proof {
            Proof::Now => objects.prove().await,
            Proof::OrLater => objects.prove_or_wait().await,
        }
    });
    join_all(proofs).await.into_iter().collect()
}
