//! One connection to a shared store: TCP, TLS, the login, and a trial, since a store that answers need not be one that remembers.

use std::{io, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, RedisError,
    aio::{AsyncStream, MultiplexedConnection},
};
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

use super::{StoreAddress, question::Question};

/// How long it may take until a new connection is fit to be asked.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection that is in doubt may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// Of what a store says, as much is shown.
const SHOWN: usize = 200;

/// Why a store cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The extra certificates cannot be read.
    #[error("the certificates of `--reuse-store-ca` cannot be read; they must be PEM, and at least one")]
    Roots,
    /// No certificate can be for this host.
    #[error("`--reuse-store`: no certificate can be for the host `{0}`")]
    Name(Box<str>),
    /// TLS cannot be set up.
    #[error("TLS to the reuse store cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there is no connection that can be used. Shows nothing of the login.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("TLS does not come about: {0}")]
    Tls(io::Error),
    #[error("the login is refused ({0}): look at the user and the password in `--reuse-store`")]
    Login(String),
    #[error("it answers, and would not remember a token: {0}")]
    Unfit(String),
    #[error("it does not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("the connection broke")]
    Broken,
}

/// A connection that was found fit, and what moves its bytes; dropping this closes it.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: JoinSet<()>,
}

/// Makes connections.
pub(super) struct Connector {
    address: StoreAddress,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    most_asked: usize,
}

impl Connector {
    pub(super) fn new(address: &StoreAddress, extra_roots: &[u8], most_asked: usize) -> Result<Self, StoreError> {
        let tls = if address.is_tls() { Some((tls(extra_roots)?, server_name(address)?)) } else { None };
        Ok(Self { address: address.clone(), tls, most_asked: most_asked.max(1) })
    }

    pub(super) const fn address(&self) -> &StoreAddress {
        &self.address
    }

    /// A new connection that is fit to be asked. The name is resolved anew each time.
    pub(super) async fn connect(&self) -> Result<Connected, Problem> {
        timeout(CONNECT, self.open()).await.unwrap_or(Err(Problem::Silent(CONNECT)))
    }

    async fn open(&self) -> Result<Connected, Problem> {
        let stream = TcpStream::connect((self.address.host(), self.address.port())).await.map_err(Problem::Unreachable)?;
        // A question that waits for others to share its packet is late.
        stream.set_nodelay(true).map_err(Problem::Unreachable)?;
        match &self.tls {
            None => self.log_in(stream).await,
            Some((connector, name)) => self.log_in(connector.connect(name.clone(), stream).await.map_err(Problem::Tls)?).await,
        }
    }

    async fn log_in(&self, stream: impl AsyncStream + Unpin + Send + 'static) -> Result<Connected, Problem> {
        // How long an answer may take, whoever asks says.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(self.most_asked);
        let opened = MultiplexedConnection::new_with_config(&self.address.login(), stream, config).await;
        let (mut connection, driving) = opened.map_err(|error| problem(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(driving);
        // By a command of its own: what the library says when its own is refused tells a missing login from nothing else.
        if self.address.database() > 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.address.database());
            select.query_async::<()>(&mut connection).await.map_err(|error| problem(&error))?;
        }
        Question::trial().try_out(&mut connection).await.map_err(|error| problem(&error))?;
        Ok(Connected { connection, driver })
    }
}

impl Connected {
    /// Whether it is fit still.
    pub(super) async fn probe(&mut self) -> Result<(), Problem> {
        let trial = Question::trial();
        let tried = timeout(PATIENCE, trial.try_out(&mut self.connection)).await.map_err(|_| Problem::Silent(PATIENCE))?;
        tried.map_err(|error| problem(&error))
    }

    /// What becomes of entries when the store's memory is full, if it is not that new ones are refused.
    pub(super) async fn forgetful(&mut self) -> Option<String> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let asked = timeout(PATIENCE, command.query_async::<String>(&mut self.connection)).await;
        let info = asked.ok()?.ok()?;
        let policy = info.lines().find_map(|line| line.trim().strip_prefix("maxmemory_policy:"))?;
        (policy != "noeviction").then(|| shown(policy))
    }
}

fn tls(extra_roots: &[u8]) -> Result<TlsConnector, StoreError> {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(extra_roots).collect::<Result<_, _>>().map_err(|_| StoreError::Roots)?;
    if roots.is_empty() && !extra_roots.is_empty() {
        return Err(StoreError::Roots);
    }
    let provider = Arc::new(default_provider());
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    // "Dangerous" is any verifier of one's own; this one is what the key fetches go by, too: the system's authorities and the extra ones.
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(address: &StoreAddress) -> Result<ServerName<'static>, StoreError> {
    ServerName::try_from(address.host().to_owned()).map_err(|_| StoreError::Name(address.host().into()))
}

fn problem(error: &RedisError) -> Problem {
    let said = shown(&error.to_string());
    let is_login = error.kind() == redis::ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    match (is_login, error.is_io_error()) {
        (true, _) => Problem::Login(said),
        (false, true) => Problem::Broken,
        (false, false) => Problem::Unfit(said),
    }
}

/// The beginning of what somebody else says, on one line.
fn shown(said: &str) -> String {
    said.chars().map(|character| if character.is_control() { ' ' } else { character }).take(SHOWN).collect()
}
