//! What the tests stand on: the real program, an application behind the proxy, an issuer, clients that can send anything.

pub mod certificates;
#[cfg(feature = "real-proxies")]
pub mod doors;
pub mod grpc;
pub mod http;
#[cfg(feature = "real-proxies")]
pub mod kubernetes;
#[cfg(feature = "real-proxies")]
pub mod network;
#[cfg(feature = "real-proxies")]
pub mod node;
#[cfg(feature = "real-proxies")]
pub mod partner;
pub mod policies;
pub mod process;
#[cfg(feature = "real-proxies")]
pub mod redis;
pub mod ringfence;
#[cfg(feature = "real-proxies")]
pub mod stand;
#[cfg(feature = "real-proxies")]
pub mod traffic;
pub mod upstream;
pub mod websocket;

use std::time::{Duration, Instant};

/// How long anything may take before a test fails; far more than it takes on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something, and fails with `what` when it does not.
pub async fn wait_for<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look).await
}

/// The same, for at most `patience`.
pub async fn wait_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
