//! Tests over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::error::Error as _;

use envoy_types::pb::envoy::{
    config::core::v3::{Address, HeaderMap, HeaderValue as RawHeader, Pipe, address},
    service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, attribute_context::Peer, check_response::HttpResponse},
};
use prost::Message;
use ringfence_core::decide::{Decision, Mutations};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};

use super::*;
use crate::listen::{
    ShutdownTimes,
    testing::{Act, GrpcClient, Script, allow, check_request, eventually, expiry_gauge, framed, grpc_settings, serve_grpc, server, tcp},
};

/// The reason that a denial tells, its HTTP status, and that it is an explicit one.
fn denied(response: &CheckResponse) -> (String, i32) {
    assert_ne!(response.status.as_ref().unwrap().code, 0);
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else { panic!("not a denial: {response:?}") };
    let headers = denied.headers.iter().filter_map(|option| option.header.as_ref());
    let reason = headers.into_iter().find(|header| header.key == "x-ringfence-reason").unwrap().value.clone();
    (reason, denied.status.as_ref().unwrap().code)
}

fn is_allowed(response: &CheckResponse) -> bool {
    response.status.as_ref().unwrap().code == 0 && matches!(response.http_response, Some(HttpResponse::OkResponse(_)))
}

fn malformed() -> (String, i32) {
    ("malformed_request".to_owned(), 400)
}

#[tokio::test]
async fn a_check_is_asked_and_answered() {
    let script = Script::allowing();
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let mut request = check_request("a.example", "/p?q=1");
    let attributes = request.attributes.as_mut().unwrap();
    attributes.context_extensions.insert("ringfence.policy".to_owned(), "contoso/contact-center".to_owned());
    let http = attributes.request.as_mut().unwrap().http.as_mut().unwrap();
    http.headers.insert(":authority".to_owned(), "a.example".to_owned());
    http.headers.insert("authorization".to_owned(), "Bearer a,Bearer b".to_owned());
    assert!(is_allowed(&client.check(&request).await));
    let seen = script.seen();
    assert_eq!(seen.len(), 1);
    for seen in seen {
        assert_eq!((seen.wire, seen.method.as_str(), seen.host.as_deref(), seen.target.as_str()), (Wire::Grpc, "POST", Some("a.example"), "/p?q=1"));
        assert_eq!(seen.source, Some("203.0.113.7".parse().unwrap()));
        assert_eq!(seen.header("authorization"), Some(&b"Bearer a,Bearer b"[..]));
        assert_eq!((seen.pin.as_deref(), seen.within), (Some("contoso/contact-center"), None));
    }
    script.set(Act::Answer(Decision::Deny(Reason::TokenExpired)));
    assert_eq!(denied(&client.check(&request).await), ("token_expired".to_owned(), 401));
}

#[tokio::test]
async fn the_callers_deadline_is_handed_on() {
    let script = Script::allowing();
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let body = framed(&check_request("a.example", "/").encode_to_vec());
    client.check_bytes(&[("grpc-timeout", "200m")], body).await;
    assert_eq!(script.seen().pop().unwrap().within, Some(Duration::from_millis(200)));
}

#[tokio::test]
async fn every_bad_message_is_an_explicit_denial() {
    let script = Script::allowing();
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let good = check_request("a.example", "/").encode_to_vec();
    let no_attributes = CheckRequest::default().encode_to_vec();
    let no_http = CheckRequest { attributes: Some(AttributeContext::default()) }.encode_to_vec();
    let mut not_utf8 = check_request("a.example", "/AAAA").encode_to_vec();
    let at = not_utf8.windows(4).position(|window| window == b"AAAA").unwrap();
    *not_utf8.get_mut(at).unwrap() = 0xff;
    let mut compressed = framed(&good).to_vec();
    *compressed.first_mut().unwrap() = 1;
    let whole = framed(&good);
    let half = |bytes: &[u8]| bytes.split_at(bytes.len() / 2).0.to_vec();
    for (name, body) in [
        ("no attributes", framed(&no_attributes)),
        ("no request", framed(&no_http)),
        ("cut in the middle of the stream", half(&whole).into()),
        ("cut in the middle of the message", framed(&half(&good))),
        ("not UTF-8", framed(&not_utf8)),
        ("compressed", compressed.into()),
        ("two messages", [whole.clone(), whole.clone()].concat().into()),
        ("nothing", Bytes::new()),
        ("a piece of a prefix", Bytes::from_static(&[0, 0])),
        ("noise", framed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("8 MB", framed(&vec![0; 8 * 1024 * 1024])),
        ("one byte too many", framed(&vec![0; frame::MAX_MESSAGE + 1])),
    ] {
        assert_eq!(denied(&client.check_bytes(&[], body).await), malformed(), "{name}");
        assert_eq!(script.refused(), [(Wire::Grpc, Reason::MalformedRequest)], "{name}");
        assert_eq!(script.seen(), [], "{name}");
    }
    assert!(is_allowed(&client.check_bytes(&[], whole).await), "the connection must have survived all of it");
}

#[tokio::test]
async fn a_pipe_is_an_unknown_source() {
    let script = Script::allowing();
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let mut request = check_request("a.example", "/");
    let pipe = Address { address: Some(address::Address::Pipe(Pipe { path: "/run/envoy.sock".to_owned(), mode: 0 })) };
    request.attributes.as_mut().unwrap().source = Some(Peer { address: Some(pipe), ..Peer::default() });
    assert!(is_allowed(&GrpcClient::connect(address).await.check(&request).await));
    assert_eq!(script.seen().pop().unwrap().source, None);
}

#[tokio::test]
async fn header_bytes_that_are_not_utf8_reach_the_decision() {
    let script = Script::allowing();
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let mut request = check_request("a.example", "/");
    let line = |value: &[u8]| RawHeader { key: "x-name".to_owned(), raw_value: value.to_vec(), ..RawHeader::default() };
    let headers = HeaderMap { headers: vec![line(b"\xff\xfe"), line(b"2")] };
    request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap().header_map = Some(headers);
    assert!(is_allowed(&GrpcClient::connect(address).await.check(&request).await));
    let seen = script.seen().pop().unwrap();
    assert_eq!(seen.headers, [("x-name".to_owned(), b"\xff\xfe".to_vec()), ("x-name".to_owned(), b"2".to_vec())]);
}

#[tokio::test]
async fn a_panic_is_an_explicit_denial() {
    let script = Script::new(Act::Panic);
    let (_server, address) = serve_grpc(grpc_settings(), &script);
    let client = GrpcClient::connect(address).await;
    let request = check_request("a.example", "/");
    assert_eq!(denied(&client.check(&request).await), ("internal".to_owned(), 503));
    assert_eq!(script.refused(), [(Wire::Grpc, Reason::Internal)]);
    script.set(Act::Answer(allow(Mutations::default())));
    assert!(is_allowed(&client.check(&request).await), "the next check is not harmed");
}

#[tokio::test]
async fn other_methods_do_not_exist() {
    let (_server, address) = serve_grpc(grpc_settings(), &Script::allowing());
    let client = GrpcClient::connect(address).await;
    for path in [
        "/",
        "/envoy.service.auth.v3.Authorization/Other",
        "/envoy.service.auth.v2.Authorization/Check",
        "/envoy.service.auth.v3.Authorization/Check/",
    ] {
        let call = client.call(path, &[], framed(b"")).await.unwrap();
        assert_eq!(call.headers.get("grpc-status").unwrap(), "12", "{path}");
        assert!(call.message.is_empty());
    }
}

async fn health(client: &GrpcClient, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let call = client.call("/grpc.health.v1.Health/Check", &[], framed(&request)).await.ok()?;
    let message = call.message.get(5..)?;
    HealthCheckResponse::decode(message).ok()?.status.try_into().ok()
}

#[tokio::test]
async fn health_says_what_readiness_says_and_that_the_process_leaves() {
    let readiness = Readiness::default();
    let keys = readiness.condition("keys", "not fetched yet");
    let listener = GrpcListener::bind(grpc_settings(), &expiry_gauge()).unwrap();
    let address = tcp(&listener.address());
    let server = server();
    server.serve_grpc(listener, &Script::allowing(), &readiness).unwrap();
    let client = GrpcClient::connect(address).await;
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(health(&client, service).await, Some(ServingStatus::NotServing));
    }
    keys.met();
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        eventually("serving", async || health(&client, service).await == Some(ServingStatus::Serving)).await;
    }
    assert_eq!(health(&client, "another").await, None);
    let leaving = tokio::spawn(server.shutdown(ShutdownTimes { announce: Duration::from_secs(2), drain: Duration::from_secs(5) }));
    eventually("not serving", async || health(&client, "").await == Some(ServingStatus::NotServing)).await;
    leaving.await.unwrap();
}

#[tokio::test]
async fn who_asks_a_process_that_has_just_started_may_ask_another() {
    let readiness = Readiness::default();
    let configuration = readiness.condition("configuration", "not in force yet");
    let listener = GrpcListener::bind(grpc_settings(), &expiry_gauge()).unwrap();
    let address = tcp(&listener.address());
    let server = server();
    let script = Script::allowing();
    server.serve_grpc(listener, &script, &readiness).unwrap();
    let client = GrpcClient::connect(address).await;
    let ask = async || client.call(CHECK, &[], framed(&check_request("callbacks.contoso.com", "/").encode_to_vec())).await;
    let refused = ask().await.unwrap_err();
    let reset = refused.source().and_then(|source| source.downcast_ref::<h2::Error>()).and_then(h2::Error::reason);
    assert_eq!((reset, script.seen().len()), (Some(h2::Reason::REFUSED_STREAM), 0), "{refused:?}");
    configuration.met();
    assert_eq!(ask().await.unwrap().trailers.get("grpc-status").unwrap(), "0");
}

#[tokio::test]
async fn a_health_watcher_does_not_hold_up_the_drain() {
    let (server, address) = serve_grpc(grpc_settings(), &Script::allowing());
    let client = GrpcClient::connect(address).await;
    let watching = tokio::spawn({
        let client = client.clone();
        async move { client.call("/grpc.health.v1.Health/Watch", &[], framed(&HealthCheckRequest::default().encode_to_vec())).await }
    });
    // A request on the same connection is answered after the watch has begun.
    eventually("serving", async || health(&client, "").await == Some(ServingStatus::Serving)).await;
    let began = Instant::now();
    server.shutdown(ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_secs(60) }).await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(watching.await.unwrap().unwrap().trailers.get("grpc-status").unwrap(), "0");
}
