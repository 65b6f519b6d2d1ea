//! Sessions, and what of them was acknowledged: exactly that must be in the store in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pipeline::Direction;
use pipeline::ports::{Journal, JournalError};
use uuid::Uuid;

use super::super::support::*;
use crate::{Finding, Recorder, Store, VerifyOptions, verify_store};

/// A session, and how many of its intents were acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    pub session: Uuid,
    pub intents: u64,
}

/// What was acknowledged, and what was refused for want of room.
#[derive(Debug, Default)]
pub struct Ledger {
    pub acked: Mutex<Vec<Acked>>,
    pub refused: Mutex<Vec<String>>,
    /// What is read is not always what is there: then an object may have been replaced for nothing, and
    /// a gap says so.
    pub reads_lie: AtomicBool,
}

impl Ledger {
    pub fn intents(&self) -> u64 {
        self.acked.lock().iter().map(|a| a.intents).sum()
    }

    pub fn refusals(&self) -> usize {
        self.refused.lock().len()
    }

    /// One session, as far as it is let. Anything but a full spool is a mistake.
    pub async fn session(&self, recorder: &Recorder, actions: u64, size: usize) {
        let start = start();
        let session = start.info.id.0;
        let refused = |error: JournalError| {
            let full = matches!(error, JournalError::SpoolFull { .. });
            assert!(full || recorder.failed().is_cancelled(), "{error:?}");
            self.refused.lock().push(error.to_string());
        };
        let journal = match recorder.open(start).await {
            Ok(journal) => journal,
            Err(error) => return refused(error),
        };
        let mut intents = 0;
        for seq in 0..actions {
            let text = format!("select {seq} from users");
            if let Err(error) = journal.intent(intent(seq, &text)).await {
                refused(error);
                break;
            }
            intents += 1;
            let noise = noise(seq, size);
            let bytes = journal.bytes(seq, Direction::ToClient, noise).await;
            if let Err(error) = bytes {
                // Such a session is over.
                refused(error);
                break;
            }
            journal.outcome(outcome(seq)).await.unwrap();
        }
        // What ended in a full spool may be closed already.
        journal.close(end()).await.ok();
        self.acked.lock().push(Acked { session, intents });
    }

    /// Sessions from several clients, until it is told to stop.
    pub async fn load(
        self: &Arc<Self>,
        recorder: &Recorder,
        clients: usize,
        stop: Arc<AtomicBool>,
    ) {
        let clients = (0..clients).map(|_| {
            let (ledger, recorder, stop) = (self.clone(), recorder.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    ledger.session(&recorder, 6, 4000).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    }

    /// Everything that was acknowledged is stored, nothing else is, and it verifies.
    pub async fn check(&self, store: &Store, what: &str) {
        let options = VerifyOptions::default();
        let report = verify_store(store, &options).await.unwrap();
        let mut found = findings(&report);
        if self.reads_lie.load(Ordering::Relaxed) {
            let replaced = |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.ends_with("was replaced"));
            found.retain(|f| !replaced(f));
        }
        assert_eq!(found, [], "{what}");
        let acked = self.acked.lock().clone();
        assert_eq!(report.sessions, acked.len() as u64, "{what}");
        assert_eq!(report.complete, acked.len() as u64, "{what}");
        assert_eq!(report.intents, self.intents(), "{what}");
        // Verification asks each session for all that it says it has; this asks for what we know.
        for Acked { session, intents } in acked.iter().step_by(acked.len() / 20 + 1) {
            let mut out = Vec::new();
            let options = crate::ReplayOptions::default();
            let replayed = crate::replay(store, *session, &options, &mut out).await;
            assert!(replayed.unwrap().complete, "{what}: {session}");
            let text = String::from_utf8_lossy(&out).into_owned();
            for seq in 0..*intents {
                let statement = format!("select {seq} from users");
                assert!(text.contains(&statement), "{what}: {session}: {statement}");
            }
        }
    }
}
