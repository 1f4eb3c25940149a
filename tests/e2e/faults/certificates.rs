//! The certificate of the check listener, behind an Envoy that looks at it.

use std::{path::Path, time::Duration};

use tempfile::TempDir;

use super::scene::{Front, Scene, new_issuer, requests};
use crate::support::{
    certificates::{Authority, write_identity},
    doors::Replica,
    network::Relay,
    policies::policies,
    ringfence::Ringfence,
    traffic::{Tally, Traffic, repeat},
    wait_for,
};

/// How long a certificate lives that expires while it serves: enough to start everything on a busy machine.
const LIFETIME: Duration = Duration::from_secs(8);

/// A replica over TLS, whose connections can be cut.
struct Guarded {
    scene: Scene,
    relay: Relay,
    authority: Authority,
    folder: TempDir,
}

impl Guarded {
    async fn start(lifetime: Option<Duration>) -> Self {
        let (authority, folder, issuer) = (Authority::new(), tempfile::tempdir().unwrap(), new_issuer().await);
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let identity = match lifetime {
            Some(lifetime) => authority.issue_for("ringfence", lifetime),
            None => authority.issue("ringfence"),
        };
        let flags = write_identity(folder.path(), &identity);
        let ringfence = Ringfence::start(&policies(&issuer), &flags.each_ref().map(String::as_str)).await;
        let relay = Relay::start(([127, 0, 0, 1], 0).into(), ringfence.address("grpc")).await;
        let front = Front::before(&[Replica { grpc: relay.address, ..ringfence.replica() }], &[("lb_policy: LEAST_REQUEST", &over_tls(&ca))]).await;
        let traffic = Traffic::start_judged(front.proxy.address, requests(&issuer));
        let scene = Scene { traffic, front, ringfence, issuer };
        scene.flow().await;
        Self { scene, relay, authority, folder }
    }

    fn write(&self, identity: &(String, String)) {
        write_identity(self.folder.path(), identity);
    }

    async fn expires(&self) -> f64 {
        self.scene.ringfence.metric("ringfence_certificate_expiry_timestamp_seconds", &["listener=\"grpc\""]).await
    }
}

/// What an operator adds to the example's cluster.
fn over_tls(ca: &Path) -> String {
    format!(
        "lb_policy: LEAST_REQUEST
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: ringfence
          common_tls_context:
            alpn_protocols: [h2]
            validation_context:
              trusted_ca: {{filename: {}}}
              match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: ringfence}}}}]",
        ca.display()
    )
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Connections that stand go on. New ones do not come about until the certificate is renewed, and nothing is let by meanwhile.
pub async fn certificate_expired() -> Tally {
    let guarded = Guarded::start(Some(LIFETIME)).await;
    let scene = &guarded.scene;
    let expiry = guarded.expires().await;
    wait_for("the certificate to expire", async || (now() > expiry + 1.0).then_some(())).await;
    scene.flow().await;
    scene.traffic.may_be_undecided(true);
    guarded.relay.cut();
    scene.last().await;
    guarded.write(&guarded.authority.issue("ringfence"));
    wait_for("the renewed certificate", async || (guarded.expires().await > expiry).then_some(())).await;
    scene.wait_until_served().await;
    scene.flow().await;
    guarded.finish().await
}

/// Whoever connects gets the newest one that is usable; nobody notices.
pub async fn certificate_replaced() -> Tally {
    let guarded = Guarded::start(None).await;
    let scene = &guarded.scene;
    // What is under way when its connection is cut, with no other replica to ask, is the proxy's to answer.
    scene.traffic.may_be_undecided(true);
    repeat(&scene.traffic, 2, async |number| {
        // So that the metric tells one from the next.
        let lifetime = Duration::from_secs(3600 * (24 + number as u64));
        let before = guarded.expires().await;
        std::fs::write(guarded.folder.path().join("tls.pem"), "nonsense").unwrap();
        guarded.relay.cut();
        scene.flow().await;
        guarded.write(&guarded.authority.issue_for("ringfence", lifetime));
        wait_for("the new certificate", async || ((guarded.expires().await - before).abs() > 1.0).then_some(())).await;
        guarded.relay.cut();
        scene.flow().await;
    })
    .await;
    guarded.finish().await
}

impl Guarded {
    async fn finish(self) -> Tally {
        let Self { scene, relay, authority: _, folder } = self;
        let tally = scene.finish().await;
        drop((relay, folder));
        tally
    }
}
