//! An API server that is away, without its memory, cut off, or silent. What was last known serves, and what changes afterwards counts again.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use ringfence::issuer::{Broken, TokenSpec};

use super::scene::{Front, wait_for_enough};
use crate::{
    kubernetes::{Cluster, callback, grant},
    support::{
        network::Relay,
        policies::AUDIENCE,
        ringfence::Ringfence,
        traffic::{Right, Tally, Traffic},
        wait_for, wait_within,
    },
};

const HOST: &str = "callbacks.contoso.com";
/// How long a watch may be silent before it is begun anew, and some more.
const SILENCE: Duration = Duration::from_secs(100);

/// One replica that follows an API server through a relay.
struct Followed {
    cluster: Cluster,
    relay: Relay,
    ringfence: Ringfence,
    front: Front,
}

impl Followed {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.apply(&(grant("contoso", HOST, "contoso") + &cluster.policy("contoso", "center", HOST, ""))).await;
        let relay = Relay::start(([127, 0, 0, 1], 0).into(), cluster.kubernetes.address()).await;
        let kubeconfig = through(&cluster, relay.address).await;
        let origins = format!("--issuer-origins={}", cluster.issuer.url());
        let ringfence = Ringfence::start_on_cluster(&kubeconfig, &[&origins]).await;
        ringfence.wait_until_ready().await;
        let front = Front::before(&[ringfence.replica()], &[]).await;
        Self { cluster, relay, ringfence, front }
    }

    /// Requests of every kind that this policy knows.
    async fn traffic(&self) -> Traffic {
        let token = self.cluster.token();
        let mint = |broken: Broken| self.cluster.issuer.mint(&TokenSpec::callback(AUDIENCE).broken(broken)).unwrap();
        let bad = [Broken::ForeignKey, Broken::Tampered, Broken::WrongAudience, Broken::Expired, Broken::AlgNone].map(mint);
        let traffic = Traffic::start_judged(self.front.proxy.address, move |number| {
            let (ask, right) = match number % 4 {
                0 => (callback(HOST, "/", None), 401),
                1 => (callback("elsewhere.contoso.com", "/", Some(&token)), 403),
                2 => (callback(HOST, "/", Some(&bad[number / 4 % bad.len()])), 401),
                _ => (callback(HOST, "/", Some(&token)), 200),
            };
            (ask, Right::Only(right))
        });
        traffic.flow(40).await;
        traffic
    }

    /// How often it said that it cannot read something.
    fn troubles(&self) -> usize {
        self.ringfence.output().matches("what is known stays in force").count()
    }

    /// When the API server last answered for policies, Unix time.
    async fn last_answer(&self) -> f64 {
        self.ringfence.metric("ringfence_watch_last_event_timestamp_seconds", &["kind=\"CallbackPolicy\""]).await
    }

    async fn wait_for_trouble(&self, before: usize) {
        wait_within(SILENCE, "the fault to be noticed", async || (self.troubles() > before).then_some(())).await;
        assert_eq!(self.ringfence.get("/readyz").await.0, 200);
    }

    /// Waits until a policy that is made now is in force.
    async fn wait_until_it_follows(&self, name: &str) {
        let host = format!("{name}.contoso.com");
        let policy = grant(name, &host, "contoso") + &self.cluster.policy("contoso", name, &host, "");
        let apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        wait_for("the API server to take a policy", async || self.cluster.kubernetes.kubectl(&apply, &policy).await.ok().map(drop)).await;
        let ask = callback(&host, "/", Some(&self.cluster.token()));
        let what = format!("the policy {name} to be in force");
        wait_within(SILENCE, &what, async || (self.front.status(&ask).await == 200).then_some(())).await;
    }
}

/// The replica's own kubeconfig, with the relay in the API server's place.
async fn through(cluster: &Cluster, relay: SocketAddr) -> PathBuf {
    let file = cluster.kubernetes.kubeconfig_of("ringfence", "ringfence").await;
    let direct = fs::read_to_string(&file).unwrap();
    let relayed = direct.replace(&format!("https://{}", cluster.kubernetes.address()), &format!("https://{relay}"));
    assert_ne!(direct, relayed);
    fs::write(&file, relayed).unwrap();
    file
}

/// Every row, one after the other on one cluster.
pub async fn outages() -> [Tally; 4] {
    let mut followed = Followed::start().await;
    [api_server_down(&mut followed).await, etcd_down(&mut followed).await, watch_cut(&followed).await, watch_stale(&followed).await]
}

async fn api_server_down(followed: &mut Followed) -> Tally {
    let (traffic, before) = (followed.traffic().await, followed.troubles());
    followed.cluster.kubernetes.kill_api_server();
    followed.wait_for_trouble(before).await;
    traffic.flow(40).await;
    wait_for_enough(&traffic).await;
    followed.cluster.kubernetes.start_api_server_again().await;
    followed.wait_until_it_follows("after-api-server").await;
    traffic.finish().await
}

/// The API server answers from what it remembers, or not at all.
async fn etcd_down(followed: &mut Followed) -> Tally {
    let traffic = followed.traffic().await;
    followed.cluster.kubernetes.kill_etcd();
    traffic.flow(40).await;
    wait_for_enough(&traffic).await;
    assert_eq!(followed.ringfence.get("/readyz").await.0, 200);
    followed.cluster.kubernetes.start_etcd_again();
    followed.wait_until_it_follows("after-etcd").await;
    traffic.finish().await
}

async fn watch_cut(followed: &Followed) -> Tally {
    let (traffic, before) = (followed.traffic().await, followed.troubles());
    followed.relay.close();
    followed.wait_for_trouble(before).await;
    traffic.flow(40).await;
    wait_for_enough(&traffic).await;
    followed.relay.carry_on();
    followed.wait_until_it_follows("after-cut").await;
    traffic.finish().await
}

/// Nothing is closed and nothing is said: silence is no health.
async fn watch_stale(followed: &Followed) -> Tally {
    let (traffic, before) = (followed.traffic().await, followed.troubles());
    followed.relay.fall_silent();
    let last = followed.last_answer().await;
    followed.wait_for_trouble(before).await;
    assert_eq!(followed.last_answer().await, last, "silence is no answer");
    traffic.flow(40).await;
    followed.relay.carry_on();
    followed.wait_until_it_follows("after-silence").await;
    assert!(followed.last_answer().await > last);
    traffic.finish().await
}
