//! The program by itself: its listeners without a proxy, its folder, and whatever can be wrong when it starts.

mod folder;
mod issuers;
mod listeners;
mod metrics;
mod startup;
mod wire;
