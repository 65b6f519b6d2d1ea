//! Packages of evidence that are no more than their names.

use std::io::{Seek, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{ApiError, MadePackage, PackageOrder, Packages};

/// What a package has in it, and what its manifest is said to have as its hash.
pub(crate) const PACKAGE: &str = "PK: a package of the test";
pub(crate) const DIGEST: &str = "5e1f";

#[derive(Default)]
pub(crate) struct FakePackages {
    pub(crate) orders: Mutex<Vec<PackageOrder>>,
    /// Packages that are there, and were not dropped.
    pub(crate) made: AtomicUsize,
    /// Making one takes for ever.
    pub(crate) hangs: AtomicBool,
    pub(crate) refuses: Mutex<Option<ApiError>>,
    /// How often what was written is in it.
    pub(crate) times: AtomicUsize,
    /// Told once the package is made.
    pub(crate) then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[async_trait]
impl Packages for FakePackages {
    async fn make(&self, order: PackageOrder) -> Result<MadePackage, ApiError> {
        self.orders.lock().push(order);
        if let Some(error) = self.refuses.lock().clone() {
            return Err(error);
        }
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let text = PACKAGE.repeat(self.times.load(Ordering::SeqCst).max(1));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        self.made.fetch_add(1, Ordering::SeqCst);
        if let Some(then) = self.then.lock().take() {
            then();
        }
        Ok(MadePackage {
            file,
            bytes: text.len() as u64,
            digest: DIGEST.into(),
        })
    }
}
