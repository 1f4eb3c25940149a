//! Tests of coming and going, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Response;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::Semaphore,
};

use super::*;
use crate::listen::{
    ConnectionSettings, GrpcListenerSettings, HttpListenerSettings, ListenAddress,
    testing::{
        Act, GrpcClient, Script, ask_http1, check_request, eventually, expiry_gauge, grpc_settings, http_settings, http1, serve_grpc, serve_http,
        server, try_http1,
    },
};

const NGINX: &str = "GET /auth/nginx/any/203.0.113.7/POST/a.example/p/.end HTTP/1.1\r\nHost: ringfence\r\n\r\n";

fn quickly() -> ShutdownTimes {
    ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_secs(10) }
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("check.sock");
    // No address is allowed: a Unix socket has none.
    let connections = ConnectionSettings { allow_from: vec![], ..ConnectionSettings::default() };
    let listener =
        GrpcListener::bind(GrpcListenerSettings { address: ListenAddress::Unix(path.clone()), connections, ..grpc_settings() }, &expiry_gauge())
            .unwrap();
    assert_eq!(listener.address().to_string(), format!("unix:{}", path.display()));
    let server = server();
    server.serve_grpc(listener, &Script::allowing(), &Readiness::default()).unwrap();
    let client = GrpcClient::over(UnixStream::connect(&path).await.unwrap()).await.unwrap();
    assert_eq!(client.check(&check_request("a.example", "/")).await.status.unwrap().code, 0);
    server.shutdown(quickly()).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_peer_that_is_not_allowed_is_refused_at_accept() {
    let connections = ConnectionSettings { allow_from: vec!["10.0.0.0/8".parse().unwrap()], ..ConnectionSettings::default() };
    let (_server, address) = serve_http(HttpListenerSettings { connections, ..http_settings() }, &Script::allowing());
    assert_closed(address).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let connections = ConnectionSettings { max_connections: 1, ..ConnectionSettings::default() };
    let (_server, address) = serve_http(HttpListenerSettings { connections, ..http_settings() }, &Script::allowing());
    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask_http1(&mut first, NGINX).await.status(), 200);
    assert_closed(address).await;
    assert_eq!(ask_http1(&mut first, NGINX).await.status(), 200);
    drop(first);
    eventually("there is room again", async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(NGINX.as_bytes()).await;
        stream.read(&mut [0; 1]).await.is_ok_and(|read| read == 1)
    })
    .await;
}

/// Whether a connection is closed without a byte.
async fn assert_closed(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(NGINX.as_bytes()).await;
    let read = stream.read(&mut [0; 64]).await;
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_and_loses_nothing() {
    let connections = ConnectionSettings { max_age: Duration::from_millis(50), ..ConnectionSettings::default() };
    let (_server, address) = serve_grpc(GrpcListenerSettings { connections, ..grpc_settings() }, &Script::allowing());
    let client = GrpcClient::connect(address).await;
    eventually("it is asked to go", async || client.is_closed()).await;
    let another = GrpcClient::connect(address).await;
    assert_eq!(another.check(&check_request("a.example", "/")).await.status.unwrap().code, 0);
}

#[tokio::test]
async fn an_old_http1_connection_says_close_in_its_last_answer() {
    let connections = ConnectionSettings { max_age: Duration::from_millis(50), ..ConnectionSettings::default() };
    let (_server, address) = serve_http(HttpListenerSettings { connections, ..http_settings() }, &Script::allowing());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut last: Response<String>;
    loop {
        last = ask_http1(&mut stream, NGINX).await;
        assert_eq!(last.status(), 200);
        if last.headers().contains_key("connection") {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(last.headers().get("connection").unwrap(), "close");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "and then it closes");
}

#[tokio::test]
async fn leaving_tells_http1_clients_to_go_elsewhere_and_still_serves() {
    let (server, address) = serve_http(http_settings(), &Script::allowing());
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert!(!ask_http1(&mut stream, NGINX).await.headers().contains_key("connection"));
    let leaving = tokio::spawn(server.shutdown(ShutdownTimes { announce: Duration::from_secs(2), drain: Duration::from_secs(10) }));
    eventually("close", async || http1(address, NGINX).await.headers().get("connection").is_some_and(|value| value == "close")).await;
    // Each connection is told by itself.
    while !ask_http1(&mut stream, NGINX).await.headers().contains_key("connection") {}
    leaving.await.unwrap();
}

#[tokio::test]
async fn no_grpc_request_fails_when_the_process_leaves_under_traffic() {
    let (server, address) = serve_grpc(grpc_settings(), &Script::allowing());
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = GrpcClient::connect(address).await;
                while !stop.load(Ordering::Relaxed) {
                    if client.is_closed() {
                        // As a proxy does: told to go, it connects elsewhere. Here there is no elsewhere.
                        let Ok(stream) = TcpStream::connect(address).await else { return };
                        let Ok(another) = GrpcClient::over(stream).await else { return };
                        client = another;
                        continue;
                    }
                    let body = crate::listen::testing::framed(&prost::Message::encode_to_vec(&check_request("a.example", "/")));
                    match client.call("/envoy.service.auth.v3.Authorization/Check", &[], body).await {
                        Ok(call) => assert_eq!(call.trailers.get("grpc-status").unwrap(), "0"),
                        // Never sent: hyper found the connection closed before it wrote the request.
                        Err(error) => assert!(error.is_canceled() || error.is_closed(), "{error:?}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("traffic", async || answered.load(Ordering::Relaxed) > 100).await;
    server.shutdown(ShutdownTimes { announce: Duration::from_millis(100), drain: Duration::from_secs(10) }).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn no_http1_request_fails_when_the_process_leaves_under_traffic() {
    let (server, address) = serve_http(http_settings(), &Script::allowing());
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                // Until nobody listens any more.
                while let Ok(mut stream) = TcpStream::connect(address).await {
                    let (mut is_last, mut served) = (false, 0);
                    while !is_last {
                        let Some(response) = try_http1(&mut stream, NGINX).await else { break };
                        assert_eq!(response.status(), 200);
                        is_last = response.headers().contains_key("connection");
                        served += 1;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // A connection that nobody had accepted when the socket closed was never served.
                    assert!(is_last || (served == 0 && TcpStream::connect(address).await.is_err()), "a request failed after {served} others");
                }
            })
        })
        .collect();
    eventually("traffic", async || answered.load(Ordering::Relaxed) > 100).await;
    server.shutdown(ShutdownTimes { announce: Duration::from_millis(100), drain: Duration::from_secs(10) }).await;
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let permits = Arc::new(Semaphore::new(0));
    let script = Script::new(Act::Wait(Arc::clone(&permits)));
    let (server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.check(&check_request("a.example", "/")).await }
    });
    eventually("it is asked", async || !script.seen().is_empty()).await;
    let leaving = tokio::spawn(server.shutdown(ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_secs(60) }));
    eventually("the connection is told to end", async || client.is_closed() || TcpStream::connect(address).await.is_err()).await;
    permits.add_permits(1);
    assert_eq!(asking.await.unwrap().status.unwrap().code, 0);
    leaving.await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_after_the_drain() {
    let script = Script::new(Act::Wait(Arc::new(Semaphore::new(0))));
    let (server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let asking = tokio::spawn(async move { client.check(&check_request("a.example", "/")).await });
    eventually("it is asked", async || !script.seen().is_empty()).await;
    let began = Instant::now();
    server.shutdown(ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_millis(300) }).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(asking.await.is_err());
}

#[tokio::test]
async fn an_idle_server_leaves_at_once() {
    let (server, address) = serve_grpc(grpc_settings(), &Script::allowing());
    let client = GrpcClient::connect(address).await;
    assert_eq!(client.check(&check_request("a.example", "/")).await.status.unwrap().code, 0);
    let began = Instant::now();
    server.shutdown(ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_secs(60) }).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(address).await.is_err(), "the port is free again");
}
