//! Policies of a real API server, with the program beside it and a real Envoy in front. The program is a ServiceAccount with the rights that
//! deploy/ gives it, never more.

mod admission;
mod definitions;
mod enforced;
mod outages;
mod replica;
mod replicas;
mod rights;
mod same_as_folder;
mod status;
mod tenants;

use std::{fs, path::Path};

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};

use crate::support::{
    doors::{ENVOY_GRPC, Proxy, Setting},
    http::Ask,
    kubernetes::Kubernetes,
    policies::AUDIENCE,
    ringfence::Ringfence,
    upstream::Upstream,
    wait_for,
};

/// An API server with what a cluster's operator installs, and two tenants.
pub struct Cluster {
    pub kubernetes: Kubernetes,
    pub issuer: Issuer,
}

impl Cluster {
    pub async fn start() -> Self {
        let cluster = Self::start_bare().await;
        cluster.define().await;
        cluster
    }

    /// The same without our kinds.
    pub async fn start_bare() -> Self {
        let kubernetes = Kubernetes::start().await;
        for namespace in ["ringfence", "contoso", "fabrikam"] {
            kubernetes.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).await;
        }
        let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base/rbac.yaml");
        kubernetes.apply(&fs::read_to_string(rights).unwrap()).await;
        Self { kubernetes, issuer: Issuer::start(IssuerOptions::default()).await.unwrap() }
    }

    /// Installs our kinds.
    pub async fn define(&self) {
        self.kubernetes.define().await;
    }

    /// The program as its ServiceAccount.
    pub async fn ringfence(&self, flags: &[&str]) -> Ringfence {
        let origins = format!("--issuer-origins={}", self.issuer.url());
        let kubeconfig = self.kubernetes.kubeconfig_of("ringfence", "ringfence").await;
        Ringfence::start_on_cluster(&kubeconfig, &[&[origins.as_str()], flags].concat()).await
    }

    pub async fn apply(&self, yaml: &str) {
        self.kubernetes.apply(yaml).await;
    }

    pub async fn delete(&self, what: &[&str]) {
        self.kubernetes.kubectl(&[&["delete", "--wait=false"], what].concat(), "").await.unwrap();
    }

    /// The namespace permits that its callback keys are read.
    pub async fn consent(&self, namespace: &str) {
        let bind = ["create", "rolebinding", "ringfence-secret-reader", "--clusterrole", "ringfence-secret-reader"];
        let to = ["--serviceaccount", "ringfence:ringfence", "--namespace", namespace];
        self.kubernetes.kubectl(&[&bind[..], &to].concat(), "").await.unwrap();
    }

    pub fn token(&self) -> String {
        self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()
    }

    /// A policy whose tokens are of the cluster's issuer; `sender` is the rest of its only sender.
    pub fn policy(&self, namespace: &str, name: &str, host: &str, sender: &str) -> String {
        format!(
            "apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  match: {{hosts: ['{host}']}}
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation: {{audiences: [{AUDIENCE}], issuer: '{}', openIdConfiguration: '{}'}}
{sender}
---
",
            self.issuer.issuer(),
            self.issuer.discovery_url()
        )
    }
}

pub fn grant(name: &str, host: &str, namespace: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {{name: {name}}}\nspec: {{hosts: ['{host}'], namespaces: [{namespace}]}}\n---\n"
    )
}

pub fn secret(namespace: &str, name: &str, values: &[(&str, &str)]) -> String {
    let values: Vec<_> = values.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let values = values.join(", ");
    format!(
        "apiVersion: v1\nkind: Secret\ntype: ringfence.dev/callback-key\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{{values}}}\n---\n"
    )
}

/// A real Envoy before an application, which asks `ringfence`.
pub struct Front {
    pub proxy: Proxy,
    _application: Upstream,
}

impl Front {
    pub async fn before(ringfence: &Ringfence) -> Self {
        let application = Upstream::start().await;
        // A real one would be restarted; here a busy machine must not look like an outage.
        let edits = [("timeout: 0.5s", "timeout: 20s")];
        let setting = Setting { replicas: &[ringfence.replica()], application: application.address, edits: &edits };
        Self { proxy: (ENVOY_GRPC.start)(setting).await, _application: application }
    }

    pub async fn status(&self, host: &str, target: &str, token: Option<&str>) -> u16 {
        callback(host, target, token).send(self.proxy.address).await.status
    }

    pub async fn wait_for_status(&self, expected: u16, host: &str, target: &str, token: Option<&str>) {
        wait_for(&format!("{expected} for {host}{target}"), async || (self.status(host, target, token).await == expected).then_some(())).await;
    }
}

pub fn callback(host: &str, target: &str, token: Option<&str>) -> Ask {
    let ask = Ask::new("POST", target).header("Host", host);
    match token {
        Some(token) => ask.header("Authorization", format!("Bearer {token}")),
        None => ask,
    }
}
