//! A folder of policies with everything around it that a decision needs, and nothing on the network: the real compiler, checker and reuse
//! store, a key of our own in place of every issuer's, and the system's clock.

use std::{
    collections::HashMap,
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ringfence_core::{
    compile::{ACS_ISSUER, Options},
    decide::{FetchedKeys, KeyRing, KeySetId, RawRequest, Unmatched, Verdict, Wire, read_key_set},
};

use super::{Case, CaseFile, Outcome};
use crate::{
    check::{Checker, CheckerParts, Keys},
    clock::Clock,
    issuer::{Issuer, IssuerError, IssuerOptions, Names, TokenSpec},
    reuse::{Limits, MemoryStore, ReuseStore},
    source::{Configuration, Published, SourceError, files::FolderSource},
    telemetry::{DecisionLog, Metrics, Telemetry},
};

/// The issuers that a token names unless its case says otherwise: Call Automation's own, and Entra's in the public cloud.
const ISSUERS: [&str; 3] = [ACS_ISSUER, "https://sts.windows.net", "https://login.microsoftonline.com"];
/// Most checks at a time: one after the other.
const MAX_IN_FLIGHT: usize = 16;

/// A folder of policies, ready to be asked.
#[derive(Debug)]
pub struct Rehearsal {
    configuration: Configuration,
    checker: Arc<Checker>,
    issuer: Issuer,
    keys: Arc<SameKeys>,
}

/// Why a rehearsal cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The folder cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Folder(Vec<SourceError>),
    /// There is no key to sign tokens with.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The metrics cannot be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// The same keys for every issuer.
#[derive(Debug)]
struct SameKeys(ArcSwap<KeyRing>);

impl Keys for SameKeys {
    fn ring(&self) -> Arc<KeyRing> {
        self.0.load_full()
    }

    fn refetch<'k>(&'k self, _: &'k Arc<KeySetId>, _: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + 'k>> {
        Box::pin(std::future::ready(()))
    }
}

impl Rehearsal {
    /// Reads and compiles `folder`.
    ///
    /// # Errors
    /// Everything in the folder that cannot be read.
    pub async fn new(folder: &Path, unmatched: Unmatched, hosts_are_granted: bool) -> Result<Self, RehearsalError> {
        let objects = FolderSource::new(folder).load().map_err(RehearsalError::Folder)?.objects;
        let options = Options {
            unmatched,
            hosts_are_granted,
            resource_namespace: "ringfence".into(),
            issuer_origins: None,
            insecure_http_issuers: true,
            reuse_per_replica: false,
        };
        let configuration = Configuration::new(&objects, options);
        let [acs, entra_v1, entra_v2] = ISSUERS.map(str::to_owned);
        let issuer = Issuer::start(IssuerOptions { issuer: Some(Names { acs, entra_v1, entra_v2 }), ..IssuerOptions::default() }).await?;
        let keys = Arc::new(SameKeys(ArcSwap::from_pointee(ring_of(&configuration.current(), &issuer))));
        let parts = CheckerParts {
            policies: configuration.policies(),
            keys: Arc::clone(&keys) as Arc<dyn Keys>,
            reuse: Arc::new(ReuseStore::Memory(MemoryStore::new(Limits::default()))),
            clock: Clock::system(),
            telemetry: Telemetry::new(Arc::new(Metrics::new()?), DecisionLog::off()),
            max_in_flight: MAX_IN_FLIGHT,
        };
        Ok(Self { configuration, checker: Arc::new(Checker::new(parts).answering_without_bound()), issuer, keys })
    }

    /// The folder that `file` names, under the settings it names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn of(file: &CaseFile) -> Result<Self, RehearsalError> {
        Self::new(&file.config, file.unmatched, file.hosts_are_granted).await
    }

    /// What the folder came to.
    #[must_use]
    pub fn published(&self) -> Published {
        self.configuration.current()
    }

    /// Who answers.
    #[must_use]
    pub fn checker(&self) -> &Arc<Checker> {
        &self.checker
    }

    /// The token that a case asks for.
    ///
    /// # Errors
    /// The cryptographic library's.
    pub fn mint(&self, spec: &TokenSpec) -> Result<String, IssuerError> {
        let token = self.issuer.mint(spec)?;
        if spec.algorithm.is_some() {
            // The first token of an algorithm brings its key.
            self.keys.0.store(Arc::new(ring_of(&self.published(), &self.issuer)));
        }
        Ok(token)
    }

    /// Asks as `case` says, over `wire`.
    ///
    /// # Errors
    /// As [`Self::mint`].
    pub async fn run(&self, case: &Case, wire: Wire) -> Result<Outcome, IssuerError> {
        let token = case.request.token.as_ref().map(|spec| self.mint(spec)).transpose()?;
        let lines = case.request.header_lines(token.as_deref());
        let mut outcome = Outcome::default();
        for _ in 0..case.times {
            outcome = Outcome::from(&self.ask(&case.request.raw(wire, &lines, Instant::now())).await);
        }
        Ok(outcome)
    }

    /// Asks for one request.
    pub async fn ask(&self, raw: &RawRequest<'_>) -> Verdict {
        self.checker.check(raw, None).await
    }
}

/// Our key under the name of every key set that the policies want. It counts as fetched after every request that will ever come, so that an
/// unknown key is unknown and not pending.
fn ring_of(published: &Published, issuer: &Issuer) -> KeyRing {
    const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let fetch_began = Instant::now() + FOR_EVER;
    let Ok(reading) = read_key_set(issuer.key_set().to_string().as_bytes()) else { return KeyRing::default() };
    let keys = Arc::new(reading.keys);
    let sets = published.key_sets.iter().map(|id| (Arc::clone(id), FetchedKeys { keys: Arc::clone(&keys), fetch_began }));
    KeyRing::new(sets.collect::<HashMap<_, _>>())
}
