//! One call of one plugin: a slot, a fresh instance, a deadline.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};
use wasmtime::{Store, UpdateDeadline};

use crate::events::Hook;
use crate::fault::Fault;
use crate::limits::ANSWER_BYTES;
use crate::runtime::Runtime;
use crate::state::{CallState, Shared};
use crate::ticker::Running;

/// Holds a slot of the pool while it lives. Fields drop in order: the instance goes before its slot
/// is given to the next call.
pub(crate) struct Call<'a> {
    pub(crate) store: Store<CallState>,
    pub(crate) deadline: Instant,
    _running: Running,
    _slot: SemaphorePermit<'a>,
}

impl Runtime {
    /// Waits for a slot.
    pub(crate) async fn begin(
        &self,
        shared: &Arc<Shared>,
        hook: Hook,
        now_unix: u64,
    ) -> Result<Call<'_>, Fault> {
        let limits = self.limits();
        let deadline = Instant::now() + limits.wall;
        let slot = match timeout_at(deadline, self.slots().acquire()).await {
            Ok(Ok(slot)) => slot,
            Ok(Err(_)) | Err(_) => return Err(Fault::Busy),
        };
        let state = CallState::new(
            shared.clone(),
            now_unix,
            limits.memory_bytes,
            limits.ticks(hook),
        );
        let mut store = Store::new(self.engine(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(ANSWER_BYTES);
        store.set_epoch_deadline(1);
        // Called whenever guest code runs across an epoch, so it measures time that the plugin
        // really ran, however busy the machine is.
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            match state.ticks_left.checked_sub(1) {
                Some(left) => {
                    state.ticks_left = left;
                    Ok(UpdateDeadline::Yield(1))
                }
                None => Ok(UpdateDeadline::Interrupt),
            }
        });
        Ok(Call {
            store,
            deadline,
            _running: self.ticker().running(),
            _slot: slot,
        })
    }
}

/// Waits for a call, at most until its wall deadline. Dropping the future unwinds the guest.
pub(crate) async fn until<R>(
    deadline: Instant,
    call: impl Future<Output = wasmtime::Result<R>>,
) -> Result<R, Fault> {
    match timeout_at(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Fault::from_wasmtime(&error)),
        Err(_) => Err(Fault::Busy),
    }
}
