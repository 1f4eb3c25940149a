//! Tests over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;
use ringfence_core::decide::{Decision, Wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::listen::{
    ClientAddress,
    testing::{Act, Script, ask_http1, http_settings, http1, serve_http},
};

/// A request without a body, with these header lines.
fn get(target: &str, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nHost: ringfence\r\n{lines}\r\n").into_bytes()
}

/// As nginx asks about this target of this host.
fn nginx(host_and_target: &str, lines: &[&str]) -> Vec<u8> {
    get(&format!("/auth/nginx/any/203.0.113.7/POST/{host_and_target}/.end"), lines)
}

fn reason(response: &Response<String>) -> (u16, &str) {
    (response.status().as_u16(), response.headers().get("x-ringfence-reason").map_or("", |reason| reason.to_str().unwrap()))
}

#[tokio::test]
async fn nginx_asks_in_its_request_line() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let response =
        http1(address, nginx("a.example:8443/p?key=a/b&c=%2F", &["Authorization: Bearer a", "X-Original-URI: /other", "Connection: close"])).await;
    assert_eq!(response.status(), 200);
    let seen = script.seen().pop().unwrap();
    assert_eq!(
        (seen.wire, seen.method.as_str(), seen.host.as_deref(), seen.target.as_str()),
        (Wire::Nginx, "POST", Some("a.example:8443"), "/p?key=a/b&c=%2F")
    );
    assert_eq!(seen.source, Some("203.0.113.7".parse().unwrap()));
    assert_eq!((seen.pin, seen.body), (None, None));
    assert_eq!(seen.headers, [("authorization".to_owned(), b"Bearer a".to_vec()), ("x-original-uri".to_owned(), b"/other".to_vec())]);
}

#[tokio::test]
async fn a_pinned_url_names_its_policy() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    http1(address, get("/auth/nginx/by/contoso/contact-center/203.0.113.7/POST/a.example/p/.end", &[])).await;
    let seen = script.seen().pop().unwrap();
    assert_eq!((seen.pin.as_deref(), seen.target.as_str()), (Some("contoso/contact-center"), "/p"));
    http1(address, get("/auth/envoy/by/contoso/contact-center/p?x", &[])).await;
    let seen = script.seen().pop().unwrap();
    assert_eq!((seen.pin.as_deref(), seen.target.as_str()), (Some("contoso/contact-center"), "/p?x"));
}

#[tokio::test]
async fn envoy_asks_with_its_own_method_path_and_host() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let request = "POST /auth/envoy/any/p//q?key=a#b HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http1(address, request).await.status(), 200);
    let seen = script.seen().pop().unwrap();
    assert_eq!(
        (seen.wire, seen.method.as_str(), seen.host.as_deref(), seen.target.as_str()),
        (Wire::Envoy, "POST", Some("a.example"), "/p//q?key=a")
    );
    assert_eq!(seen.source, None, "Envoy sends no client address");
    assert_eq!(seen.headers, [("authorization".to_owned(), b"Bearer a".to_vec())]);
    let twice = "POST /auth/envoy/any/p HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nContent-Length: 0\r\n\r\n";
    http1(address, twice).await;
    assert!(script.seen().into_iter().all(|seen| seen.host.is_none()));
}

#[tokio::test]
async fn envoy_may_ask_over_http2() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async |uri: &str| sender.send_request(Request::post(uri).body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(ask("http://a.example/auth/envoy/any/p").await.status(), 200);
    assert_eq!(script.seen().pop().unwrap().host.as_deref(), Some("a.example"));
    // A `#` cannot be seen in HTTP/2 as it can in HTTP/1, and nginx asks over HTTP/1.
    let response = ask("http://ringfence/auth/nginx/any/203.0.113.7/POST/a.example/p/.end").await;
    assert_eq!(response.status(), 403);
    assert_eq!(script.refused(), [(Wire::Nginx, Reason::AmbiguousPath)]);
}

/// As Caddy asks: its own `X-Forwarded-*`, the client's Host, the client's query.
const CADDY: [&str; 4] =
    ["X-Forwarded-Method: POST", "X-Forwarded-Host: ringfence", "X-Forwarded-Uri: /p?key=a/b", "X-Forwarded-For: 198.51.100.1, 203.0.113.7"];

#[tokio::test]
async fn caddy_and_traefik_ask_in_headers_of_their_own() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    for (url, wire, pin) in [
        ("/auth/caddy/any?key=a/b&policy=x", Wire::Caddy, None),
        ("/auth/caddy/by/contoso/contact-center?/auth/caddy/any", Wire::Caddy, Some("contoso/contact-center")),
        ("/auth/traefik/any", Wire::Traefik, None),
        ("/auth/traefik/by/contoso/contact-center", Wire::Traefik, Some("contoso/contact-center")),
    ] {
        let lies = ["X-Original-URL: http://evil/x", "X-Original-Method: GET", "X-Real-IP: 192.0.2.1", "X-Forwarded-Prefix: /x"];
        assert_eq!(http1(address, get(url, &[&CADDY[..], &lies[..]].concat())).await.status(), 200, "{url}");
        let seen = script.seen().pop().unwrap();
        assert_eq!((seen.wire, seen.method.as_str(), seen.host.as_deref(), seen.target.as_str()), (wire, "POST", Some("ringfence"), "/p?key=a/b"));
        assert_eq!((seen.pin.as_deref(), seen.source), (pin, "203.0.113.7".parse().ok()), "{url}");
    }
}

#[tokio::test]
async fn haproxy_asks_in_its_request_line() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    http1(address, get("/auth/haproxy/any/203.0.113.7/POST/a.example/p?key=a/b/.end", &["X-Forwarded-Uri: /other"])).await;
    let seen = script.seen().pop().unwrap();
    assert_eq!((seen.wire, seen.host.as_deref(), seen.target.as_str()), (Wire::Haproxy, Some("a.example"), "/p?key=a/b"));
    let hidden = http1(address, get("/auth/haproxy/any/203.0.113.7/POST/a.example/p/.end#/.end", &[])).await;
    assert_eq!(reason(&hidden), (400, "ambiguous_path"));
}

#[tokio::test]
async fn ingress_nginx_is_always_pinned() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let lines = ["X-Original-URL: https://a.example/p?key=a/b", "X-Original-Method: POST", "X-Real-IP: 203.0.113.7", "X-Forwarded-For: 192.0.2.1"];
    assert_eq!(http1(address, get("/auth/ingress-nginx/by/contoso/contact-center", &lines)).await.status(), 200);
    let seen = script.seen().pop().unwrap();
    assert_eq!((seen.wire, seen.host.as_deref(), seen.target.as_str()), (Wire::IngressNginx, Some("a.example"), "/p?key=a/b"));
    assert_eq!((seen.pin.as_deref(), seen.source), (Some("contoso/contact-center"), "203.0.113.7".parse().ok()));
    assert_eq!(http1(address, get("/auth/ingress-nginx/any", &lines)).await.status(), 404);
}

#[tokio::test]
async fn a_repeated_header_of_the_proxys_is_refused() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    for url in ["/auth/caddy/any", "/auth/traefik/any"] {
        for line in CADDY {
            let response = http1(address, get(url, &[&CADDY[..], &[line]].concat())).await;
            assert_eq!(reason(&response), (400, "malformed_request"), "{url} {line}");
        }
    }
    assert_eq!(script.seen(), []);
}

#[tokio::test]
async fn a_body_that_envoy_sends_is_read_before_the_answer() {
    let script = Script::new(Act::Answer(Decision::Deny(Reason::NoPolicy)));
    let (_server, address) = serve_http(http_settings(), &script);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = "x".repeat(200_000);
    let request = format!("POST /auth/envoy/any/p HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(reason(&ask_http1(&mut stream, &request).await), (403, "no_policy"));
    assert_eq!(reason(&ask_http1(&mut stream, &request).await), (403, "no_policy"), "and the connection serves on");
    assert_eq!(script.seen().pop().unwrap().body, None);
}

#[tokio::test]
async fn a_body_that_nginx_announces_is_not_waited_for() {
    let (_server, address) = serve_http(http_settings(), &Script::allowing());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let response = ask_http1(&mut stream, nginx("a.example/p", &["Content-Length: 7"])).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers().get("connection").unwrap(), "close");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_nginx_cannot_have_meant_is_denied() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    for (host_and_target, expected) in [
        ("a.example/p#f", "ambiguous_path"),
        ("a.example#/p", "ambiguous_path"),
        ("a.example?x=1/p", "ambiguous_host"),
        ("a.example@b.example/p", "ambiguous_host"),
        ("a.example%2Fb.example/p", "ambiguous_host"),
        ("/p", "ambiguous_host"),
        ("a.example", "ambiguous_host"),
    ] {
        assert_eq!(reason(&http1(address, nginx(host_and_target, &[])).await), (403, expected), "{host_and_target}");
        assert_eq!(script.seen(), [], "{host_and_target}");
        assert_eq!(script.refused().len(), 1, "{host_and_target}");
    }
    let unfinished = get("/auth/nginx/any/203.0.113.7/POST/a.example/p", &[]);
    assert_eq!(reason(&http1(address, unfinished).await), (403, "ambiguous_path"));
}

#[tokio::test]
async fn a_fragment_cannot_hide_the_end_of_an_nginx_url() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    // The client's target is `/p/.end#/../admin`: nginx hands all of it to the upstream, an HTTP library shows us `/p/.end` alone.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let response = ask_http1(&mut stream, nginx("a.example/p/.end#/../admin", &[])).await;
    assert_eq!(reason(&response), (403, "ambiguous_path"));
    assert_eq!(script.seen(), []);
    assert_eq!(response.headers().get("connection").unwrap(), "close");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    // Elsewhere a `#` means nothing.
    assert_eq!(http1(address, nginx("a.example/p", &["Cookie: a#b", "Referer: /p#q"])).await.status(), 200);
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let mut stream = TcpStream::connect(address).await.unwrap();
    for number in 0..20 {
        assert_eq!(ask_http1(&mut stream, nginx(&format!("a.example/{number}"), &["Cookie: #"])).await.status(), 200);
        assert_eq!(script.seen().pop().unwrap().target, format!("/{number}"));
    }
}

#[tokio::test]
async fn only_the_dialects_named_are_served() {
    let script = Script::allowing();
    let (_server, address) = serve_http(HttpListenerSettings { dialects: vec![Dialect::Envoy], ..http_settings() }, &script);
    assert_eq!(http1(address, nginx("a.example/p", &[])).await.status(), 404);
    assert_eq!(http1(address, get("/auth/envoy/any/p", &[])).await.status(), 200);
    for target in [
        "/",
        "/auth",
        "/auth/",
        "/auth/envoy",
        "/auth/envoy/",
        "/auth/envoy/anyone/p",
        "/auth/envoy/any?x",
        "/auth/traefik/any",
        "/AUTH/envoy/any/p",
        "/auth/envoy/by/p",
        "/auth/envoy/by//x/p",
        "/auth/envoy/by/a_b/x/p",
        "/metrics",
    ] {
        assert_eq!(http1(address, get(target, &[])).await.status(), 404, "{target}");
    }
    assert_eq!(script.seen().len(), 1);
    assert_eq!(script.refused(), []);
}

#[tokio::test]
async fn a_url_of_a_dialect_that_asks_in_headers_carries_nothing() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    for url in
        ["/auth/caddy/any/p", "/auth/traefik/any/p", "/auth/traefik/by/contoso/x/p", "/auth/ingress-nginx/by/contoso/x/p", "/auth/caddy/anyone"]
    {
        assert_eq!(http1(address, get(url, &CADDY)).await.status(), 404, "{url}");
    }
    assert_eq!(script.seen(), []);
}

#[tokio::test]
async fn a_repeated_credential_is_seen_as_repeated() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    http1(address, nginx("a.example/p", &["Authorization: Bearer a", "Authorization: Bearer b"])).await;
    let seen = script.seen().pop().unwrap();
    assert_eq!(seen.headers.iter().filter(|(name, _)| name == "authorization").count(), 2);
}

#[tokio::test]
async fn the_other_spelling_of_a_header_that_is_read_is_refused() {
    let script = Script::allowing();
    let (_server, address) = serve_http(
        HttpListenerSettings { client_address: ClientAddress::from_http_flag("header:cf-connecting-ip").unwrap(), ..http_settings() },
        &script,
    );
    for line in ["X_Forwarded_For: 1", "x-real_ip: 1", "Sec_WebSocket_Key: 1", "CF_Connecting_IP: 1"] {
        assert_eq!(reason(&http1(address, nginx("a.example/p", &[line])).await), (403, "malformed_request"), "{line}");
    }
    assert_eq!(http1(address, nginx("a.example/p", &["X_Own: 1"])).await.status(), 200);
    assert_eq!(script.seen().pop().unwrap().header("x_own"), Some(&b"1"[..]));
}

#[tokio::test]
async fn the_client_address_is_read_where_the_operator_said() {
    let script = Script::allowing();
    let serve = |flag: &str| {
        let client_address = ClientAddress::from_http_flag(flag).unwrap();
        serve_http(HttpListenerSettings { client_address, trusted_proxies: vec!["203.0.113.0/24".parse().unwrap()], ..http_settings() }, &script)
    };
    let source = || script.seen().pop().unwrap().source.map(|source| source.to_string());
    let (_server, address) = serve("xff:0");
    http1(address, nginx("a.example/p", &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 198.51.100.1:99"])).await;
    assert_eq!(source().as_deref(), Some("198.51.100.1"));
    http1(address, nginx("a.example/p", &[])).await;
    assert_eq!(source(), None);
    http1(address, get("/auth/nginx/any/192.0.2.200/POST/a.example/p/.end", &["X-Forwarded-For: 198.51.100.1"])).await;
    assert_eq!(source().as_deref(), Some("192.0.2.200"), "an untrusted peer is the client");
    let (_server, address) = serve("header:x-real-ip");
    http1(address, nginx("a.example/p", &["X-Real-IP: 198.51.100.2"])).await;
    assert_eq!(source().as_deref(), Some("198.51.100.2"));
    http1(address, nginx("a.example/p", &["X-Real-IP: 198.51.100.2", "X-Real-IP: 198.51.100.3"])).await;
    assert_eq!(source(), None);
    let (_server, address) = serve("dialect");
    http1(address, get("/auth/nginx/any/unix:/POST/a.example/p/.end", &[])).await;
    assert_eq!(source(), None);
}

#[tokio::test]
async fn a_panic_is_an_explicit_denial() {
    let script = Script::new(Act::Panic);
    let (_server, address) = serve_http(http_settings(), &script);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(reason(&ask_http1(&mut stream, nginx("a.example/p", &[])).await), (503, "internal"));
    assert_eq!(script.refused(), [(Wire::Nginx, Reason::Internal)]);
    assert_eq!(reason(&ask_http1(&mut stream, get("/auth/envoy/any/p", &[])).await), (429, "internal"), "the connection serves on");
}

#[tokio::test]
async fn bytes_that_are_not_http_are_a_denial_of_hypers() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    for request in [&b"GET /auth/nginx/any/203.0.113.7/POST/a.example/\xff/.end HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"nonsense\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 400 "), "{received}");
    }
    assert_eq!(script.seen(), []);
}

#[tokio::test]
async fn more_headers_than_anybody_needs_are_a_denial_of_hypers() {
    let script = Script::allowing();
    let (_server, address) = serve_http(http_settings(), &script);
    let long = format!("X-Long: {}", "x".repeat(4 * usize::from(MAX_HEADER_BYTES)));
    assert_eq!(http1(address, nginx("a.example/p", &[&long])).await.status(), 431);
    assert_eq!(script.seen(), []);
    let fits = format!("X-Long: {}", "x".repeat(48 * 1024));
    assert_eq!(http1(address, nginx("a.example/p", &[&fits])).await.status(), 200);
}

#[tokio::test]
async fn an_allow_has_no_body_and_a_head_request_none_either() {
    let script = Script::new(Act::Answer(Decision::Deny(Reason::TokenMissing)));
    let (_server, address) = serve_http(http_settings(), &script);
    let response = http1(address, nginx("a.example/p", &[])).await;
    assert_eq!(response.headers().get("www-authenticate").unwrap(), r#"Bearer realm="callbacks""#);
    assert_eq!(response.body(), r#"{"type":"about:blank","title":"Unauthorized","status":401}"#);
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let head = Request::head("/auth/nginx/any/203.0.113.7/POST/a.example/p/.end").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(head).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn many_requests_that_are_given_up_at_once_do_not_end_a_proxys_connection() {
    let (_server, address) = serve_http(http_settings(), &Script::allowing());
    let (client, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let ask = || Request::get("http://a.example/auth/envoy/any/p").body(()).unwrap();
    client.send_request(ask(), true).unwrap().0.await.unwrap();
    // Nothing is sent until this task waits: the server reads each request and that it is given up in one go.
    for _ in 0..500 {
        client.send_request(ask(), true).unwrap().1.send_reset(h2::Reason::CANCEL);
    }
    assert_eq!(client.send_request(ask(), true).unwrap().0.await.unwrap().status(), 200);
}
