//! Erasing where the store keeps versions, or locks what it has.

use uuid::Uuid;

use super::super::support::*;
use super::load::Ledger;
use super::{LONG, Place, VAULT};
use crate::crypt::key::object_name;
use crate::{Erase, EraseError, Erasure, Recorder, ReplayError, ReplayOptions, Store};

impl Place {
    /// With the keys in the bucket that has versions and locks.
    async fn open_versioned(&self) -> Recorder {
        let mut options = self.options(64 << 20);
        options.store = self.bucket(VAULT, self.proxy.endpoint());
        Recorder::open(options).await.unwrap().0
    }

    fn versioned(&self) -> Store {
        let options = self.options(64 << 20);
        Store::open(&self.bucket(VAULT, self.straight()))
            .unwrap()
            .with_keys(self.dir.wrap(), None)
            .trusting(crate::own_key(&options.log).unwrap())
    }

    async fn can_be_read(&self, session: Uuid) -> Result<(), ReplayError> {
        let mut out = Vec::new();
        let options = ReplayOptions::default();
        let read = crate::replay(&self.versioned(), session, &options, &mut out).await;
        read.map(drop)
    }

    fn key(&self, session: Uuid) -> String {
        format!("{}/{}", self.prefix, object_name(session))
    }
}

async fn erase(recorder: &Recorder, session: Uuid) -> Result<Erasure, EraseError> {
    let ask = Erase {
        session,
        who: None,
        reason: "somebody asked for it".into(),
        is_somebody_elses: true,
    };
    recorder.erase(ask).await
}

/// A version of the key stays, and is named; a locked key is refused with the date before anything is done.
pub async fn what_is_kept_of_a_key_is_told(place: Place) {
    let recorder = place.open_versioned().await;
    let ledger = Ledger::default();
    for _ in 0..3 {
        ledger.session(&recorder, 6, 4000).await;
    }
    assert!(recorder.flush(LONG).await);
    let [one, two, three] = {
        let acked = ledger.acked.lock();
        [acked[0].session, acked[1].session, acked[2].session]
    };
    let name = place.server.make.name();
    let retained = format!(
        "import datetime\n\
         until = datetime.datetime(2099, 12, 31, 23, 59, 58, tzinfo=datetime.timezone.utc)\n\
         s3.put_object_retention(Bucket='{VAULT}', Key='{}',\n\
         \x20   Retention={{'Mode': 'GOVERNANCE', 'RetainUntilDate': until}})\n\
         s3.put_object_legal_hold(Bucket='{VAULT}', Key='{}', LegalHold={{'Status': 'ON'}})\n",
        place.key(one),
        place.key(two),
    );
    place.server.boto(&retained).unwrap();
    for (session, says) in [(one, "2099-12-31T23:59:58"), (two, "legal hold")] {
        match erase(&recorder, session).await {
            Err(error @ EraseError::Locked { .. }) => {
                let text = error.to_string();
                assert!(
                    text.contains(says) && text.contains("Nothing was done"),
                    "{text}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
        // Neither a leaf nor a job, and it reads as before.
        let jobs = objects(&recorder.inner.dirs.erasures);
        assert!(jobs.is_empty(), "{name}: {jobs:?}");
        assert!(recorder.inner.log.erasure_of(session).is_none(), "{name}");
        place.can_be_read(session).await.unwrap();
    }
    let erased = erase(&recorder, three).await.unwrap();
    let key = object_name(three);
    let [remains] = &erased.remains[..] else {
        panic!("{name}: {erased:?}")
    };
    assert!(
        remains.starts_with("version ") && remains.ends_with(&key),
        "{name}: {remains}"
    );
    // It says the truth: the version is there, under that name.
    let version = remains.split(' ').nth(1).unwrap();
    let head = format!(
        "s3.head_object(Bucket='{VAULT}', Key='{}', VersionId='{version}')",
        place.key(three)
    );
    place.server.boto(&head).unwrap();
    let error = place.can_be_read(three).await.unwrap_err();
    assert!(
        matches!(error, ReplayError::Erased { .. }),
        "{name}: {error}"
    );
    // Whoever asks again hears it again.
    match erase(&recorder, three).await {
        Err(EraseError::Already(told)) => assert_eq!(told.remains, erased.remains, "{name}"),
        other => panic!("{name}: {other:?}"),
    }
    // When the lock is gone, it goes.
    let unlocked = format!(
        "s3.put_object_legal_hold(Bucket='{VAULT}', Key='{}', LegalHold={{'Status': 'OFF'}})\n",
        place.key(two)
    );
    place.server.boto(&unlocked).unwrap();
    let erased = erase(&recorder, two).await.unwrap();
    assert_eq!(erased.remains.len(), 1, "{name}: {erased:?}");
    recorder.shutdown(LONG).await;
}
