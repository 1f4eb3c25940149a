//! More tokens than are remembered of one policy: nothing is forgotten, nothing is let by that should be refused, and other policies go on.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{
    doors::{ENVOY_GRPC, Setting},
    grpc::{Client, check_request, peer, status},
    http::Ask,
    policies::HOST,
    ringfence::Ringfence,
    upstream::Upstream,
};

/// Tokens of one policy that are remembered at a time.
const REMEMBERED: usize = 65_536;
/// How many connections the tokens come over.
const CONNECTIONS: usize = 8;

/// Somebody who signs with Ed25519, which costs little.
struct Partner(Ed25519KeyPair);

impl Partner {
    fn token(&self, number: usize) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"alg": "EdDSA", "kid": "one"});
        let claims = json!({"iss": "https://partner.example", "aud": "callbacks", "iat": now, "exp": now + 3600, "jti": number.to_string()});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())))
    }

    fn policies(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]});
        let sender = |name: &str, reuse: &str| {
            format!(
                "    - name: {name}
      type: JWT
      jwt:
        issuer: https://partner.example
        jwks: {{configMapRef: {{name: partner, key: jwks.json}}}}
        algorithms: [EdDSA]
        audiences: [callbacks]
        tokenReuse: {reuse}
      paths: [{{prefix: /{name}}}]
"
            )
        };
        let policy = |name: &str, senders: &str, paths: &str| {
            format!(
                "---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: {name}, namespace: contoso}}
spec:
  match: {{hosts: [{HOST}], paths: [{paths}]}}
  senders:
{senders}"
            )
        };
        let keys = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: partner, namespace: contoso}}\ndata: {{jwks.json: '{keys}'}}\n");
        let full = policy("full", &(sender("once", "Deny") + &sender("watched", "Observe")), "{prefix: /once}, {prefix: /watched}");
        keys + &full + &policy("other", &sender("other", "Deny"), "{prefix: /other}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_what_it_cannot_remember() {
    let partner = Partner(Ed25519KeyPair::generate().unwrap());
    let ringfence = Ringfence::start(&partner.policies(), &["--decision-log=off"]).await;
    let fill = |connection: usize| {
        let (partner, at) = (&partner, ringfence.address("grpc"));
        async move {
            let stream = TcpStream::connect(at).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut client = Client::over(stream).await.unwrap();
            for number in (connection..REMEMBERED).step_by(CONNECTIONS) {
                let request = check_request(peer("127.0.0.1"), "POST", HOST, "/once", &[("authorization", &partner.token(number))]);
                let status = status(&client.check(&request).await);
                if status != 200 {
                    return Err(format!("token {number}: {status}"));
                }
            }
            Ok(())
        }
    };
    assert_eq!(try_join_all((0..CONNECTIONS).map(fill)).await.map(|filled| filled.len()), Ok(CONNECTIONS));

    let application = Upstream::start().await;
    let lenient = [("failure_mode_allow: false", "failure_mode_allow: true")];
    let setting = Setting { replicas: &[ringfence.replica()], application: application.address, edits: &lenient };
    let proxy = (ENVOY_GRPC.start)(setting).await;
    let ask = async |path: &str, number: usize| {
        let ask = Ask::new("POST", path).header("Host", HOST).header("Authorization", partner.token(number));
        ask.send(proxy.address).await
    };
    let refused = ask("/once", REMEMBERED).await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{}", refused.text());
    assert!(application.seen().is_empty());
    // What only watches lets by what it cannot remember, every time, and says how often.
    assert_eq!([ask("/watched", REMEMBERED).await.status, ask("/watched", REMEMBERED).await.status], [200, 200]);
    assert_eq!([ask("/other", 0).await.status, ask("/other", 1).await.status], [200, 200]);
    assert_eq!(application.seen().len(), 4);
    let count = async |labels: &[&str]| ringfence.metric("ringfence_checks_total", labels).await;
    assert_eq!(count(&["policy=\"contoso/full\"", "reason=\"overloaded\"", "decision=\"denied\""]).await, 1.0);
    assert_eq!(count(&["policy=\"contoso/full\"", "decision=\"allowed\""]).await, REMEMBERED as f64 + 2.0);
    assert_eq!(count(&["reason=\"token_reused\""]).await, 0.0);
    let unremembered = ringfence.metric("ringfence_token_reuse_unremembered_total", &["policy=\"contoso/full\""]).await;
    assert_eq!(unremembered, 3.0);
}
