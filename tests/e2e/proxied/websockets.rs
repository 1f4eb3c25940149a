//! WebSockets through the proxy: authenticated at the upgrade, and then left alone.

use ringfence::issuer::{Broken, TokenSpec};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    doors::{ALL, Door},
    http::Ask,
    policies::{AUDIENCE, HOST},
    stand::Stand,
    websocket::{Socket, handshake},
};

for_each_door!(frames_go_both_ways);
for_each_door!(a_refused_upgrade_never_reaches_the_application);

fn media() -> Ask {
    Ask::new("GET", "/media").header("Host", HOST).header("X-Ms-Call-Connection-Id", "c-1").header("X-Acs-Audience", "evil")
}

async fn frames_go_both_ways(door: &Door) {
    frames_go_both_ways_through(&Stand::start(door).await).await;
}

/// The same where everything runs already.
pub async fn frames_go_both_ways_through(stand: &Stand) {
    let token = stand.issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap();
    let ask = handshake(media()).header("Authorization", format!("Bearer {token}"));
    let mut socket = Socket::open(&ask, stand.proxy.address).await.unwrap_or_else(|answer| panic!("refused: {answer:?}"));
    let seen = socket.seen().await;
    assert_eq!((seen.target.as_str(), seen.values("x-acs-audience")), ("/media", vec![AUDIENCE]));
    for message in [Message::text("{\"kind\":\"AudioMetadata\"}"), Message::binary(vec![0xff; 70_000]), Message::text("")] {
        socket.echo(message).await;
    }
}

async fn a_refused_upgrade_never_reaches_the_application(door: &Door) {
    refused_upgrades_end_at(&Stand::start(door).await).await;
}

/// The same where everything runs already.
pub async fn refused_upgrades_end_at(stand: &Stand) {
    let seen = stand.application.seen().len();
    let with = |ask: Ask, spec: &TokenSpec| ask.header("Authorization", format!("Bearer {}", stand.issuer.mint(spec).unwrap()));
    let good = TokenSpec::websocket(AUDIENCE);
    let without = |header: &str| {
        let mut ask = handshake(media());
        ask.headers.retain(|(name, _)| name != header);
        ask
    };
    let asks = [
        (401, handshake(media())),
        (401, with(handshake(media()), &good.clone().broken(Broken::WrongAudience))),
        (401, with(handshake(media()), &good.clone().broken(Broken::Expired))),
        (401, with(handshake(media()), &good.clone().broken(Broken::AlgNone))),
        (403, with(without("Sec-WebSocket-Version"), &good)),
        (403, with(without("Sec-WebSocket-Key"), &good)),
    ];
    for (status, ask) in asks {
        match Socket::open(&ask, stand.proxy.address).await {
            Ok(_) => panic!("the upgrade should be refused: {ask:?}"),
            // HAProxy refuses by itself what is no handshake.
            Err(answer) => assert!(answer.status == status || (status, answer.status) == (403, 400), "{answer:?} to {ask:?}"),
        }
    }
    assert_eq!(stand.application.seen().len(), seen);
}

/// Over HTTP/2 there is no key, and a door may show the extended CONNECT as what it becomes: a GET with an upgrade.
#[tokio::test]
async fn an_extended_connect_is_an_upgrade() {
    for door in ALL.iter().filter(|door| door.shows.extended_connect) {
        let stand = Stand::start(door).await;
        let ask = media().header("Sec-WebSocket-Version", "13");
        let refused = Socket::open_over_http2(&ask, stand.proxy.address).await;
        assert_eq!(refused.err(), Some(401), "{}", door.name);
        assert!(stand.application.seen().is_empty(), "{}", door.name);
        let token = stand.issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap();
        let ask = ask.header("Authorization", format!("Bearer {token}"));
        let mut socket = Socket::open_over_http2(&ask, stand.proxy.address).await.unwrap();
        let seen = socket.seen().await;
        assert_eq!((seen.method.as_str(), seen.values("x-acs-audience")), ("GET", vec![AUDIENCE]), "{}", door.name);
        socket.echo(Message::binary(vec![1; 100_000])).await;
    }
}
