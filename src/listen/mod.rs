//! The listeners: they turn the wire into one [`RawRequest`], ask, and render the [`Verdict`].
//!
//! Must not know: policies, tokens, keys. Whatever goes wrong in here is a denial that is counted like any other.
//!
//! | file | what it knows |
//! |---|---|
//! | `settings` | what an operator may choose, as plain values |
//! | `server` | starting, serving and leaving in order |
//! | `workers` | one runtime per core; connections dealt in turn |
//! | `socket` | binding TCP and Unix sockets |
//! | `accept` | who may connect, and how many |
//! | `descriptors` | how many there may be by the limits of the system |
//! | `connection` | how long a connection lives and how it ends |
//! | `tls` | certificates, their reload, and names of clients |
//! | `client_address` | which address is the client's |
//! | `problem` | what a denied client is told |
//! | `grpc`, `http` | the two wires |
//! | `metrics` | health and metrics |
//! | `admission` | what the API server asks about objects |

use std::{future::Future, time::Instant};

use ringfence_core::decide::{RawRequest, Reason, Verdict, Wire};

use crate::check::{Awaited, Begun, Checker};

mod accept;
mod admission;
mod client_address;
mod connection;
mod descriptors;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grpc;
mod http;
mod metrics;
mod problem;
mod server;
mod settings;
mod socket;
mod tls;
mod workers;

#[cfg(test)]
mod testing;

pub use self::{
    admission::{AdmissionCertificate, AdmissionListener, GivenCertificate, Review},
    client_address::{ClientAddress, ClientAddressError, ClientAddressRule},
    descriptors::raise_descriptor_limit,
    grpc::GrpcListener,
    http::HttpListener,
    metrics::MetricsListener,
    server::{Server, ShutdownTimes},
    settings::{
        ConnectionSettings, Dialect, DialectError, GrpcListenerSettings, HttpListenerSettings, ListenAddress, ListenAddressError, TlsSettings,
        ToldDecisions, ToldDecisionsError,
    },
    socket::ListenError,
};

/// Who answers checks. The listeners know no more of [`Checker`] than this, so that tests can answer in its place.
pub trait Decide: Send + Sync + 'static {
    /// What a check may have to wait for.
    type Awaited: 'static;

    /// Decides one request, within `deadline` if the caller set one, unless something has to be waited for.
    fn begin(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Begun<Self::Awaited>;

    /// Decides a request that [`Self::begin`] could not decide without `awaited`.
    fn finish(&self, raw: &RawRequest<'_>, deadline: Option<Instant>, awaited: Self::Awaited) -> impl Future<Output = Verdict>;

    /// Decides one request, within `deadline` if the caller set one.
    fn check(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> impl Future<Output = Verdict>;

    /// Counts and logs a request that never became a [`RawRequest`]: `reason` says why.
    fn refuse(&self, wire: Wire, arrived: Instant, reason: Reason) -> Verdict;
}

impl Decide for Checker {
    type Awaited = Awaited;

    fn begin(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Begun<Awaited> {
        self.begin(raw, deadline)
    }

    fn finish(&self, raw: &RawRequest<'_>, deadline: Option<Instant>, awaited: Awaited) -> impl Future<Output = Verdict> {
        self.finish(raw, deadline, awaited)
    }

    fn check(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> impl Future<Output = Verdict> {
        self.check(raw, deadline)
    }

    fn refuse(&self, wire: Wire, arrived: Instant, reason: Reason) -> Verdict {
        self.refuse(wire, arrived, reason)
    }
}
