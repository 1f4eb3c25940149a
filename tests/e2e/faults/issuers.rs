//! Issuers that are away, slow or out of their mind, and keys that change at the wrong time.

use std::time::Duration;

use ringfence::issuer::{Broken, Document, Fault, Issuer, Rotation, TokenSpec};

use super::scene::{Front, Scene, new_issuer, requests, webhook};
use crate::support::{
    http::Ask,
    policies::{AUDIENCE, HOST, policies},
    ringfence::Ringfence,
    traffic::{Right, Tally, Traffic, repeat},
};

const REFRESHES: &str = "ringfence_jwks_refreshes_total";

fn fail(issuer: &Issuer, fault: Option<&Fault>) {
    for document in [Document::Discovery, Document::Keys] {
        issuer.fail(document, fault.cloned());
    }
}

/// The label of an issuer's key set.
fn key_set(issuer: &Issuer) -> String {
    format!("key_set=\"{}\"", issuer.discovery_url())
}

impl Scene {
    /// Fetches of the issuer's keys that came to this.
    async fn fetches(&self, result: &str) -> f64 {
        self.ringfence.metric(REFRESHES, &[&key_set(&self.issuer), &format!("result=\"{result}\"")]).await
    }

    async fn wait_for_fetches(&self, result: &str, least: f64) {
        self.ringfence.wait_for_metric(REFRESHES, &[&key_set(&self.issuer), &format!("result=\"{result}\"")], least).await;
    }
}

pub async fn issuer_down() -> Tally {
    let scene = Scene::start().await;
    fail(&scene.issuer, Some(&Fault::Down));
    let before = scene.fetches("broken").await;
    scene.ask_with_unknown_key().await;
    scene.wait_for_fetches("broken", before + 1.0).await;
    scene.last().await;
    assert_eq!(scene.ringfence.get("/readyz").await.0, 200);
    let before = scene.fetches("ok").await;
    fail(&scene.issuer, None);
    scene.wait_for_fetches("ok", before + 1.0).await;
    scene.finish().await
}

/// Nothing of a token can be decided until keys were fetched once. Then everything can, without a restart.
pub async fn issuer_down_from_the_start() -> Tally {
    let issuer = new_issuer().await;
    fail(&issuer, Some(&Fault::Down));
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    let front = Front::before(&[ringfence.replica()], &[]).await;
    let traffic = Traffic::start_judged(front.proxy.address, requests(&issuer));
    traffic.may_be_undecided(true);
    let scene = Scene { traffic, front, ringfence, issuer };
    scene.flow().await;
    scene.ringfence.wait_for_metric("ringfence_checks_total", &["reason=\"keys_unavailable\""], 1.0).await;
    assert_eq!(scene.ringfence.get("/readyz").await.0, 200, "policies without a token are served");
    fail(&scene.issuer, None);
    scene.wait_until_served().await;
    scene.traffic.may_be_undecided(false);
    scene.last().await;
    scene.finish().await
}

pub async fn issuer_slow() -> Tally {
    let scene = Scene::start().await;
    fail(&scene.issuer, Some(&Fault::Slow(Duration::from_secs(5))));
    repeat(&scene.traffic, 3, async |_| {
        assert_eq!(scene.ask_with_unknown_key().await, 503, "nobody waits for a slow issuer");
        scene.flow().await;
    })
    .await;
    fail(&scene.issuer, None);
    scene.finish().await
}

pub async fn issuer_flapping() -> Tally {
    let scene = Scene::start().await;
    repeat(&scene.traffic, 4, async |number| {
        fail(&scene.issuer, (number % 2 == 0).then_some(&Fault::Down));
        scene.ask_with_unknown_key().await;
        scene.flow().await;
    })
    .await;
    // It changes its key while nobody can ask it: what is signed with the new one is not decided until it can be asked again, and never refused.
    scene.traffic.may_be_undecided(true);
    fail(&scene.issuer, Some(&Fault::Down));
    scene.issuer.rotate(Rotation::Sign).unwrap();
    scene.flow().await;
    fail(&scene.issuer, None);
    scene.wait_until_served().await;
    scene.traffic.may_be_undecided(false);
    scene.finish().await
}

/// What an issuer answers instead of its documents.
fn garbage() -> Vec<(Document, Fault)> {
    vec![
        (Document::Keys, Fault::Html),
        (Document::Keys, Fault::Body("{\"keys\":[]}".to_owned())),
        (Document::Keys, Fault::Body("\u{0}\u{1}garbage".repeat(1_000))),
        (Document::Keys, Fault::Body(String::new())),
        (Document::Keys, Fault::UnusableKeys(100)),
        (Document::Keys, Fault::Endless { announced: None }),
        (Document::Keys, Fault::Status(500)),
        (Document::Discovery, Fault::WrongIssuer("https://issuer.invalid".to_owned())),
        (Document::Discovery, Fault::Redirect("http://127.0.0.1:1/".to_owned())),
        (Document::Discovery, Fault::Body("{}".to_owned())),
    ]
}

/// A policy for the path `/garbage/NUMBER` with an issuer of its own, in a namespace of its own: each may have a few issuers.
fn policy(number: usize, issuer: &Issuer) -> String {
    format!(
        "---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: garbage, namespace: garbage-{number}}}
spec:
  match: {{hosts: [{HOST}], paths: [{{exact: /garbage/{number}}}]}}
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation: {{audiences: [{AUDIENCE}], issuer: '{}', openIdConfiguration: '{}'}}
",
        issuer.issuer(),
        issuer.discovery_url()
    )
}

fn callback(number: usize, token: &str) -> Ask {
    Ask::new("POST", &format!("/garbage/{number}")).header("Host", HOST).header("Authorization", format!("Bearer {token}"))
}

/// Each kind of garbage from an issuer of its own, whose keys were fetched before.
pub async fn issuer_serving_garbage() -> Tally {
    let usual = new_issuer().await;
    let mut text = policies(&usual);
    let mut issuers = Vec::new();
    for (document, fault) in garbage() {
        let issuer = new_issuer().await;
        text += &policy(issuers.len(), &issuer);
        issuers.push((issuer, document, fault));
    }
    let ringfence = Ringfence::start(&text, &[]).await;
    let front = Front::before(&[ringfence.replica()], &[]).await;
    let tokens: Vec<_> = issuers.iter().map(|(issuer, ..)| issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()).collect();
    let (usual_requests, count) = (requests(&usual), issuers.len());
    let traffic = Traffic::start_judged(front.proxy.address, move |number| match number % 3 {
        0 => usual_requests(number / 3),
        1 => (callback(number % count, &tokens[number % count]), Right::Only(200)),
        // The next issuer's token is none of this one's.
        _ => (callback(number % count, &tokens[(number + 1) % count]), Right::Only(401)),
    });
    for (number, (issuer, document, fault)) in issuers.iter().enumerate() {
        issuer.fail(*document, Some(fault.clone()));
        let token = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
        assert_eq!(front.status(&callback(number, &token)).await, 503, "{fault:?}: nobody knows whether there is such a key");
        let set = key_set(issuer);
        let of_set = async |result: &str| ringfence.metric(REFRESHES, &[&set, result]).await;
        let failed = async || (of_set("").await - of_set("result=\"ok\"").await >= 1.0).then_some(());
        crate::support::wait_for(&format!("{fault:?} to be counted"), failed).await;
    }
    let scene = Scene { traffic, front, ringfence, issuer: usual };
    scene.last().await;
    scene.finish().await
}

/// It signs with a key at once that nobody could have fetched before.
pub async fn keys_rotated_early() -> Tally {
    let scene = Scene::start().await;
    scene.issuer.rotate(Rotation::Sign).unwrap();
    scene.last().await;
    assert!(scene.fetches("ok").await >= 2.0);
    scene.finish().await
}

/// It signs with a key that its documents do not show yet. It was asked, and does not know the key: such tokens are refused until it does.
pub async fn keys_rotated_late() -> Tally {
    let issuer = new_issuer().await;
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    let front = Front::before(&[ringfence.replica()], &[]).await;
    let old = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let kept = old.clone();
    let stale = issuer.key_set().to_string();
    issuer.fail(Document::Keys, Some(Fault::Body(stale)));
    issuer.rotate(Rotation::Sign).unwrap();
    let early = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let unpublished = early.clone();
    let foreign = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::ForeignKey)).unwrap();
    let traffic = Traffic::start_judged(front.proxy.address, move |number| match number % 3 {
        0 => (webhook(&kept), Right::Only(200)),
        1 => (webhook(&unpublished), Right::Either(401, 503)),
        _ => (webhook(&foreign), Right::Either(401, 503)),
    });
    let scene = Scene { traffic, front, ringfence, issuer };
    scene.last().await;
    scene.ringfence.wait_for_metric("ringfence_checks_total", &["reason=\"key_unknown\""], 1.0).await;
    let tally = scene.traffic.finish().await;
    // Published at last.
    scene.issuer.fail(Document::Keys, None);
    let scene = Scene { traffic: Traffic::start_judged(scene.front.proxy.address, move |_| (webhook(&old), Right::Only(200))), ..scene };
    crate::support::wait_for("the published key to be known", async || (scene.front.status(&webhook(&early)).await == 200).then_some(())).await;
    tally.and(scene.finish().await)
}
