//! How the API server is reached: as a pod's ServiceAccount, or by a kubeconfig file.

use std::{
    fmt,
    future::Future,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::Body,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use ringfence_core::api::Kind;
use tower_service::Service;

use super::feed::kind_of;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may say nothing: longer than a watch lasts, so that one which has fallen silent is begun anew.
const SILENCE: Duration = Duration::from_secs(60);

/// Why there is no client for an API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The named kubeconfig cannot be used.
    #[error("`--kubeconfig`: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is neither a pod's ServiceAccount nor a kubeconfig.
    #[error("there is no API server to ask: {0}; run in a pod with a ServiceAccount, or name a file with `--kubeconfig`")]
    Nowhere(#[from] Box<InferConfigError>),
    /// What is configured cannot be used.
    #[error("the API server cannot be asked: {0}")]
    Unusable(#[from] kube::Error),
}

/// A client as `kubeconfig` says; without it as `KUBECONFIG` or `~/.kube/config` say, or as the pod that this is. `on_answer` is told whenever a
/// list or a watch of a kind was answered well: silence is no health, as a watch that says nothing may be one that nobody serves.
///
/// # Errors
/// A configuration that cannot be read. Nothing is asked yet.
pub async fn client(kubeconfig: Option<&Path>, on_answer: impl Fn(Kind) + Send + Sync + 'static) -> Result<Client, ClientError> {
    let mut config = match kubeconfig {
        Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await?,
        None => Config::infer().await.map_err(Box::new)?,
    };
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    let namespace = config.default_namespace.clone();
    Ok(Client::new(Attentive { client: Client::try_from(config)?, on_answer: Arc::new(on_answer) }, namespace))
}

/// Asks as `client` does, and tells of good answers.
struct Attentive {
    client: Client,
    on_answer: Arc<dyn Fn(Kind) + Send + Sync>,
}

impl Service<Request<Body>> for Attentive {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, on_answer) = (self.client.clone(), Arc::clone(&self.on_answer));
        let kind = kind_of(request.uri().path()).filter(|_| request.method() == Method::GET);
        Box::pin(async move {
            let response = client.send(request).await?;
            if let Some(kind) = kind.filter(|_| response.status().is_success()) {
                on_answer(kind);
            }
            Ok(response)
        })
    }
}

/// Who we are to the API server, as commands that give rights name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// `namespace:name` of a ServiceAccount.
    ServiceAccount(String),
    /// Another user.
    User(String),
    /// It did not say.
    Unknown,
}

impl Identity {
    /// Asks the API server (SelfSubjectReview, which every user may).
    pub(super) async fn ask(client: &Client) -> Self {
        let review = Api::<SelfSubjectReview>::all(client.clone()).create(&PostParams::default(), &SelfSubjectReview::default()).await;
        let name = review.ok().and_then(|review| review.status?.user_info?.username);
        name.map_or(Self::Unknown, |name| Self::named(&name))
    }

    /// For people.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::ServiceAccount(name) | Self::User(name) => name,
            Self::Unknown => "Ringfence",
        }
    }

    fn named(name: &str) -> Self {
        name.strip_prefix("system:serviceaccount:").map_or_else(|| Self::User(name.to_owned()), |account| Self::ServiceAccount(account.to_owned()))
    }
}

/// As the flag of `kubectl create rolebinding` that names it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceAccount(account) => write!(f, "--serviceaccount {account}"),
            Self::User(name) => write!(f, "--user {name}"),
            Self::Unknown => f.write_str("--serviceaccount <namespace>:<name of Ringfence's ServiceAccount>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_shown_as_kubectl_takes_them() {
        assert_eq!(Identity::named("system:serviceaccount:ringfence:ringfence").to_string(), "--serviceaccount ringfence:ringfence");
        assert_eq!(Identity::named("alice").to_string(), "--user alice");
    }
}
