//! The program by itself: its listeners without a proxy, its folder, and whatever can be wrong when it starts.

mod abuse;
mod folder;
mod issuers;
mod listeners;
mod metrics;
mod overload;
#[cfg(feature = "real-proxies")]
mod rebinding;
mod startup;
mod wire;
