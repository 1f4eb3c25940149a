//! Tests over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

use prometheus::IntCounter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::listen::{
    Server, ShutdownTimes,
    testing::{eventually, http1, server},
};

fn serve(readiness: &Readiness) -> (Server, SocketAddr) {
    let registry = Registry::new();
    let counter = IntCounter::new("ringfence_test_total", "A counter.").unwrap();
    counter.inc();
    registry.register(Box::new(counter)).unwrap();
    let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let server = server();
    server.serve_metrics(listener, registry, readiness.clone()).unwrap();
    (server, address)
}

async fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let response = http1(address, format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    (response.status().as_u16(), response.into_body())
}

#[tokio::test]
async fn metrics_are_shown_as_text() {
    let (_server, address) = serve(&Readiness::default());
    let response = http1(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("content-type").unwrap().to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(response.body(), "# HELP ringfence_test_total A counter.\n# TYPE ringfence_test_total counter\nringfence_test_total 1\n");
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let readiness = Readiness::default();
    let (keys, policies) = (readiness.condition("keys", "not fetched yet"), readiness.condition("policies", "not read yet"));
    let (_server, address) = serve(&readiness);
    assert_eq!(get(address, "/livez").await, (200, "ok\n".to_owned()));
    policies.met();
    assert_eq!(get(address, "/readyz").await, (503, "[-] keys\nnot ready\n".to_owned()));
    assert_eq!(get(address, "/readyz?verbose").await, (503, "[-] keys: not fetched yet\n[+] policies: ok\n[+] serving: ok\nnot ready\n".to_owned()));
    keys.met();
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn nothing_else_is_there_and_nothing_can_be_written() {
    let (_server, address) = serve(&Readiness::default());
    for target in ["/", "/metrics/", "/auth/nginx/any/x", "/debug"] {
        assert_eq!(get(address, target).await.0, 404, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = http1(address, format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!((response.status().as_u16(), response.headers().get("allow").unwrap().to_str().unwrap()), (405, "GET, HEAD"), "{method}");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).await.unwrap();
    assert!(received.starts_with("HTTP/1.1 200 ") && received.ends_with("\r\n\r\n"), "{received}");
}

#[tokio::test]
async fn a_leaving_process_is_not_ready_and_is_still_seen() {
    let (server, address) = serve(&Readiness::default());
    assert_eq!(get(address, "/readyz").await.0, 200);
    let leaving = tokio::spawn(server.shutdown(ShutdownTimes { announce: Duration::from_secs(2), drain: Duration::from_secs(1) }));
    eventually("not ready", async || get(address, "/readyz").await.0 == 503).await;
    assert_eq!(get(address, "/livez").await.0, 200);
    assert_eq!(get(address, "/metrics").await.0, 200);
    leaving.await.unwrap();
    eventually("closed", async || TcpStream::connect(address).await.is_err()).await;
}

#[tokio::test]
async fn idle_connections_keep_nobody_from_looking() {
    let (_server, address) = serve(&Readiness::default());
    let mut idle = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let looked = tokio::time::timeout(NEXT_REQUEST / 4, get(address, "/livez")).await;
    assert_eq!(looked.unwrap(), (200, "ok\n".to_owned()));
}
