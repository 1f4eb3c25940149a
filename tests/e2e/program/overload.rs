//! One address floods: who else asks is served as before, and nobody is told that it may not when it was not looked at.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message;
use ringfence::issuer::{Broken, Issuer, IssuerOptions, TokenSpec};
use tokio::{net::TcpStream, task::JoinSet};

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    wait_for,
};

/// Connections of the flood, and calls under way on each.
const CONNECTIONS: usize = 2;
const CALLS: usize = 128;
/// Good requests beside it.
const GOOD: usize = 300;
const FLOODER: &str = "127.0.0.66";

fn request(issuer: &Issuer, spec: &TokenSpec, from: &str) -> CheckRequest {
    let authorization = format!("Bearer {}", issuer.mint(spec).unwrap());
    check_request(peer(from), "POST", HOST, &format!("/api/callbacks?key={KEY}"), &[("authorization", &authorization)])
}

async fn connect(ringfence: &Ringfence) -> Client {
    let stream = TcpStream::connect(ringfence.address("grpc")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Client::over(stream).await.unwrap()
}

/// Asks the same again and again, over connections of its own, until it is told to end.
struct Flood {
    over: Arc<AtomicBool>,
    answers: Arc<Mutex<HashMap<i32, usize>>>,
    callers: JoinSet<()>,
}

impl Flood {
    async fn start(ringfence: &Ringfence, message: Vec<u8>) -> Self {
        let mut flood = Self { over: Arc::default(), answers: Arc::default(), callers: JoinSet::new() };
        for _ in 0..CONNECTIONS {
            let client = connect(ringfence).await;
            for _ in 0..CALLS {
                let (mut client, message, over, answers) = (client.clone(), message.clone(), Arc::clone(&flood.over), Arc::clone(&flood.answers));
                flood.callers.spawn(async move {
                    while !over.load(Ordering::Relaxed) {
                        let answered = client.send(message.clone(), 0).await.unwrap().response.unwrap();
                        *answers.lock().unwrap().entry(status(&answered)).or_default() += 1;
                    }
                });
            }
        }
        flood
    }

    /// How often it got each status.
    async fn end(mut self) -> HashMap<i32, usize> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        let answers = self.answers.lock().unwrap();
        answers.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_starves_no_other() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let policies = policies(&issuer).replace("127.0.0.1/32", "127.0.0.0/8");
    let ringfence = Ringfence::start(&policies, &["--threads=1", "--decision-log=off"]).await;
    let good: Vec<_> = (0..GOOD).map(|_| request(&issuer, &TokenSpec::callback(AUDIENCE), "127.0.0.1")).collect();
    // Unlike a foreign key's signature, which may be out of the key's range, this one is always verified.
    let bad = request(&issuer, &TokenSpec::callback(AUDIENCE).broken(Broken::Tampered), FLOODER);
    let flood = Flood::start(&ringfence, bad.encode_to_vec()).await;
    let shed = async || ringfence.metric("ringfence_checks_shed_total", &["cause=\"source_share\""]).await;
    let mut client = connect(&ringfence).await;
    // The flooder is told to wait as soon as there is somebody else.
    let mut asked = good.iter().cycle();
    wait_for("the flood to be shed", async || {
        assert_eq!(status(&client.check(asked.next().unwrap()).await), 200);
        (shed().await > 0.0).then_some(())
    })
    .await;
    for good in &good {
        assert_eq!(status(&client.check(good).await), 200);
    }
    let answers = flood.end().await;
    let count = |status: i32| answers.get(&status).copied().unwrap_or_default();
    assert_eq!(count(401) + count(503), answers.values().sum::<usize>(), "{answers:?}");
    assert!(count(401) > 0 && count(503) > 0, "{answers:?}");
    let reason = async |code: &str| ringfence.metric("ringfence_checks_total", &[&format!("reason=\"{code}\"")]).await;
    assert_eq!((reason("signature_invalid").await, reason("overloaded").await), (count(401) as f64, count(503) as f64));
    assert_eq!(shed().await, count(503) as f64);
    // Once it is over, nobody is held to account.
    let again = request(&issuer, &TokenSpec::callback(AUDIENCE), FLOODER);
    wait_for("the flooder to be heard", async || (status(&client.check(&again).await) == 200).then_some(())).await;
}
