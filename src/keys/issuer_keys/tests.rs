#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::decide::Algorithm;
use serde_json::json;

use super::{
    super::{FetchRules, SystemNames},
    *,
};
use crate::issuer::{Document, Fault, Issuer, IssuerOptions, Rotation, TokenSpec};

async fn issuer() -> Issuer {
    Issuer::start(IssuerOptions::default()).await.unwrap()
}

fn fetcher(origins: Option<Vec<Box<str>>>) -> Fetcher {
    let rules = FetchRules { origins, allow_private: true, allow_http: true, ..FetchRules::default() };
    Fetcher::new(&rules, Arc::new(SystemNames)).unwrap()
}

fn by_discovery(issuer: &Issuer) -> Arc<KeySetId> {
    Arc::new(KeySetId::Discovery { issuer: issuer.issuer().into(), url: issuer.discovery_url().into() })
}

#[tokio::test]
async fn finds_the_keys_that_tokens_are_signed_with() {
    let issuer = issuer().await;
    issuer.rotate(Rotation::Sign).unwrap();
    let ids = [by_discovery(&issuer), Arc::new(KeySetId::Jwks { issuer: "anyone".into(), url: issuer.keys_url().into() })];
    for id in ids {
        let fresh = fetcher(None).fetch_keys(id).await.unwrap();
        assert_eq!((fresh.keys.len(), fresh.rejected, fresh.max_age), (2, 0, Some(Duration::from_secs(3600))));
        let token = issuer.mint(&TokenSpec::callback("a")).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(fresh.keys.get(&issuer.kid()).unwrap().verifies(Algorithm::RS256, signed.as_bytes(), &signature));
    }
}

#[tokio::test]
async fn names_what_is_wrong_with_a_document() {
    let issuer = issuer().await;
    let large = json!({"kty": "RSA", "kid": "a", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 1024])});
    let discovery = |jwks_uri: &str| Fault::Body(json!({"issuer": issuer.issuer(), "jwks_uri": jwks_uri}).to_string());
    let cases = [
        (Document::Keys, Fault::Html, FetchFailure::NotJson),
        (Document::Keys, Fault::Body(String::new()), FetchFailure::NotJson),
        (Document::Keys, Fault::Body("{\"keys\":".into()), FetchFailure::NotJson),
        (Document::Keys, Fault::Body("{}".into()), FetchFailure::NotKeySet),
        (Document::Keys, Fault::Body("{\"keys\":[]}".into()), FetchFailure::NoUsableKeys),
        (Document::Keys, Fault::Body(json!({"keys": [large]}).to_string()), FetchFailure::NoUsableKeys),
        (Document::Keys, Fault::UnusableKeys(64), FetchFailure::NoUsableKeys),
        (Document::Keys, Fault::UnusableKeys(10_000), FetchFailure::NotKeySet),
        (Document::Keys, Fault::Endless { announced: None }, FetchFailure::TooLarge),
        (Document::Keys, Fault::Redirect(issuer.keys_url()), FetchFailure::Redirect),
        (Document::Discovery, Fault::Html, FetchFailure::NotJson),
        (Document::Discovery, Fault::Body(String::new()), FetchFailure::NotJson),
        (Document::Discovery, Fault::Body("{}".into()), FetchFailure::NotDiscovery),
        (Document::Discovery, Fault::Body("{\"issuer\":\"a\",\"issuer\":\"b\",\"jwks_uri\":\"c\"}".into()), FetchFailure::NotDiscovery),
        (Document::Discovery, Fault::WrongIssuer("https://evil.example".into()), FetchFailure::IssuerMismatch),
        (Document::Discovery, Fault::WrongIssuer(format!("{}/", issuer.issuer())), FetchFailure::IssuerMismatch),
        (Document::Discovery, Fault::Endless { announced: Some(1 << 30) }, FetchFailure::TooLarge),
        (Document::Discovery, discovery("file:///etc/passwd"), FetchFailure::BadUrl),
        (Document::Discovery, discovery("keys"), FetchFailure::BadUrl),
        (Document::Discovery, Fault::Status(503), FetchFailure::Status(503)),
    ];
    for (document, fault, expected) in cases {
        issuer.fail(document, Some(fault.clone()));
        assert_eq!(fetcher(None).fetch_keys(by_discovery(&issuer)).await.unwrap_err(), expected, "{document:?} {fault:?}");
        issuer.fail(document, None);
    }
}

#[tokio::test]
async fn both_urls_must_lie_in_the_allowed_origins() {
    let (issuer, other) = (issuer().await, issuer().await);
    let own = fetcher(Some(vec![issuer.url().into()]));
    assert!(own.fetch_keys(by_discovery(&issuer)).await.is_ok());
    assert_eq!(own.fetch_keys(by_discovery(&other)).await.unwrap_err(), FetchFailure::BlockedOrigin);
    let elsewhere = json!({"issuer": issuer.issuer(), "jwks_uri": other.keys_url()}).to_string();
    issuer.fail(Document::Discovery, Some(Fault::Body(elsewhere)));
    assert_eq!(own.fetch_keys(by_discovery(&issuer)).await.unwrap_err(), FetchFailure::BlockedOrigin);
    assert_eq!(other.requests(Document::Keys), 0);
}

#[tokio::test]
async fn a_discovery_document_cannot_lead_inside() {
    let discovery = json!({"issuer": "i", "jwks_uri": "https://169.254.169.254/keys"}).to_string();
    let jwks_uri = Discovery::read(discovery.as_bytes()).unwrap().jwks_uri;
    let strict = Fetcher::new(&FetchRules::default(), Arc::new(SystemNames)).unwrap();
    assert_eq!(strict.get(&jwks_uri, MAX_JWKS).await.unwrap_err(), FetchFailure::BlockedAddress);
}

#[tokio::test]
async fn the_time_limit_is_that_of_both_documents_together() {
    let issuer = issuer().await;
    for document in [Document::Discovery, Document::Keys] {
        issuer.fail(document, Some(Fault::Slow(Duration::from_millis(300))));
    }
    let rules = FetchRules { allow_private: true, allow_http: true, time_limit: Duration::from_millis(500), ..FetchRules::default() };
    let fetcher = Fetcher::new(&rules, Arc::new(SystemNames)).unwrap();
    assert!(fetcher.get(&issuer.keys_url(), MAX_JWKS).await.is_ok(), "each alone is in time");
    assert_eq!(fetcher.fetch_keys(by_discovery(&issuer)).await.unwrap_err(), FetchFailure::Timeout);
}

/// Found by the fuzz target `discovery`: JSON is UTF-8 (RFC 8259 section 8.1), in members that nobody reads as well.
#[test]
fn bytes_that_are_no_text_are_no_discovery_document() {
    let document = b"{\"issuer\":\"a\",\"jwks_uri\":\"b\",\"x\":[\"\xff\"]}";
    assert_eq!(Discovery::read(document), Err(FetchFailure::NotJson));
}

/// Found by the same target: the library takes a list for the members in the order in which the program declares them.
#[test]
fn a_list_is_no_discovery_document() {
    assert_eq!(Discovery::read(b" [\"https://issuer\", \"https://keys\"]"), Err(FetchFailure::NotDiscovery));
    assert_eq!(Discovery::read(b"[\"https://issuer\","), Err(FetchFailure::NotJson));
}
