//! What happens to the store of used tokens that replicas share: a real Redis.

use std::sync::Arc;

use ringfence::issuer::{Issuer, TokenSpec};

use super::scene::{Front, new_issuer, requests, wait_for_enough};
use crate::support::{
    http::Ask,
    policies::{AUDIENCE, HOST, policies},
    redis::Redis,
    ringfence::Ringfence,
    traffic::{Right, Tally, Traffic},
    wait_for,
};

/// Answers that come before a fault, and after it.
const SOME: usize = 100;

/// Two replicas with one store, behind one Envoy.
struct Shared {
    traffic: Traffic,
    front: Front,
    replicas: [Ringfence; 2],
    issuer: Arc<Issuer>,
}

impl Shared {
    /// Starts them. A third of the traffic is about `/once`, where the store is asked: in turn a token that was never used, which is good or
    /// cannot be decided, and one that `was_used`, which is never good.
    async fn start(redis: &Redis, was_used: &str, issuer: &Arc<Issuer>) -> Self {
        let store = format!("--reuse-store={}", redis.url());
        let start = async || Ringfence::start(&policies(issuer), &[&store]).await;
        let replicas = [start().await, start().await];
        for replica in &replicas {
            wait_until_connected(replica, true).await;
        }
        let front = Front::before(&replicas.each_ref().map(Ringfence::replica), &[]).await;
        let used = once(was_used);
        wait_for("the first use of a token", async || (front.status(&used).await == 200).then_some(())).await;
        let (minted, others) = (Arc::clone(issuer), requests(issuer));
        let traffic = Traffic::start_judged(front.proxy.address, move |number| match number % 6 {
            0 => (once(&minted.mint(&TokenSpec::callback(AUDIENCE)).unwrap()), Right::Either(200, 503)),
            3 => (used.clone(), Right::Either(401, 503)),
            _ => others(number - number / 3),
        });
        traffic.flow(SOME).await;
        Self { traffic, front, replicas, issuer: Arc::clone(issuer) }
    }

    /// What a token that was never used is answered by either replica: all that came meanwhile.
    async fn must_answer(&self, status: u16) {
        wait_for(&format!("every fresh token to be answered {status}"), async || {
            let mut all = true;
            for _ in 0..8 {
                all &= self.front.status(&once(&self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap())).await == status;
            }
            all.then_some(())
        })
        .await;
    }

    async fn wait_until_connected(&self, connected: bool) {
        for replica in &self.replicas {
            wait_until_connected(replica, connected).await;
        }
    }

    async fn finish(self) -> Tally {
        self.traffic.flow(SOME).await;
        wait_for_enough(&self.traffic).await;
        for replica in &self.replicas {
            assert_eq!(replica.get("/readyz").await.0, 200);
        }
        self.traffic.finish().await
    }
}

async fn wait_until_connected(replica: &Ringfence, connected: bool) {
    let is = async || replica.metric("ringfence_reuse_store_connected", &[]).await > 0.5;
    wait_for(&format!("the store to be connected: {connected}"), async || (is().await == connected).then_some(())).await;
}

fn once(token: &str) -> Ask {
    Ask::new("POST", "/once").header("Host", HOST).header("Authorization", format!("Bearer {token}"))
}

/// It keeps what it was told on its disk, as one that is meant to be asked after a restart has to.
pub async fn store_down() -> Tally {
    let (issuer, mut redis) = (new_issuer().await, Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await);
    let shared = Shared::start(&redis, &issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap(), &issuer).await;
    redis.kill();
    shared.wait_until_connected(false).await;
    shared.must_answer(503).await;
    shared.traffic.flow(SOME).await;
    redis.start_again().await;
    shared.wait_until_connected(true).await;
    shared.must_answer(200).await;
    shared.finish().await
}

pub async fn store_hangs() -> Tally {
    let (issuer, redis) = (new_issuer().await, Redis::start().await);
    let shared = Shared::start(&redis, &issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap(), &issuer).await;
    redis.pause();
    shared.wait_until_connected(false).await;
    shared.must_answer(503).await;
    shared.traffic.flow(SOME).await;
    redis.resume();
    shared.wait_until_connected(true).await;
    shared.must_answer(200).await;
    shared.finish().await
}
