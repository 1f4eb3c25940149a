//! Issuers' public keys: fetched through a guarded client, kept fresh by one task per key set, asked for again when a token names a key that
//! is not known yet.
//!
//! Must not know policies, nor what a token says: it is told which key sets are wanted, and hands out one ring of keys.
//!
//! | file | what it knows |
//! |---|---|
//! | `address` | which addresses are of the public internet |
//! | `fetch` | the guarded client, for any document |
//! | `issuer_keys` | from a key set's identity to its keys |
//! | `failure` | why keys could not be had, as a fixed list |
//! | `keeper` | which key sets are wanted; the ring; waiting for an unknown key |
//! | `task` | one key set's task: fetch, publish, rest |
//! | `demand` | who waits for a fetch, and the budget such fetches are paid from |
//! | `parked` | the last good keys of sets that nobody wants any more, for a while |
//! | `schedule` | when to fetch again |
//! | `metrics` | what is counted |

mod address;
mod demand;
mod failure;
mod fetch;
mod issuer_keys;
mod keeper;
mod metrics;
mod parked;
mod schedule;
mod task;

pub use address::is_global;
pub use failure::FetchFailure;
pub use fetch::{FetchRules, FetchRulesError, Fetched, Fetcher, Lookup, SystemNames};
pub use issuer_keys::{Discovery, FetchKeys, FreshKeys};
pub use keeper::{KeyKeeper, Surroundings};
pub use metrics::KeyMetrics;

/// Origins that keys are fetched from unless the operator says otherwise: Azure Communication Services and Microsoft Entra, with the sovereign
/// clouds' own.
pub const DEFAULT_ISSUER_ORIGINS: &[&str] = &[
    "https://acscallautomation.communication.azure.com",
    "https://login.microsoftonline.com",
    "https://login.microsoftonline.us",
    "https://login.partner.microsoftonline.cn",
    "https://login.chinacloudapi.cn",
];
