//! A tenant can neither capture, nor shadow, nor make undecided what is another's, whatever it writes.

use super::{Cluster, Front, callback, grant};
use crate::support::{traffic::Traffic, wait_for};

const OWN: &str = "callbacks.contoso.com";
const OTHER: &str = "hooks.fabrikam.com";

#[tokio::test]
async fn the_host_of_another_stays_the_others() {
    let cluster = Cluster::start().await;
    let grants = grant("contoso", OWN, "contoso") + &grant("fabrikam", "*.fabrikam.com", "fabrikam") + &grant("all", "*.com", "fabrikam");
    cluster.apply(&(grants + &cluster.policy("contoso", "center", OWN, ""))).await;
    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    let good = token.clone();
    let traffic =
        Traffic::start(
            front.proxy.address,
            move |number| {
                if number % 2 == 0 { (callback(OWN, "/", Some(&good)), 200) } else { (callback(OWN, "/", None), 401) }
            },
        );
    let open = |name: &str, host: &str, paths: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: fabrikam}}\nspec:\n  \
             mode: Shadow\n  match: {{hosts: ['{host}']{paths}}}\n  senders: [{{name: any, type: NoToken, noToken: {{}}, apiKey: {{query: k, sha256: [{}]}}}}]\n---\n",
            "0".repeat(64)
        )
    };
    let raw = |name: &str, spec: &str| {
        format!("apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: fabrikam}}\nspec: {spec}\n---\n")
    };
    let attempts = [
        open("same-host", OWN, ""),
        open("more-specific", OWN, ", paths: [{exact: /}]"),
        open("wildcard", "*.contoso.com", ""),
        open("wider", "*.com", ""),
        open("spelling", "CALLBACKS.contoso.com", ""),
        open("dot", "callbacks.contoso.com.", ""),
        raw("nothing", "{}"),
        raw("null-match", &format!("{{match: null, hosts: ['{OWN}']}}")),
        raw("text-hosts", &format!("{{match: {{hosts: '{OWN}'}}, senders: []}}")),
        raw("half-read", &format!("{{match: {{hosts: ['{OWN}', 1]}}, senders: []}}")),
        raw("no-senders", &format!("{{match: {{hosts: ['{OWN}', '{OTHER}']}}, senders: []}}")),
    ];
    for attempt in &attempts {
        let applied = cluster.kubernetes.kubectl(&["apply", "--server-side", "--validate=ignore", "-f", "-"], attempt).await;
        applied.unwrap_or_else(|problem| panic!("{problem}\n{attempt}"));
    }
    let own = cluster.policy("fabrikam", "own", OTHER, "");
    cluster.apply(&own).await;
    // Its own host it may spoil, and did: one of its policies for it cannot be read.
    wait_for("all to be in force", async || (front.status(OTHER, "/", Some(&token)).await == 503).then_some(())).await;
    traffic.flow(50).await;
    cluster.delete(&["callbackpolicy", "--namespace", "fabrikam", "nothing", "null-match", "text-hosts", "half-read", "no-senders"]).await;
    front.wait_for_status(200, OTHER, "/", Some(&token)).await;
    traffic.flow(50).await;
    traffic.stop().await;
    // Grants that are taken away take the host along.
    cluster.delete(&["hostgrant", "all", "contoso"]).await;
    front.wait_for_status(403, OWN, "/", Some(&token)).await;
}
