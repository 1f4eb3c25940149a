//! The whole service, wired together: what `serve` runs, and what `demo`, benches and tests embed.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use ringfence_core::{api::Kind, compile::Options};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{self, JoinSet},
};

use super::{
    admission::Admission,
    follow::{Follow, FollowCluster, Following, Target},
    offices::{OfficeParts, Offices},
};
use crate::{
    check::{Checker, CheckerParts},
    clock::Clock,
    keys::{FetchRulesError, Fetcher, KeyKeeper, KeyMetrics, Surroundings, SystemNames},
    listen::{self, GivenCertificate, GrpcListener, HttpListener, ListenAddress, ListenError, MetricsListener, ShutdownTimes},
    ready::{Guard, Readiness},
    reuse::{MemoryStore, ReuseStore, SharedStore, SharedStoreMetrics, SharedStoreSurroundings, StoreError},
    settings::{Settings, SettingsError},
    source::{
        Configuration, Published, SourceError,
        files::{Folder, FolderSource},
        kubernetes::{self, ClientError, KubernetesSource},
    },
    status::StatusMetrics,
    telemetry::{DecisionLog, Metrics, MetricsError, ReloadResult, Telemetry},
};

/// The `source` labels of changes of a folder, and of an API server.
const FILES: &str = "files";
const KUBERNETES: &str = "kubernetes";

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nobody said where the policies are.
    #[error("there is nothing to serve: say where the policies are, with `--config DIR` or `--kubernetes`")]
    NoConfiguration,
    /// The folder cannot be read.
    #[error("the configuration cannot be read:{}", .0.iter().map(|error| format!("\n  {error}")).collect::<String>())]
    Folder(Vec<SourceError>),
    /// There is no API server to ask.
    #[error(transparent)]
    Kubernetes(#[from] ClientError),
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The rules for fetching keys make no client.
    #[error(transparent)]
    FetchRules(#[from] FetchRulesError),
    /// The shared reuse store cannot be used at all.
    #[error(transparent)]
    ReuseStore(#[from] StoreError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] MetricsError),
    /// The decision log cannot be started.
    #[error("the decision log cannot be started: {0}")]
    DecisionLog(#[source] io::Error),
}

/// Starts the service.
#[derive(Debug)]
pub struct Server;

/// The service while it runs. Dropping it ends everything at once; [`Self::shutdown`] ends it in order.
#[derive(Debug)]
pub struct RunningServer {
    grpc_addr: ListenAddress,
    http_addr: Option<ListenAddress>,
    metrics_addr: SocketAddr,
    admission_addr: Option<SocketAddr>,
    readiness: Readiness,
    checker: Arc<Checker>,
    configuration: Arc<Configuration>,
    telemetry: Telemetry,
    shutdown_times: ShutdownTimes,
    follow: Arc<Following>,
    offices: Option<Offices>,
    tasks: JoinSet<()>,
    listening: listen::Server,
}

impl Server {
    /// Starts everything that `settings` ask for, inside the current runtime (a multi-threaded one). It serves when this returns, and is ready
    /// shortly after: [`RunningServer::ready`].
    ///
    /// # Errors
    /// [`StartError`], before anything is served.
    pub async fn start(settings: Settings) -> Result<RunningServer, StartError> {
        let clock = Clock::system();
        let readiness = Readiness::default();
        let metrics = Arc::new(Metrics::new()?);
        // The addresses first: a port in use is said at once, whatever else there is to do.
        let listeners = Listeners::bind(&settings, &metrics)?;
        let ((source, configuration), fetcher) = tokio::try_join!(load(&settings, &metrics, &clock), fetcher(&settings))?;
        let surroundings = Surroundings::system();
        let reuse = Arc::new(remember(&settings, &metrics, &surroundings)?);
        let keeper = Arc::new(KeyKeeper::new(Arc::new(fetcher), KeyMetrics::new(metrics.registry())?, surroundings, Handle::current()));
        let log = DecisionLog::new(settings.decision_log(), Box::new(io::stdout()), clock.clone()).map_err(StartError::DecisionLog)?;
        let telemetry = Telemetry::new(Arc::clone(&metrics), log);
        let checker = Arc::new(Checker::new(CheckerParts {
            policies: configuration.policies(),
            keys: Arc::clone(&keeper) as _,
            reuse: Arc::clone(&reuse),
            clock: clock.clone(),
            telemetry: telemetry.clone(),
            max_in_flight: settings.limits.max_in_flight.get(),
        }));
        let target = Target { configuration: Arc::clone(&configuration), keeper: Arc::clone(&keeper), runtime: Handle::current() };
        let from = if settings.cluster.kubernetes { KUBERNETES } else { FILES };
        let subscriber = Subscriber::new(&configuration, keeper, metrics, from);
        let in_force = readiness.condition("configuration", "not in force yet");
        let mut tasks = JoinSet::new();
        tasks.spawn(subscriber.run(readiness.condition("keys", "the first fetch of keys goes on")));
        tasks.spawn(clock.clone().watch(readiness.condition("clock", "not read yet")));
        if matches!(*reuse, ReuseStore::Shared(_)) {
            tasks.spawn(await_store(reuse, readiness.condition("reuse store", "the first attempt to connect goes on")));
        }
        let Bound { grpc_addr, http_addr, metrics_addr, admission_addr } = listeners.addresses();
        let newest = listeners.admission.as_ref().map(Admission::newest);
        let listening = listeners.serve(&settings, &checker, &telemetry, &readiness, &configuration)?;
        let beside = Beside { settings: &settings, clock: &clock, configuration: &configuration, readiness: &readiness, newest };
        let offices = source.client().map(|client| take_up(client, beside, telemetry.metrics())).transpose()?;
        let follow = Arc::new(source.follow(target, in_force));
        let shutdown_times = settings.shutdown_times();
        Ok(RunningServer {
            grpc_addr,
            http_addr,
            metrics_addr,
            admission_addr,
            readiness,
            checker,
            configuration,
            telemetry,
            shutdown_times,
            follow,
            offices,
            tasks,
            listening,
        })
    }
}

impl RunningServer {
    /// Where gRPC checks are listened for.
    #[must_use]
    pub const fn grpc_addr(&self) -> &ListenAddress {
        &self.grpc_addr
    }

    /// Where HTTP checks are listened for, if they are.
    #[must_use]
    pub const fn http_addr(&self) -> Option<&ListenAddress> {
        self.http_addr.as_ref()
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn metrics_addr(&self) -> SocketAddr {
        self.metrics_addr
    }

    /// Where the API server's questions about objects are listened for, if they are.
    #[must_use]
    pub const fn admission_addr(&self) -> Option<SocketAddr> {
        self.admission_addr
    }

    /// What answers the checks.
    #[must_use]
    pub const fn checker(&self) -> &Arc<Checker> {
        &self.checker
    }

    /// What is in force.
    #[must_use]
    pub const fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.telemetry.metrics()
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        self.readiness.ready().await;
    }

    /// Reads the folder again, now, and puts it in force before this returns.
    pub async fn reload(&self) {
        let follow = Arc::clone(&self.follow);
        if task::spawn_blocking(move || follow.reload()).await.is_err() {
            tracing::error!("the configuration could not be read again");
        }
    }

    /// Leaves in order: says so, goes on serving for a while, lets what is in flight finish.
    pub async fn shutdown(self) {
        let Self { listening, telemetry, shutdown_times, tasks, follow, offices, .. } = self;
        if let Some(offices) = offices {
            offices.leave().await;
        }
        listening.shutdown(shutdown_times).await;
        drop((tasks, follow));
        let _ = task::spawn_blocking(move || telemetry.close()).await;
    }
}

/// Where policies come from.
enum Source {
    Folder(FolderSource),
    Kubernetes(KubernetesSource),
}

impl Source {
    /// What speaks to the API server, if there is one.
    fn client(&self) -> Option<kube::Client> {
        match self {
            Self::Folder(_) => None,
            Self::Kubernetes(cluster) => Some(cluster.client()),
        }
    }

    /// Follows it from now on; `in_force` holds once its policies are.
    fn follow(self, target: Target, in_force: Guard) -> Following {
        match self {
            Self::Folder(folder) => {
                in_force.met();
                Following::Folder(Follow::new(folder, target))
            }
            Self::Kubernetes(cluster) => Following::Kubernetes(FollowCluster::new(cluster, target, in_force)),
        }
    }
}

/// What the offices of a replica need beside the API server.
struct Beside<'s> {
    settings: &'s Settings,
    clock: &'s Clock,
    configuration: &'s Arc<Configuration>,
    readiness: &'s Readiness,
    newest: Option<watch::Sender<Option<GivenCertificate>>>,
}

/// Takes up what one of several replicas on a cluster does.
fn take_up(client: kube::Client, beside: Beside<'_>, metrics: &Metrics) -> Result<Offices, StartError> {
    let Beside { settings, clock, configuration, readiness, newest } = beside;
    Ok(Offices::take_up(OfficeParts {
        client,
        namespaces: settings.cluster.watch_namespace.clone(),
        namespace: settings.policies.rules.resource_namespace.clone(),
        clock: clock.clone(),
        metrics: StatusMetrics::new(metrics.registry())?,
        configuration: Arc::clone(configuration),
        readiness: readiness.clone(),
        certificates: settings.admission_certificates().zip(newest).map(|((service, webhook), newest)| (service, webhook, newest)),
    }))
}

/// Reads the folder for the first time, or finds the way to the API server, which may not answer yet.
async fn load(settings: &Settings, metrics: &Arc<Metrics>, clock: &Clock) -> Result<(Source, Arc<Configuration>), StartError> {
    let (cluster, options) = (&settings.cluster, settings.compile_options());
    if cluster.kubernetes {
        let (metrics, clock) = (Arc::clone(metrics), clock.clone());
        let on_answer = move |kind: Kind| metrics.watch_answered(kind.name(), clock.wall_ms());
        let client = kubernetes::client(cluster.kubeconfig.as_deref(), on_answer).await?;
        let source = KubernetesSource::new(client, cluster.watch_namespace.clone(), &options.resource_namespace);
        return Ok((Source::Kubernetes(source), Arc::new(Configuration::pending(options))));
    }
    let (source, configuration) = load_folder(settings.policies.config.clone().ok_or(StartError::NoConfiguration)?, options).await?;
    Ok((Source::Folder(source), configuration))
}

/// Compiling many policies takes a while, too.
async fn load_folder(dir: PathBuf, options: Options) -> Result<(FolderSource, Arc<Configuration>), StartError> {
    let loaded = task::spawn_blocking(move || {
        let mut source = FolderSource::new(dir);
        let Folder { objects, warnings } = source.load()?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok((source, Arc::new(Configuration::new(&objects, options))))
    });
    joined(loaded).await.map_err(StartError::Folder)
}

/// Where used tokens are remembered. A shared store is connected to from now on.
fn remember(settings: &Settings, metrics: &Metrics, surroundings: &Surroundings) -> Result<ReuseStore, StartError> {
    let Some(shared) = settings.shared_store()? else { return Ok(ReuseStore::Memory(MemoryStore::default())) };
    let metrics = SharedStoreMetrics::new(metrics.registry())?;
    let surroundings = SharedStoreSurroundings { metrics, fraction: Arc::clone(&surroundings.fraction), runtime: Handle::current() };
    Ok(ReuseStore::Shared(SharedStore::start(&shared, surroundings)?))
}

/// Holds the first checks back until they may find a store. One that is away later makes nobody unready: it would be away for all replicas, and
/// most policies do without.
async fn await_store(reuse: Arc<ReuseStore>, tried: Guard) {
    reuse.first_attempted().await;
    tried.met();
}

/// Makes the client that fetches keys. The system's certificates take longer to read than all else at the start, so that goes on beside it.
async fn fetcher(settings: &Settings) -> Result<Fetcher, StartError> {
    let rules = settings.fetch_rules()?;
    Ok(joined(task::spawn_blocking(move || Fetcher::new(&rules, Arc::new(SystemNames)))).await?)
}

/// What a blocking task returns. A fault in it is one here.
async fn joined<T>(task: task::JoinHandle<T>) -> T {
    match task.await {
        Ok(returned) => returned,
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}

/// Acts on what is published: keys to keep, and what is shown of it.
struct Subscriber {
    changes: watch::Receiver<Published>,
    keeper: Arc<KeyKeeper>,
    metrics: Arc<Metrics>,
    /// Where changes come from.
    from: &'static str,
    taken: u64,
    refused: u64,
}

impl Subscriber {
    /// Acts on what is in force now.
    fn new(configuration: &Configuration, keeper: Arc<KeyKeeper>, metrics: Arc<Metrics>, from: &'static str) -> Self {
        let mut subscriber = Self { changes: configuration.subscribe(), keeper, metrics, from, taken: 0, refused: 0 };
        subscriber.act();
        subscriber
    }

    fn act(&mut self) {
        let Published { policies, reports, key_sets, source_ranges, taken_count, refused_count, refused: _ } =
            self.changes.borrow_and_update().clone();
        for (count, seen, result) in [(taken_count, self.taken, ReloadResult::Applied), (refused_count, self.refused, ReloadResult::Refused)] {
            (seen..count).for_each(|_| self.metrics.reloaded(self.from, result));
        }
        if taken_count > self.taken {
            self.metrics.configured(&policies, &reports);
            self.metrics.source_ranges(source_ranges.iter().map(|(set, count)| (set.as_ref(), *count)));
            self.keeper.want(&key_sets);
        }
        (self.taken, self.refused) = (taken_count, refused_count);
    }

    /// Acts on each change; meets `keys` once every key set was tried.
    async fn run(mut self, keys: Guard) {
        let mut tried = false;
        loop {
            tokio::select! {
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.act(),
                    Err(_) => return,
                },
                () = self.keeper.first_attempted(), if !tried => {
                    keys.met();
                    tried = true;
                }
            }
        }
    }
}

/// The listeners, bound and not yet served.
struct Listeners {
    grpc: GrpcListener,
    http: Option<HttpListener>,
    metrics: MetricsListener,
    admission: Option<Admission>,
}

/// Where they are really bound.
struct Bound {
    grpc_addr: ListenAddress,
    http_addr: Option<ListenAddress>,
    metrics_addr: SocketAddr,
    admission_addr: Option<SocketAddr>,
}

impl Listeners {
    fn bind(settings: &Settings, metrics: &Metrics) -> Result<Self, ListenError> {
        let expiry = metrics.certificate_expiry();
        Ok(Self {
            grpc: GrpcListener::bind(settings.grpc_listener(), expiry)?,
            http: settings.http_listener().map(|http| HttpListener::bind(http, expiry)).transpose()?,
            metrics: MetricsListener::bind(settings.metrics_listen())?,
            admission: Admission::bind(settings, metrics)?,
        })
    }

    fn addresses(&self) -> Bound {
        Bound {
            grpc_addr: self.grpc.address(),
            http_addr: self.http.as_ref().map(HttpListener::address),
            metrics_addr: self.metrics.address(),
            admission_addr: self.admission.as_ref().map(Admission::address),
        }
    }

    fn serve(
        self,
        settings: &Settings,
        checker: &Arc<Checker>,
        telemetry: &Telemetry,
        readiness: &Readiness,
        configuration: &Configuration,
    ) -> Result<listen::Server, ListenError> {
        let Bound { grpc_addr, http_addr, metrics_addr, admission_addr: _ } = self.addresses();
        let listeners = readiness.condition("listeners", "not served yet");
        let server = listen::Server::start(settings.threads())?;
        server.serve_metrics(self.metrics, telemetry.metrics().registry().clone(), readiness.clone())?;
        tracing::info!(listener = "metrics", address = %metrics_addr, "listening");
        if let Some((http, address)) = self.http.zip(http_addr) {
            server.serve_http(http, checker)?;
            tracing::info!(listener = "http", %address, "listening");
        }
        if let Some(admission) = self.admission {
            admission.serve(&server, settings, configuration, telemetry.metrics())?;
        }
        server.serve_grpc(self.grpc, checker, readiness)?;
        tracing::info!(listener = "grpc", address = %grpc_addr, "listening");
        listeners.met();
        Ok(server)
    }
}
