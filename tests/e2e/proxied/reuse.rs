//! More tokens than are remembered of one policy: nothing is forgotten, nothing is let by that should be refused, and other policies go on.

use futures_util::future::try_join_all;
use tokio::net::TcpStream;

use crate::support::{
    doors::{ENVOY_GRPC, Setting},
    grpc::{Client, check_request, peer, status},
    http::Ask,
    partner::Partner,
    policies::HOST,
    ringfence::Ringfence,
    upstream::Upstream,
};

/// Tokens of one policy that are remembered at a time.
const REMEMBERED: usize = 65_536;
/// How many connections the tokens come over.
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_what_it_cannot_remember() {
    let partner = Partner::new();
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
