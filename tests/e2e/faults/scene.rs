//! What the rows happen in: the usual policies, a real Envoy before one replica or two, and traffic of every kind.

use std::{sync::Arc, time::Duration};

use ringfence::issuer::{Broken, Issuer, IssuerOptions, TokenSpec};

use crate::support::{
    doors::{ENVOY_GRPC, Proxy, Replica, Setting},
    http::Ask,
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    traffic::{Right, Tally, Traffic},
    upstream::Upstream,
    wait_for, wait_within,
};

/// A busy machine must not look like an outage.
const PATIENT: &[(&str, &str)] =
    &[("timeout: 0.5s", "timeout: 20s"), ("connect_timeout: 0.25s", "connect_timeout: 20s"), ("- timeout: 1s\n", "- timeout: 20s\n")];
/// Answers that come before a fault, and after it.
const SOME: usize = 60;

/// All of it. What is asked last ends first.
pub struct Scene {
    pub traffic: Traffic,
    pub front: Front,
    pub ringfence: Ringfence,
    pub issuer: Arc<Issuer>,
}

impl Scene {
    /// Starts it; some answers have come.
    pub async fn start() -> Self {
        let issuer = new_issuer().await;
        let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
        Self::before(ringfence, issuer).await
    }

    /// The same before this replica.
    pub async fn before(ringfence: Ringfence, issuer: Arc<Issuer>) -> Self {
        let front = Front::before(&[ringfence.replica()], &[]).await;
        let traffic = Traffic::start_judged(front.proxy.address, requests(&issuer));
        let scene = Self { traffic, front, ringfence, issuer };
        scene.flow().await;
        scene
    }

    /// Waits for some further answers.
    pub async fn flow(&self) {
        self.traffic.flow(SOME).await;
    }

    /// Waits until there has been enough of it.
    pub async fn last(&self) {
        self.flow().await;
        wait_for_enough(&self.traffic).await;
    }

    /// Asks with a token of a key that nobody has: the issuer has to be asked. It is never let by.
    pub async fn ask_with_unknown_key(&self) -> u16 {
        let token = self.issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
        let status = self.front.status(&webhook(&token)).await;
        assert!(matches!(status, 401 | 503), "an unknown key: {status}");
        status
    }

    /// Waits until a token that is made now is good.
    pub async fn wait_until_served(&self) {
        wait_for("a genuine request to be let by", async || {
            let token = self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
            let status = self.front.status(&webhook(&token)).await;
            assert!(matches!(status, 200 | 503), "a genuine request was refused: {status}");
            (status == 200).then_some(())
        })
        .await;
    }

    /// Ends it.
    pub async fn finish(self) -> Tally {
        self.flow().await;
        self.traffic.finish().await
    }
}

/// Waits until `traffic` has gone on for long enough.
pub async fn wait_for_enough(traffic: &Traffic) {
    // As long as it is told to go on, with `tests/run.sh --long`.
    wait_within(Duration::from_secs(600), "enough traffic", async || traffic.is_enough().then_some(())).await;
}

/// A real Envoy as in its example, before an application.
pub struct Front {
    pub proxy: Proxy,
    _application: Upstream,
}

impl Front {
    /// Asks these replicas, with changes to the example.
    pub async fn before(replicas: &[Replica], edits: &[(&str, &str)]) -> Self {
        let application = Upstream::start().await;
        let edits = [PATIENT, edits].concat();
        let proxy = (ENVOY_GRPC.start)(Setting { replicas, application: application.address, edits: &edits }).await;
        Self { proxy, _application: application }
    }

    pub async fn status(&self, ask: &Ask) -> u16 {
        ask.send(self.proxy.address).await.status
    }
}

pub async fn new_issuer() -> Arc<Issuer> {
    Arc::new(Issuer::start(IssuerOptions::default()).await.unwrap())
}

fn post(target: &str, token: Option<&str>) -> Ask {
    let ask = Ask::new("POST", target).header("Host", HOST);
    match token {
        Some(token) => ask.header("Authorization", format!("Bearer {token}")),
        None => ask,
    }
}

/// A webhook with everything it needs.
pub fn webhook(token: &str) -> Ask {
    post(&format!("/api/callbacks?key={KEY}"), Some(token))
}

fn websocket(token: &str) -> Ask {
    let ask = Ask::new("GET", "/media").header("Host", HOST).header("Authorization", format!("Bearer {token}"));
    let ask = ask.header("Connection", "Upgrade").header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    ask.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// Every kind of request in turn, and the only right answer to each. Tokens of bad ones are made now, those of good ones as they are sent, so
/// that they are signed with the key of the day.
pub fn requests(issuer: &Arc<Issuer>) -> impl Fn(usize) -> (Ask, Right) + Send + Sync + use<> {
    let issuer = Arc::clone(issuer);
    let genuine = TokenSpec::callback(AUDIENCE);
    let mint = |spec: &TokenSpec| issuer.mint(spec).unwrap();
    let broken = |broken: Broken| mint(&genuine.clone().broken(broken));
    let (kept, media) = (mint(&genuine), mint(&TokenSpec::websocket(AUDIENCE)));
    let refused = [
        Broken::ForeignKey,
        Broken::Tampered,
        Broken::WrongAudience,
        Broken::WrongIssuer,
        Broken::Expired,
        Broken::NotYetValid,
        Broken::AlgNone,
        Broken::Hs256,
        Broken::EmbeddedKey,
    ];
    let refused = refused.map(broken);
    let keyed = |key: &str| post("/keyed", None).header("x-callback-key", key);
    move |number| {
        let (ask, right) = match number % 12 {
            0 => (webhook(&kept), 200),
            1 | 6 => (webhook(&issuer.mint(&genuine).unwrap()), 200),
            2 => (websocket(&media), 101),
            3 => (keyed(KEY), 200),
            4 => (post(&format!("/api/callbacks?key={KEY}"), None), 401),
            5 => (post("/api/callbacks?key=not-the-key-0123456789", Some(&kept)), 401),
            7 => (post("/api/elsewhere", Some(&kept)), 403),
            8 => (webhook(&kept).from([127, 0, 0, 2]), 403),
            9 => (keyed("not-the-key-0123456789"), 401),
            _ => (webhook(&refused[number / 12 % refused.len()]), 401),
        };
        (ask, Right::Only(right))
    }
}
