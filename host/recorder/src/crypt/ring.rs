//! Keys of streams that are about to begin: made and wrapped before a stream's start is written, and
//! taken by the sealer with that.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::crypt::key::{StreamKey, StreamKeyError};
use crate::crypt::wrap::{KeyWrap, Within};
use crate::options::{OpenError, RecorderOptions};

pub struct Ring {
    pub wrap: Arc<dyn KeyWrap>,
    fresh: Mutex<HashMap<u128, Arc<StreamKey>>>,
}

/// A stream's key that is in the ring. It goes when this does, unless the start is on its way.
pub struct Begun {
    ring: Arc<Ring>,
    pub key: Arc<StreamKey>,
    kept: bool,
}

impl Ring {
    /// What wraps keys, and the first one: that of an instance's control stream.
    pub async fn open(
        options: &RecorderOptions,
        control: Uuid,
    ) -> Result<(Arc<Self>, Begun), OpenError> {
        let inner = options.encryption.open(&options.log, &options.spool_dir)?;
        let limit = options.limits.key_wait;
        let ring = Self::new(Arc::new(Within { inner, limit }));
        let wrong = |source| OpenError::StreamKey {
            stream: control,
            source,
        };
        match ring.begin(control, true).await.map_err(wrong)? {
            Some(key) => Ok((ring, key)),
            None => Err(OpenError::Wal("the control stream begins twice".into())),
        }
    }

    fn new(wrap: Arc<dyn KeyWrap>) -> Arc<Self> {
        Arc::new(Self {
            wrap,
            fresh: Mutex::default(),
        })
    }

    /// None: a stream of this name begins already.
    pub async fn begin(
        self: &Arc<Self>,
        stream: Uuid,
        control: bool,
    ) -> Result<Option<Begun>, StreamKeyError> {
        let key = Arc::new(StreamKey::make(&*self.wrap, stream, control).await?);
        let mut fresh = self.fresh.lock();
        if fresh.contains_key(&stream.as_u128()) {
            return Ok(None);
        }
        fresh.insert(stream.as_u128(), key.clone());
        Ok(Some(Begun {
            ring: self.clone(),
            key,
            kept: false,
        }))
    }

    /// A key of a stream that an earlier process began.
    pub fn put(&self, key: Arc<StreamKey>) {
        self.fresh.lock().insert(key.stream.as_u128(), key);
    }

    pub fn get(&self, stream: u128) -> Option<Arc<StreamKey>> {
        self.fresh.lock().get(&stream).cloned()
    }

    pub fn take(&self, stream: u128) -> Option<Arc<StreamKey>> {
        self.fresh.lock().remove(&stream)
    }
}

impl Begun {
    /// The start is in the queue: the sealer will take the key.
    pub fn keep(mut self) -> Kept {
        self.kept = true;
        Kept(self.ring.clone(), self.key.stream.as_u128())
    }
}

/// For a start that was refused after all.
pub struct Kept(Arc<Ring>, u128);

impl Kept {
    pub fn forget(self) {
        self.0.take(self.1);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.kept {
            self.ring.take(self.key.stream.as_u128());
        }
    }
}
