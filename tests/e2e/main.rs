//! Tests of the real program as a process of its own. Those with real proxies need the feature `real-proxies` and what
//! `tests/run.sh` installs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests"
)]

mod architecture;
mod cases;
mod definitions;
#[cfg(feature = "real-proxies")]
mod deploy;
mod docs;
#[cfg(feature = "real-proxies")]
mod faults;
#[cfg(feature = "real-proxies")]
mod kubernetes;
#[cfg(feature = "real-proxies")]
mod node;
mod program;
#[cfg(feature = "real-proxies")]
mod proxied;
#[cfg_attr(not(feature = "real-proxies"), allow(dead_code, reason = "some of it serves the tests with real proxies only"))]
mod support;
