//! How the end begins.

use control::Control;
use tokio_util::sync::CancellationToken;

/// On a stop, the API ends when the sessions begin to. When the recorder failed, no session goes on; the
/// API says until the last one has ended that this Weir is not ready.
pub(super) async fn begin(
    shutdown: &CancellationToken,
    failed: CancellationToken,
    api_stop: &CancellationToken,
    control: &Control,
) {
    tokio::select! {
        () = shutdown.cancelled() => api_stop.cancel(),
        () = failed.cancelled() => {
            shutdown.cancel();
            control.shutdown().await;
        }
    }
}
