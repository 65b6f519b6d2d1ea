//! Advances the engine's epoch while plugins run.
//!
//! A thread, not a task: it must tick when every thread of the runtime is busy with plugins. It
//! sleeps when no plugin runs, and ends with the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

use crate::limits::TICK;

/// Ticks without a call after which the thread goes to sleep.
const IDLE_TICKS: u32 = 200;
/// How often a sleeping thread looks whether the engine is still there.
const NAP: Duration = Duration::from_secs(1);

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicU64,
    asleep: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let for_thread = shared.clone();
        let handle = thread::Builder::new()
            .name("weir-epoch".into())
            .spawn(move || {
                let mut idle = 0;
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    thread::sleep(TICK);
                    idle = for_thread.rest(idle);
                }
            })?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// The epoch advances for as long as the guard lives.
    pub(crate) fn running(&self) -> Running {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Shared {
    /// Counts idle ticks, and sleeps after enough of them.
    fn rest(&self, idle: u32) -> u32 {
        if self.running.load(Ordering::SeqCst) > 0 {
            return 0;
        }
        if idle < IDLE_TICKS {
            return idle + 1;
        }
        // A call that starts after this store unparks; one that started before it is seen below.
        self.asleep.store(true, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) == 0 {
            thread::park_timeout(NAP);
        }
        self.asleep.store(false, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) > 0 {
            0
        } else {
            idle
        }
    }
}

pub(crate) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
