//! Everything at once: an issuer, an application, Ringfence and a real proxy between a client and them.

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};

use super::{
    doors::{Door, Proxy, Setting},
    policies::{AUDIENCE, policies},
    ringfence::Ringfence,
    upstream::Upstream,
};

/// All of it. What is asked last ends first.
pub struct Stand {
    /// The proxy: where clients connect.
    pub proxy: Proxy,
    /// The program under test.
    pub ringfence: Ringfence,
    /// What the proxy protects.
    pub application: Upstream,
    /// Who signs tokens.
    pub issuer: Issuer,
}

impl Stand {
    /// The usual policies behind the example of `door`.
    pub async fn start(door: &Door) -> Self {
        Self::start_with(door, &[], &[]).await
    }

    /// The same with further flags for Ringfence and changes to the example.
    pub async fn start_with(door: &Door, flags: &[&str], edits: &[(&str, &str)]) -> Self {
        Self::start_of(door, policies, flags, edits).await
    }

    /// The same with other policies.
    pub async fn start_of(door: &Door, policies: fn(&Issuer) -> String, flags: &[&str], edits: &[(&str, &str)]) -> Self {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let application = Upstream::start().await;
        let ringfence = Ringfence::start(&policies(&issuer), &[door.serve_flags, flags].concat()).await;
        let proxy = (door.start)(Setting { replicas: &[ringfence.replica()], application: application.address, edits }).await;
        Self { proxy, ringfence, application, issuer }
    }

    /// A good token for a webhook.
    pub fn token(&self) -> String {
        self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()
    }
}
