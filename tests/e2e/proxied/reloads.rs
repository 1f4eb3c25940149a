//! Policies that change while requests come.

use std::fs;

use ringfence::issuer::{Broken, TokenSpec};

use crate::support::{
    doors::Door,
    http::Ask,
    policies::{AUDIENCE, HOST, KEY, generation, policies, put},
    stand::Stand,
    traffic::{Traffic, repeat},
    wait_for,
};

for_each_door!(reload_under_traffic_gives_no_wrong_answer);

async fn reload_under_traffic_gives_no_wrong_answer(door: &Door) {
    let stand = Stand::start(door).await;
    let (good, bad) = (stand.token(), stand.issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::WrongAudience)).unwrap());
    let traffic = Traffic::start(stand.proxy.address, move |number| {
        let (token, expected) = if number % 3 == 2 { (&bad, 401) } else { (&good, 200) };
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
        (ask.header("Authorization", format!("Bearer {token}")), expected)
    });
    let open = async |number: usize| {
        let ask = Ask::new("POST", &format!("/?key=generation-key-{number:08}")).header("Host", "generations.contoso.com");
        ask.send(stand.proxy.address).await.status
    };
    let folder = stand.ringfence.folder();
    let failures = async || stand.ringfence.metric("ringfence_config_reloads_total", &["result=\"refused\""]).await;
    repeat(&traffic, 3, async |number| {
        put(folder, "generation.yaml", &generation(number));
        wait_for("the new policy to be in force", async || (open(number).await == 200).then_some(())).await;
        let before = failures().await;
        put(folder, "broken.yaml", "apiVersion: ringfence.dev/v1alpha1\nkind: [\n");
        wait_for("the broken file to be noticed", async || (failures().await > before).then_some(())).await;
        // The folder as a whole stays as it was, loudly.
        put(folder, "generation.yaml", &generation(number + 1_000_000));
        put(folder, "policies.yaml", "");
        wait_for("that to be noticed, too", async || (failures().await > before + 1.0).then_some(())).await;
        assert_eq!((open(number).await, open(number + 1_000_000).await), (200, 401));
        put(folder, "policies.yaml", &policies(&stand.issuer));
        fs::remove_file(folder.join("broken.yaml")).unwrap();
        wait_for("the whole folder to be good again", async || (open(number + 1_000_000).await == 200).then_some(())).await;
        traffic.flow(20).await;
    })
    .await;
    traffic.stop().await;
}
