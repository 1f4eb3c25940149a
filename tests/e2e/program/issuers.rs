//! Issuers that misbehave: nothing they answer makes a refusal, an allow or a crash.

use std::time::Duration;

use ringfence::issuer::{Document, Fault, Issuer, IssuerOptions, TokenSpec};
use tokio::net::TcpStream;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
};

/// The answer to a genuine request when the issuer answers `document` like this from the start.
async fn answer_with(document: Document, fault: Fault) -> (i32, f64) {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    issuer.fail(document, Some(fault));
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    let mut client = Client::over(TcpStream::connect(ringfence.address("grpc")).await.unwrap()).await.unwrap();
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let request = check_request(peer("127.0.0.1"), "POST", HOST, &format!("/api/callbacks?key={KEY}"), &[("authorization", &authorization)]);
    let answer = status(&client.check(&request).await);
    let undecided = ringfence.metric("ringfence_checks_total", &["reason=\"keys_unavailable\""]).await;
    assert!(ringfence.metric("process_resident_memory_bytes", &[]).await < 200e6, "memory must not grow with what an issuer sends");
    (answer, undecided)
}

macro_rules! undecided {
    ($($name:ident: $document:ident, $fault:expr;)+) => {
        $(#[tokio::test]
        async fn $name() {
            assert_eq!(answer_with(Document::$document, $fault).await, (503, 1.0));
        })+
    };
}

undecided! {
    keys_that_are_a_page_for_people: Keys, Fault::Html;
    keys_without_end: Keys, Fault::Endless { announced: None };
    keys_of_a_gigabyte: Keys, Fault::Endless { announced: Some(1 << 30) };
    keys_that_never_come: Keys, Fault::Trickle;
    keys_that_come_too_late: Keys, Fault::Slow(Duration::from_secs(60));
    no_keys: Keys, Fault::Body("{\"keys\":[]}".to_owned());
    nothing: Keys, Fault::Body(String::new());
    keys_that_cannot_be_used: Keys, Fault::UnusableKeys(3);
    more_keys_than_are_read: Keys, Fault::UnusableKeys(100);
    keys_elsewhere: Keys, Fault::Redirect("http://169.254.169.254/keys".to_owned());
    an_error: Keys, Fault::Status(500);
    another_issuers_document: Discovery, Fault::WrongIssuer("https://issuer.invalid".to_owned());
    a_document_elsewhere: Discovery, Fault::Redirect("http://127.0.0.1:1/".to_owned());
    no_document: Discovery, Fault::Down;
}
