//! A policy in Shadow, and back.

use super::cluster::Cluster;
use crate::support::wait_for;

pub async fn shadow_lets_by_and_shows_what_it_would_have_refused(cluster: &Cluster) {
    let is = async |expected: u16| (cluster.ask("/api/callbacks", None).await.status == expected).then_some(());
    assert_eq!(is(401).await, Some(()));
    cluster
        .kubectl(&["patch", "cbp", "contact-center", "--namespace", "contoso", "--type", "merge", "--patch", "{\"spec\": {\"mode\": \"Shadow\"}}"])
        .await;
    wait_for("Shadow", async || is(200).await).await;
    // The page does it once more, which changes nothing, and finds the line.
    cluster.manual.run_those_of("tests/e2e/node/shadow.rs");
    cluster
        .kubectl(&["patch", "cbp", "contact-center", "--namespace", "contoso", "--type", "merge", "--patch", "{\"spec\": {\"mode\": \"Enforce\"}}"])
        .await;
    wait_for("Enforce", async || {
        for _ in 0..10 {
            is(401).await?;
        }
        Some(())
    })
    .await;
}
