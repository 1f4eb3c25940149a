//! What a door takes out for every request, as it cannot be told to by an answer: the lines that docs/front-doors.md names for it.

use ringfence::issuer::TokenSpec;
use serde_json::json;

use crate::support::{
    doors::{CADDY, Door, NGINX},
    http::Ask,
    policies::{AUDIENCE, HOST, KEY},
    stand::Stand,
};

#[tokio::test]
async fn nginx_takes_the_token_and_a_key_out() {
    const LINE: &str = "proxy_set_header X-Acs-Audience $acs_audience;";
    let more = format!("{LINE} proxy_set_header Authorization \"\"; proxy_set_header X-Callback-Key \"\";");
    token_and_key_end_at(&NGINX, &[(LINE, &more)]).await;
}

#[tokio::test]
async fn caddy_takes_the_token_and_a_key_out() {
    const LINE: &str = "# API keys that come in a header are taken out for every request: request_header -X-Callback-Key";
    token_and_key_end_at(&CADDY, &[(LINE, "request_header -X-Callback-Key\n\t\trequest_header -Authorization")]).await;
}

async fn token_and_key_end_at(door: &Door, edits: &[(&str, &str)]) {
    let stand = Stand::start_with(door, &[], edits).await;
    let claims = json!({"caller": "alice"}).as_object().unwrap().clone();
    let token = stand.issuer.mint(&TokenSpec { claims, ..TokenSpec::callback(AUDIENCE) }).unwrap();
    let with_token = Ask::new("POST", "/once").header("Host", HOST).header("Authorization", format!("Bearer {token}"));
    let with_key = Ask::new("POST", "/keyed").header("Host", HOST).header("X-Callback-Key", KEY);
    for ask in [with_token, with_key] {
        assert_eq!(ask.send(stand.proxy.address).await.status, 200, "{ask:?}");
        let seen = stand.application.seen().pop().unwrap();
        assert_eq!((seen.values("authorization").len(), seen.values("x-callback-key").len()), (0, 0), "{seen:?}");
    }
}
