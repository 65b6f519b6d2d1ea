//! What a policy bundle wants kept for longer than the vault keeps everything: is the vault one that does?

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::objects::StoreError;
use crate::recorder::Recorder;

impl Recorder {
    /// Call it before such a bundle comes into force. An error when nothing is locked, or when the store says
    /// that it does not keep what it stores for so many days. A store that does not answer in time is asked
    /// again before anything is stored, as at a start. All are asked at once, so it takes as long as one.
    pub async fn prove_retention(&self, days: BTreeSet<u32>) -> Result<(), StoreError> {
        let proofs = days.into_iter().map(async |days| {
            let objects = self.inner.objects.keeping(Some(days))?;
            objects.prove().await
        });
        join_all(proofs).await.into_iter().collect()
    }
}
