//! A tenant can neither capture, nor shadow, nor make undecided what is another's, whatever it writes.

use std::time::Duration;

use super::{Cluster, Front, callback, grant, secret};
use crate::support::{traffic::Traffic, wait_for, wait_within};

const OWN: &str = "callbacks.contoso.com";
const OTHER: &str = "hooks.fabrikam.com";

/// A policy of the other tenant that lets everybody in, if it counts.
fn open(name: &str, host: &str, paths: &str) -> (String, String) {
    let spec = format!(
        "{{mode: Shadow, match: {{hosts: ['{host}']{paths}}}, senders: [{{name: any, type: NoToken, noToken: {{}}, apiKey: {{query: k, sha256: ['{}']}}}}]}}",
        "0".repeat(64)
    );
    raw(name, &spec)
}

fn raw(name: &str, spec: &str) -> (String, String) {
    let yaml =
        format!("apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: fabrikam}}\nspec: {spec}\n---\n");
    (name.to_owned(), yaml)
}

/// What the other tenant tries.
fn attempts() -> Vec<(String, String)> {
    let senders = "[{name: any, type: NoToken, apiKey: {query: k, sha256: ['0000000000000000000000000000000000000000000000000000000000000000']}}]";
    vec![
        open("same-host", OWN, ""),
        open("more-specific", OWN, ", paths: [{exact: /}]"),
        open("wildcard", "*.contoso.com", ""),
        open("wider", "*.com", ""),
        open("spelling", "CALLBACKS.contoso.com", ""),
        open("dot", "callbacks.contoso.com.", ""),
        open("port", "callbacks.contoso.com:443", ""),
        open("any", "*", ""),
        open("null-paths", OWN, ", paths: null"),
        open("null-case", OWN, ", ignorePathCase: null"),
        open("typo", OWN, ", path: [{prefix: /}]"),
        open("never", OWN, ", paths: [{prefix: /a//b}]"),
        raw("typo-beside", &format!("{{match: {{hosts: ['{OWN}']}}, senders: {senders}, hosts: ['{OWN}']}}")),
        raw(
            "typo-in-sender",
            &format!(
                "{{match: {{hosts: ['{OWN}']}}, senders: {}, forward: null}}",
                senders.replace("type: NoToken", "surprise: 1, sources: null, type: NoToken")
            ),
        ),
        raw("nothing", "{}"),
        raw("null-match", &format!("{{match: null, hosts: ['{OWN}']}}")),
        raw("text-hosts", &format!("{{match: {{hosts: '{OWN}'}}, senders: []}}")),
        raw("half-read", &format!("{{match: {{hosts: ['{OWN}', 1]}}, senders: []}}")),
        raw("no-senders", &format!("{{match: {{hosts: ['{OWN}', '{OTHER}']}}, senders: []}}")),
    ]
}

/// Lets the other tenant try everything while callbacks go through, and returns what the API server would not store. `spoils`: of some of it
/// nobody can tell which of its hosts it is about.
async fn attack(cluster: &Cluster, spoils: bool) -> Vec<String> {
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
    let mut refused = Vec::new();
    for (name, attempt) in attempts() {
        let applied = cluster.kubernetes.kubectl(&["apply", "--server-side", "--validate=ignore", "-f", "-"], &attempt).await;
        if let Err(problem) = applied {
            assert!(
                problem.contains(&format!("CallbackPolicy \"{name}\" is invalid: ")) || problem.contains("failed to create typed patch"),
                "{problem}"
            );
            refused.push(name);
        }
    }
    let own = cluster.policy("fabrikam", "own", OTHER, "");
    cluster.apply(&own).await;
    // Its own host it may spoil. What was applied last is in force last.
    let expected = if spoils { 503 } else { 200 };
    wait_for("all to be in force", async || (front.status(OTHER, "/", Some(&token)).await == expected).then_some(())).await;
    traffic.flow(50).await;
    let names: Vec<_> = attempts().into_iter().map(|(name, _)| name).collect();
    let unclear = names.iter().map(String::as_str).filter(|name| !["same-host", "more-specific", "wildcard", "wider", "spelling"].contains(name));
    cluster.delete(&["callbackpolicy", "--namespace", "fabrikam", "--ignore-not-found"].into_iter().chain(unclear).collect::<Vec<_>>()).await;
    front.wait_for_status(200, OTHER, "/", Some(&token)).await;
    traffic.flow(50).await;
    traffic.stop().await;
    // Grants that are taken away take the host along.
    cluster.delete(&["hostgrant", "all", "contoso"]).await;
    front.wait_for_status(403, OWN, "/", Some(&token)).await;
    refused
}

#[tokio::test]
async fn the_host_of_another_stays_the_others() {
    let cluster = Cluster::start().await;
    let refused = attack(&cluster, false).await;
    assert_eq!(refused, ["dot", "port", "any", "nothing", "null-match", "text-hosts", "half-read", "no-senders"]);
}

#[tokio::test]
async fn the_host_of_another_stays_the_others_when_everything_is_stored() {
    let cluster = Cluster::start_bare().await;
    cluster.kubernetes.define_open().await;
    assert_eq!(attack(&cluster, true).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_tenant_heaps_up_costs_the_others_nothing() {
    let cluster = Cluster::start_bare().await;
    // Our own definitions would not let it heap up so much.
    cluster.kubernetes.define_open().await;
    let key = "current-callback-key-1";
    let with_key = "      apiKey: {query: key, secretRefs: [{name: keys, key: current}]}\n";
    let own = grant("contoso", OWN, "contoso") + &cluster.policy("contoso", "center", OWN, "");
    let others =
        grant("fabrikam", OTHER, "fabrikam") + &secret("fabrikam", "keys", &[("current", key)]) + &cluster.policy("fabrikam", "own", OTHER, with_key);
    cluster.apply(&(own + &others)).await;
    cluster.consent("fabrikam").await;
    // More Secrets than are kept together, and more ConfigMaps than are read.
    let heap = "x".repeat(1_000_000);
    for number in 0..9 {
        cluster.apply(&secret("fabrikam", &format!("heap-{number}"), &[("x", &heap)])).await;
    }
    let naming = |name: &str, maps: &[String]| {
        let paths = format!("paths: [{{prefix: /{name}}}]");
        let maps: Vec<_> = maps.iter().map(|map| format!("{{configMapRef: {{name: {map}}}}}")).collect();
        let sender = format!("{paths}\n      callAutomation: {{audiencesFrom: [{}], ", maps.join(", "));
        let policy = cluster.policy("fabrikam", name, OTHER, "").replace("callAutomation: {", &sender);
        policy.replace(&format!("{{hosts: ['{OTHER}']}}"), &format!("{{hosts: ['{OTHER}'], {paths}}}"))
    };
    let maps: Vec<_> = (0..100).map(|number| format!("map-{number:03}")).collect();
    cluster.apply(&(naming("greedy", &maps) + &naming("late", &maps[99..]))).await;

    let ringfence = cluster.ringfence(&[]).await;
    ringfence.wait_until_ready().await;
    let front = Front::before(&ringfence).await;
    let token = cluster.token();
    assert_eq!([front.status(OWN, "/", Some(&token)).await, front.status(OWN, "/", None).await], [200, 401]);
    // Its own key is read by its name.
    let target = format!("/?key={key}");
    front.wait_for_status(200, OTHER, &target, Some(&token)).await;
    assert_eq!([front.status(OTHER, "/greedy", Some(&token)).await, front.status(OTHER, "/late", Some(&token)).await], [503, 503]);
    let output = ringfence.output();
    for told in ["those that policies name are read, one by one", "`fabrikam/map-099` is not read: the policies of `fabrikam` name more ConfigMaps"] {
        assert!(output.contains(told), "{told}: {output}");
    }
    assert!(ringfence.metric("process_resident_memory_bytes", &[]).await < 200e6);
    // A right that is taken away is taken away there, too.
    cluster.delete(&["rolebinding", "ringfence-secret-reader", "--namespace", "fabrikam"]).await;
    wait_within(Duration::from_secs(90), "the key to be dropped", async || (front.status(OTHER, &target, Some(&token)).await == 503).then_some(()))
        .await;
    assert_eq!(front.status(OWN, "/", Some(&token)).await, 200);
}
