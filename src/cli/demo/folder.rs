//! The demo's folder of policies, as an application team would write it; benches serve it, too.

use crate::issuer::{DEMO_TENANT, DISCOVERY_PATH, Issuer};

/// The resource that the demo's callbacks are for: its immutableResourceId.
pub const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
/// The application of Entra that the demo's events are for.
pub const APPLICATION: &str = "api://ringfence-demo";
/// The host that is guarded.
pub const HOST: &str = "callbacks.contoso.com";
/// The key in the callback URL.
pub const KEY: &str = "demo-callback-key-0001";
/// An address that Azure Communication Services calls from.
pub const SOURCE: &str = "52.112.10.20";
/// The name of the one file.
pub const FILE: &str = "contoso.yaml";

/// The file's content. Its senders name the demo's own issuer; a real policy leaves `issuer` and `openIdConfiguration` out.
#[must_use]
pub fn policies(issuer: &Issuer) -> String {
    let (name, url) = (issuer.issuer(), issuer.url());
    let (issuer_v1, issuer_v2, jwks_uri) = issuer.authority(DEMO_TENANT);
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: contact-center, namespace: contoso}}
spec:
  match:
    hosts: [{HOST}]
    paths: [{{prefix: /api/callbacks}}, {{exact: /api/events}}, {{exact: /media}}]
  senders:
  - name: callbacks
    type: CallAutomation
    callAutomation:
      audiences: [{AUDIENCE}]
      issuer: {name}   # the demo's own; leave these two lines out for the real service
      openIdConfiguration: {url}{DISCOVERY_PATH}
      tokenReuse: Deny
    paths: [{{prefix: /api/callbacks}}]
    sources: {{sets: [acs-callbacks], onMismatch: Deny}}
    apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}
  - name: media
    type: CallAutomation
    callAutomation:
      audiences: [{AUDIENCE}]
      issuer: {name}
      openIdConfiguration: {url}{DISCOVERY_PATH}
      transport: WebSocket
    paths: [{{exact: /media}}]
    sources: {{sets: [acs-media], onMismatch: Observe}}
  - name: incoming-call
    type: EventGrid
    eventGrid:
      tenantId: {DEMO_TENANT}
      audiences: [\"{APPLICATION}\"]
      authority: {{issuerV1: {issuer_v1}, issuerV2: {issuer_v2}, jwksUri: {jwks_uri}}}   # the demo's own, too
    paths: [{{exact: /api/events}}]
    apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}
  forward:
    headers: [{{name: x-acs-audience, claim: aud}}]
---
apiVersion: v1
kind: Secret
type: ringfence.dev/callback-key
metadata: {{name: callback-key, namespace: contoso}}
stringData: {{current: {KEY}}}
"
    )
}
