//! Everything at once: an issuer, an application, Ringfence and a real proxy between a client and them.

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};

use super::{
    policies::{AUDIENCE, policies},
    proxies::{Kind, Proxy},
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
    /// The usual policies behind the example of `kind`.
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[], &[]).await
    }

    /// The same with further flags for Ringfence and changes to the example.
    pub async fn start_with(kind: Kind, flags: &[&str], edits: &[(&str, &str)]) -> Self {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let application = Upstream::start().await;
        let ringfence = Ringfence::start(&policies(&issuer), &[serve_flags(kind), flags].concat()).await;
        let proxy = Proxy::start(kind, &[ringfence.replica()], application.address, edits).await;
        Self { proxy, ringfence, application, issuer }
    }

    /// A good token for a webhook.
    pub fn token(&self) -> String {
        self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()
    }
}

/// What the example of `kind` tells Ringfence to be started with, besides where its folder is.
pub fn serve_flags(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::EnvoyGrpc | Kind::EnvoyGrpcMap => &[],
        Kind::EnvoyHttp => &["--http-dialects=envoy", "--http-client-address=header:x-ringfence-client-address"],
        Kind::Nginx => &["--http-dialects=nginx"],
    }
}
