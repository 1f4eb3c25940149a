//! Used tokens remembered in a real Redis that two replicas share, and what becomes of checks while it is away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use futures_util::future::join_all;
use tokio::{net::TcpStream, sync::Barrier};

use crate::support::{
    grpc::{Client, check_request, peer, status},
    partner::Partner,
    policies::HOST,
    redis::Redis,
    ringfence::Ringfence,
    wait_for,
};

/// Checks of one token at a time.
const AT_ONCE: usize = 100;
/// By far more than the budget of 20 ms, and by far less than any other time-out: how long a check may take on a busy machine.
const SOON: Duration = Duration::from_secs(1);

fn request(path: &str, token: &str, id: &str) -> CheckRequest {
    let mut request = check_request(peer("127.0.0.1"), "POST", HOST, path, &[("authorization", token)]);
    request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap().id = id.to_owned();
    request
}

/// One replica, and a connection to it.
struct Replica {
    ringfence: Ringfence,
    client: Client,
}

impl Replica {
    async fn start(partner: &Partner, redis: &Redis) -> Self {
        let store = format!("--reuse-store={}", redis.url());
        let replica = Self::launch(partner, &[&store]).await;
        replica.wait_until_connected(true).await;
        replica
    }

    async fn launch(partner: &Partner, flags: &[&str]) -> Self {
        let ringfence = Ringfence::start(&partner.policies(), &[&["--decision-log=off"], flags].concat()).await;
        let client = connect(&ringfence).await;
        Self { ringfence, client }
    }

    /// Asks, and says how long it took.
    async fn ask(&mut self, path: &str, token: &str, id: &str) -> (i32, Duration) {
        let began = Instant::now();
        let answered = self.client.check(&request(path, token, id)).await;
        (status(&answered), began.elapsed())
    }

    async fn status(&mut self, path: &str, token: &str) -> i32 {
        self.ask(path, token, "").await.0
    }

    /// The answer to `/once`, asked again under the same id while it is that nothing can be said: on a busy machine 20 ms are soon over.
    async fn clear(&mut self, token: &str, id: &str) -> i32 {
        let what = format!("a clear answer to {id}");
        wait_for(&what, async || Some(self.ask("/once", token, id).await.0).filter(|answer| *answer != 503)).await
    }

    /// A token of this number is good once.
    async fn must_remember(&mut self, partner: &Partner, number: usize) {
        let token = partner.token(number);
        assert_eq!([self.clear(&token, "1").await, self.clear(&token, "2").await], [200, 401]);
    }

    async fn wait_until_connected(&self, connected: bool) {
        let is = async || self.ringfence.metric("ringfence_reuse_store_connected", &[]).await > 0.5;
        wait_for(&format!("the store to be connected: {connected}"), async || (is().await == connected).then_some(())).await;
    }

    async fn commits(&self, result: &str) -> f64 {
        self.ringfence.metric("ringfence_reuse_store_commits_total", &[&format!("result=\"{result}\"")]).await
    }

    /// Every check of `/once` is answered soon that nothing can be said; what does not depend on the store is let by all the same.
    async fn must_do_without(&mut self, partner: &Partner, from: usize) {
        for number in from..from + 20 {
            let (answer, took) = self.ask("/once", &partner.token(number), "").await;
            assert!(answer == 503 && took < SOON, "{answer} after {took:?}");
            let token = partner.token(number + 1_000);
            assert_eq!([self.status("/watched", &token).await, self.status("/free", &token).await], [200, 200]);
        }
        assert_eq!(self.ringfence.get("/readyz").await.0, 200);
        let unknown = self.ringfence.metric("ringfence_checks_total", &["reason=\"reuse_unknown\"", "decision=\"denied\""]).await;
        assert!(unknown >= 20.0, "{unknown}");
        assert!(self.ringfence.metric("ringfence_token_reuse_unremembered_total", &["policy=\"contoso/full\""]).await >= 40.0);
    }
}

async fn connect(ringfence: &Ringfence) -> Client {
    let stream = TcpStream::connect(ringfence.address("grpc")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Client::over(stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_is_allowed_once_by_two_replicas_together() {
    let (partner, redis) = (Partner::new(), Redis::start().await);
    let mut replicas = [Replica::start(&partner, &redis).await, Replica::start(&partner, &redis).await];
    let mut rounds = 0;
    let token = loop {
        rounds += 1;
        let (token, barrier) = (partner.token(rounds), Arc::new(Barrier::new(AT_ONCE)));
        let ask = |number: usize| {
            let (replica, token, barrier) = (&replicas[number % 2].ringfence, &token, Arc::clone(&barrier));
            async move {
                let mut client = connect(replica).await;
                barrier.wait().await;
                status(&client.check(&request("/once", token, "")).await)
            }
        };
        let answers = join_all((0..AT_ONCE).map(ask)).await;
        let count = |expected: i32| answers.iter().filter(|answer| **answer == expected).count();
        assert!(count(200) <= 1 && count(200) + count(401) + count(503) == AT_ONCE, "{answers:?}");
        assert!(rounds < 100, "the store is never asked in time: {answers:?}");
        // On a busy machine 20 ms are soon over, for the one that is first, too.
        if count(503) == 0 {
            assert_eq!(count(200), 1, "{answers:?}");
            break token;
        }
    };
    assert_eq!([replicas[0].clear(&token, "").await, replicas[1].clear(&token, "").await], [401, 401]);

    // What is stored says nothing of the token, and goes when the token has gone.
    let keys = redis.ask(&["KEYS", "ringfence:used:*"]);
    assert_eq!(keys.lines().count(), rounds, "{keys}");
    let keys = keys.lines().next().unwrap();
    let (signed, value) = (token.split(' ').nth(1).unwrap(), redis.ask(&["GET", keys]));
    assert!(signed.split('.').all(|part| !keys.contains(part) && !value.contains(part)), "{keys} {value}");
    let lifetime: i64 = redis.ask(&["PTTL", keys]).parse().unwrap();
    // The token's hour, its sender's skew, and the step that clocks may make.
    assert!((3_500_000..=3_690_000).contains(&lifetime), "{lifetime}");
}

#[tokio::test]
async fn a_check_that_envoy_repeats_is_no_reuse_whichever_replica_is_asked() {
    let (partner, redis) = (Partner::new(), Redis::start().await);
    let mut replicas = [Replica::start(&partner, &redis).await, Replica::start(&partner, &redis).await];
    let token = partner.token(1);
    let mut answers = Vec::new();
    for (replica, id) in [(0, "4711"), (1, "4711"), (0, "4711"), (1, "4712"), (0, ""), (1, "4711")] {
        answers.push(replicas[replica].clear(&token, id).await);
    }
    assert_eq!(answers, [200, 200, 200, 401, 401, 200]);
    let other = partner.token(2);
    assert_eq!([replicas[1].clear(&other, "4712").await, replicas[0].clear(&other, "4711").await], [200, 401]);
}

#[tokio::test]
async fn a_store_that_is_killed_is_done_without_and_found_again() {
    let (partner, mut redis) = (Partner::new(), Redis::start().await);
    let mut replica = Replica::start(&partner, &redis).await;
    replica.must_remember(&partner, 1).await;
    redis.kill();
    replica.must_do_without(&partner, 100).await;
    replica.wait_until_connected(false).await;
    let before = replica.commits("disconnected").await;
    // While it is known to be away nobody waits for it.
    replica.must_do_without(&partner, 200).await;
    assert_eq!(replica.commits("disconnected").await, before + 40.0);
    redis.start_again().await;
    replica.wait_until_connected(true).await;
    replica.must_remember(&partner, 300).await;
}

#[tokio::test]
async fn a_store_that_hangs_holds_nobody_up() {
    let (partner, redis) = (Partner::new(), Redis::start().await);
    let mut replica = Replica::start(&partner, &redis).await;
    redis.pause();
    replica.must_do_without(&partner, 100).await;
    replica.wait_until_connected(false).await;
    assert!(replica.commits("timed_out").await >= 1.0);
    redis.resume();
    replica.wait_until_connected(true).await;
    replica.must_remember(&partner, 300).await;
}

#[tokio::test]
async fn a_store_that_cannot_remember_is_as_good_as_none() {
    let (partner, redis) = (Partner::new(), Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await);
    let mut replica = Replica::start(&partner, &redis).await;
    // It would forget what must not be forgotten: that is said.
    let forgets = |line: &str| line.contains("maxmemory-policy noeviction").then(|| line.contains("allkeys-lru"));
    assert!(replica.ringfence.process().wait_for_line("the warning", forgets).await);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert_eq!(replica.status("/once", &partner.token(1)).await, 503);
    replica.wait_until_connected(false).await;
    assert_eq!(replica.status("/once", &partner.token(2)).await, 503);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    replica.wait_until_connected(true).await;
    replica.must_remember(&partner, 3).await;
    let said = replica.ringfence.output();
    assert!(said.contains("it answers, and would not remember a token") && said.contains("OOM"), "{said}");
}

#[tokio::test]
async fn over_tls_with_a_password() {
    let (partner, redis) = (Partner::new(), Redis::start_with_tls("s3cret/word").await);
    let ca = format!("--reuse-store-ca={}", redis.certificate().display());
    let store = |password: &str| format!("--reuse-store=rediss://:{password}@{}/2", redis.socket());
    let mut replica = Replica::launch(&partner, &[&store("s3cret%2Fword"), &ca]).await;
    replica.wait_until_connected(true).await;
    replica.must_remember(&partner, 1).await;
    let token = partner.token(2);

    // It is ready all the same, says what is wrong, and never what was tried.
    for (flags, problem) in [
        (vec![store("an0ther"), ca.clone()], "the login is refused"),
        (vec![store("s3cret%2Fword").replace(":s3cret%2Fword@", ""), ca.clone()], "the login is refused"),
        (vec![store("an0ther")], "TLS does not come about"),
        (vec![store("an0ther").replace("rediss", "redis")], "the connection broke"),
    ] {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut replica = Replica::launch(&partner, &flags).await;
        assert_eq!([replica.status("/once", &token).await, replica.status("/free", &token).await], [503, 200]);
        wait_for(problem, async || replica.ringfence.output().contains(problem).then_some(())).await;
        let said = replica.ringfence.output();
        assert!(!said.contains("an0ther") && !said.contains("s3cret"), "{flags:?}: {said}");
    }
}
