//! Keeps the webhook's own certificates in a Secret, and the API server's trust in them in the `ValidatingWebhookConfiguration`.
//!
//! Any replica may make the first one; whoever comes second takes that. From then on the holder of the Lease alone lets one follow another, and
//! every replica shows what the Secret says. Must not know: when one follows another ([`super::certificates`]).

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client,
    api::{Api, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::certificates::{Kept, Made};
use crate::{clock::Clock, listen::GivenCertificate};

/// Whose field the bundle is (`metadata.managedFields`).
const FIELD_MANAGER: &str = "ringfence-admission";
/// How often the Secret is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long to wait after something failed.
const BACK_OFF: Duration = Duration::from_secs(5);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(20);

/// What the keeper works with.
pub struct KeeperParts {
    /// The API server.
    pub client: Client,
    /// Where the Service and the Secret are.
    pub namespace: String,
    /// The Service that the API server asks.
    pub service: String,
    /// The `ValidatingWebhookConfiguration`.
    pub webhook: String,
    /// The time that certificates are judged by.
    pub clock: Clock,
    /// How often the Secret is looked at: [`LOOK_EVERY`].
    pub look_every: Duration,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    /// Another replica wrote at the same time.
    #[error("another replica was faster")]
    Again,
    #[error("{0}")]
    Api(String),
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl From<kube::Error> for LookError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Again,
            kube::Error::Api(status) => Self::Api(status.message),
            other => Self::Api(other.to_string()),
        }
    }
}

/// The name of the Secret of a Service's certificates.
#[must_use]
pub fn secret_name(service: &str) -> String {
    format!("{service}-tls")
}

/// Keeps certificates, and hands the one to show to `newest`, until `held` (whether this replica holds the Lease) has no sender any more.
pub async fn keep(parts: KeeperParts, mut held: watch::Receiver<bool>, newest: watch::Sender<Option<GivenCertificate>>) {
    let mut told = None;
    loop {
        let is_holder = *held.borrow_and_update();
        let looked = timeout(LOOK, parts.look(is_holder)).await.unwrap_or_else(|_| Err(LookError::Api("the API server took too long".to_owned())));
        let pause = match looked {
            Ok(given) => {
                newest.send_if_modified(|newest| {
                    let is_new = newest.as_ref() != Some(&given);
                    *newest = Some(given);
                    is_new
                });
                told = None;
                parts.look_every
            }
            // What the other one wrote is taken at once.
            Err(LookError::Again) => Duration::from_millis(100),
            Err(error @ (LookError::Api(_) | LookError::Make(_))) => {
                let problem = error.to_string();
                if told.as_ref() != Some(&problem) {
                    tracing::error!(%problem, "the certificates of the admission webhook cannot be kept; what is there goes on being shown");
                    told = Some(problem);
                }
                BACK_OFF.min(parts.look_every)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            changed = held.changed() => if changed.is_err() { return },
        }
    }
}

impl KeeperParts {
    /// Looks once: what is kept, brought forward if this replica may, and the certificate to show.
    async fn look(&self, is_holder: bool) -> Result<GivenCertificate, LookError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = secret_name(&self.service);
        let names = [format!("{}.{}.svc", self.service, self.namespace), format!("{}.{}.svc.cluster.local", self.service, self.namespace)];
        let now = self.clock.wall_ms().div_euclid(1_000);
        let secret = secrets.get_opt(&name).await?;
        let mut kept = secret.as_ref().map(read).unwrap_or_default();
        let is_first = kept.current.is_none();
        if is_first || is_holder {
            let webhook = if is_holder { self.webhook().await? } else { None };
            let published = webhook.as_ref().and_then(bundle_of);
            if let Some(next) = kept.step(&names, now, published.as_deref())? {
                match secret {
                    None => secrets.create(&PostParams::default(), &write(&name, &next, Secret::default())).await?,
                    Some(secret) => secrets.replace(&name, &PostParams::default(), &write(&name, &next, secret)).await?,
                };
                tracing::info!(secret = name, "the admission webhook's certificates have moved on");
                kept = next;
            }
            if let Some(webhook) = webhook {
                self.publish(&webhook, &kept.bundle()).await?;
            }
        }
        let missing = || LookError::Api(format!("the Secret `{}/{name}` holds no certificate", self.namespace));
        let Made { certificate, key, authority: _ } = kept.current.ok_or_else(missing)?;
        Ok(GivenCertificate { certificate: certificate.into_bytes(), key: key.into_bytes() })
    }

    async fn webhook(&self) -> Result<Option<ValidatingWebhookConfiguration>, LookError> {
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        Ok(api.get_opt(&self.webhook).await?)
    }

    /// Sees to it that every webhook of the configuration trusts `bundle`.
    async fn publish(&self, webhook: &ValidatingWebhookConfiguration, bundle: &str) -> Result<(), LookError> {
        let webhooks = webhook.webhooks.iter().flatten();
        let is_told = |told: Option<&ByteString>| told.is_some_and(|told| told.0 == bundle.as_bytes());
        if webhooks.clone().all(|webhook| is_told(webhook.client_config.ca_bundle.as_ref())) {
            return Ok(());
        }
        let encoded = STANDARD.encode(bundle);
        let webhooks: Vec<_> = webhooks.map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": encoded}})).collect();
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "webhooks": webhooks,
            "metadata": {"name": self.webhook, "resourceVersion": webhook.metadata.resource_version},
        });
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        api.patch(&self.webhook, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body)).await?;
        tracing::info!(webhook = self.webhook, "the API server trusts the admission webhook's authorities");
        Ok(())
    }
}

/// The bundle that all webhooks of the configuration trust, if it is one.
fn bundle_of(webhook: &ValidatingWebhookConfiguration) -> Option<String> {
    let mut bundles = webhook.webhooks.iter().flatten().map(|webhook| webhook.client_config.ca_bundle.as_ref());
    let first = bundles.next()??;
    bundles.all(|other| other == Some(first)).then(|| String::from_utf8_lossy(&first.0).into_owned())
}

fn read(secret: &Secret) -> Kept {
    let text = |key: &str| String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok();
    let made = |certificate, key, authority| Some(Made { certificate: text(certificate)?, key: text(key)?, authority: text(authority)? });
    Kept {
        current: made("tls.crt", "tls.key", "ca.crt"),
        next: made("next.crt", "next.key", "next-ca.crt"),
        previous_authority: text("previous-ca.crt"),
    }
}

fn write(name: &str, kept: &Kept, secret: Secret) -> Secret {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, value: &str| drop(data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec())));
    for (made, [certificate, key, authority]) in
        [(&kept.current, ["tls.crt", "tls.key", "ca.crt"]), (&kept.next, ["next.crt", "next.key", "next-ca.crt"])]
    {
        if let Some(made) = made {
            put(certificate, &made.certificate);
            put(key, &made.key);
            put(authority, &made.authority);
        }
    }
    if let Some(authority) = &kept.previous_authority {
        put("previous-ca.crt", authority);
    }
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..secret.metadata };
    // The type of a Secret never changes.
    let type_ = secret.type_.or_else(|| Some("kubernetes.io/tls".to_owned()));
    Secret { metadata, data: Some(data), string_data: None, type_, immutable: secret.immutable }
}
