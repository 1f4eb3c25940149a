//! Not enough of what the system gives: file descriptors, memory.

use std::net::SocketAddr;

use futures_util::future::join_all;
use ringfence::issuer::{Issuer, Rotation, TokenSpec};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::scene::{Scene, new_issuer};
use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, generation, policies, put},
    ringfence::Ringfence,
    traffic::Tally,
    wait_for,
};

/// Descriptors of the process: few enough to use up.
const DESCRIPTORS: u32 = 256;
/// What deploy/ gives a replica.
const MEMORY: u64 = 256 << 20;
/// Connections of a flood, and how much each sends at a time.
const FLOOD: usize = 48;

async fn start(limit: &str) -> Scene {
    let issuer = new_issuer().await;
    let mut ringfence = Ringfence::launch_by(&["prlimit", limit], &policies(&issuer), &[]);
    ringfence.read_addresses(&["grpc", "http", "metrics"]).await;
    ringfence.wait_until_ready().await;
    Scene::before(ringfence, issuer).await
}

/// Connections that say nothing, more than there may be; those that were turned away are let go.
async fn idle_connections(to: SocketAddr) -> Vec<TcpStream> {
    let connections = join_all((0..DESCRIPTORS).map(|_| TcpStream::connect(to))).await;
    connections.into_iter().map(Result::unwrap).collect()
}

/// Whether somebody who comes now is served over gRPC.
async fn is_served(to: SocketAddr, issuer: &Issuer) -> bool {
    let Ok(stream) = TcpStream::connect(to).await else { return false };
    let Ok(mut client) = Client::over(stream).await else { return false };
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let target = format!("/api/callbacks?key={KEY}");
    let request = check_request(peer("127.0.0.1"), "POST", HOST, &target, &[("authorization", &authorization)]);
    let Ok(reply) = client.send(prost::Message::encode_to_vec(&request), 0).await else { return false };
    reply.response.is_some_and(|response| status(&response) == 200)
}

/// What is connected goes on, and so does everything else that needs descriptors; whoever comes anew is turned away until some are free.
pub async fn descriptors_exhausted() -> Tally {
    let scene = start(&format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}")).await;
    let grpc = scene.ringfence.address("grpc");
    let mut held = Vec::new();
    for listener in ["grpc", "http", "metrics"] {
        held.push(idle_connections(scene.ringfence.address(listener)).await);
    }
    wait_for("the newest connections to be turned away", async || {
        scene.ringfence.output().contains("refused a connection: there are too many").then_some(())
    })
    .await;
    assert!(!is_served(grpc, &scene.issuer).await, "one more connection is one too many");
    let open = scene.ringfence.metric("process_open_fds", &[]).await;
    assert!(open < f64::from(DESCRIPTORS), "{open} are open");
    assert_eq!(scene.ringfence.get("/readyz").await.0, 200);
    // The folder is read, and keys are fetched.
    put(scene.ringfence.folder(), "generation.yaml", &generation(4));
    scene.wait_for_generation(4).await;
    scene.issuer.rotate(Rotation::Sign).unwrap();
    scene.last().await;
    assert!(!scene.ringfence.output().contains("Too many open files"));
    drop(held);
    wait_for("new connections to be served", async || is_served(grpc, &scene.issuer).await.then_some(())).await;
    scene.finish().await
}

/// Calls of a megabyte each, over and over, and heads that never end.
fn flood(grpc: SocketAddr, http: SocketAddr) -> JoinSet<()> {
    let mut flood = JoinSet::new();
    for number in 0..FLOOD {
        flood.spawn(async move {
            loop {
                let stream = TcpStream::connect(grpc).await.unwrap();
                let Ok(mut client) = Client::over(stream).await else { continue };
                let value = "x".repeat((1 << 20) - 400 - number);
                let large = check_request(peer("127.0.0.1"), "POST", HOST, "/api/callbacks", &[("x-large", value.as_str())]);
                let message = prost::Message::encode_to_vec(&large);
                while client.send(message.clone(), 0).await.is_ok() {}
            }
        });
        flood.spawn(async move {
            loop {
                let mut stream = TcpStream::connect(http).await.unwrap();
                let _ = stream.write_all(b"GET /auth/nginx/any/ HTTP/1.1\r\n").await;
                while stream.write_all(format!("x-{number}: {}\r\n", "y".repeat(16_000)).as_bytes()).await.is_ok() {}
                let _ = stream.read(&mut [0]).await;
            }
        });
    }
    flood
}

/// It has as much memory as deploy/ gives it, and a flood does not use it up.
pub async fn memory_limit_close() -> Tally {
    let mut scene = start(&format!("--data={MEMORY}")).await;
    // A flood costs processor time: some are told to come again.
    scene.traffic.may_be_undecided(true);
    let mut flood = flood(scene.ringfence.address("grpc"), scene.ringfence.address("http"));
    scene.last().await;
    scene.ringfence.process().must_run();
    let resident = scene.ringfence.metric("process_resident_memory_bytes", &[]).await;
    assert!(resident < MEMORY as f64 / 2.0, "{resident} bytes under a flood");
    flood.shutdown().await;
    scene.finish().await
}
