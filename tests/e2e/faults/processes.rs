//! What happens to the process itself: signals, and the death of one of two replicas.

use std::{sync::Arc, time::Duration};

use ringfence::issuer::Issuer;

use super::scene::{Front, Scene, new_issuer, requests, wait_for_enough};
use crate::support::{
    network::own_address,
    policies::policies,
    ringfence::Ringfence,
    traffic::{Tally, Traffic, repeat},
    wait_for,
};

/// Answers that come before a fault, and after it.
const SOME: usize = 100;

pub async fn hang_up() -> Tally {
    let mut scene = Scene::start().await;
    let reloads = async |scene: &Scene| scene.ringfence.metric("ringfence_config_reloads_total", &["result=\"applied\""]).await;
    let id = scene.ringfence.process().id();
    repeat(&scene.traffic, 3, async |_| {
        let before = reloads(&scene).await;
        scene.ringfence.hang_up();
        wait_for("the folder to be read again", async || (reloads(&scene).await > before).then_some(())).await;
        scene.flow().await;
    })
    .await;
    scene.ringfence.process().must_run();
    assert_eq!(scene.ringfence.process().id(), id);
    scene.finish().await
}

/// Two replicas behind one Envoy.
struct Pair {
    traffic: Traffic,
    front: Front,
    leaving: Ringfence,
    staying: Ringfence,
    issuer: Arc<Issuer>,
}

impl Pair {
    /// Starts them; both were asked.
    async fn start() -> Self {
        let issuer = new_issuer().await;
        let start = async || {
            // At an address of its own: nobody else takes its ports before its successor does.
            let address = own_address();
            let flags = ["grpc", "http", "metrics"].map(|listener| format!("--{listener}-listen={address}:0"));
            Ringfence::start(&policies(&issuer), &flags.each_ref().map(String::as_str)).await
        };
        let (leaving, staying) = (start().await, start().await);
        let front = Front::before(&[leaving.replica(), staying.replica()], &[]).await;
        let traffic = Traffic::start_judged(front.proxy.address, requests(&issuer));
        let pair = Self { traffic, front, leaving, staying, issuer };
        wait_for("both replicas to be asked", async || (!pair.leaving.decisions().is_empty() && !pair.staying.decisions().is_empty()).then_some(()))
            .await;
        pair
    }

    /// Another one takes the place of the one that has left, at its addresses, and is asked.
    async fn succeed(self) -> Tally {
        let Self { traffic, front, leaving, staying, issuer } = self;
        traffic.flow(SOME).await;
        let address = |listener: &str| format!("--{listener}-listen={}", leaving.address(listener));
        let flags = ["grpc", "http", "metrics"].map(address);
        drop(leaving);
        let successor = Ringfence::start(&policies(&issuer), &flags.each_ref().map(String::as_str)).await;
        wait_for("the successor to be asked", async || (!successor.decisions().is_empty()).then_some(())).await;
        wait_for_enough(&traffic).await;
        traffic.flow(SOME).await;
        let tally = traffic.finish().await;
        drop((front, staying));
        tally
    }
}

pub async fn terminated() -> Tally {
    let mut pair = Pair::start().await;
    pair.leaving.process().terminate();
    wait_for("it to be unready", async || (pair.leaving.get("/readyz").await.0 == 503).then_some(())).await;
    let status = pair.leaving.process().wait_for_end(Duration::from_secs(30)).await;
    assert!(status.success(), "it should end properly: {status}");
    pair.succeed().await
}

pub async fn killed() -> Tally {
    let mut pair = Pair::start().await;
    pair.leaving.process().signal("KILL");
    pair.leaving.process().wait_for_end(Duration::from_secs(30)).await;
    pair.succeed().await
}
