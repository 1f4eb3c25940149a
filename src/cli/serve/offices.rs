//! What a replica on a cluster does beside answering checks, as one of several: it stands for the Lease, writes statuses while it holds it, and
//! keeps the admission webhook's own certificates.

use std::sync::Arc;

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    admission::{KeeperParts, LOOK_EVERY, keep},
    clock::Clock,
    listen::GivenCertificate,
    ready::Readiness,
    source::Configuration,
    status::{Leadership, StatusMetrics, Writer, WriterParts, identity},
};

/// The Lease in `--resource-namespace`.
const LEASE: &str = "ringfence-status";

/// What is needed.
pub(super) struct OfficeParts {
    pub(super) client: kube::Client,
    /// `--watch-namespace`.
    pub(super) namespaces: Vec<String>,
    /// `--resource-namespace`.
    pub(super) namespace: String,
    pub(super) clock: Clock,
    pub(super) metrics: StatusMetrics,
    pub(super) configuration: Arc<Configuration>,
    pub(super) readiness: Readiness,
    /// The Service and the webhook configuration to keep certificates for, and where they are handed over.
    pub(super) certificates: Option<(String, String, watch::Sender<Option<GivenCertificate>>)>,
}

/// Runs until it is left or dropped.
#[derive(Debug)]
pub(super) struct Offices {
    leave: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Offices {
    /// Takes them up on the current runtime.
    pub(super) fn take_up(parts: OfficeParts) -> Self {
        let leave = watch::Sender::new(false);
        let task = tokio::spawn(run(parts, leave.subscribe()));
        Self { leave, task: Some(task) }
    }

    /// Hands them over to another replica, which need not wait for the Lease to run out.
    pub(super) async fn leave(mut self) {
        self.leave.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Offices {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn run(parts: OfficeParts, mut leave: watch::Receiver<bool>) {
    let OfficeParts { client, namespaces, namespace, clock, metrics, configuration, readiness, certificates } = parts;
    // What is not listed whole has nothing to report, and must not keep another replica from it.
    tokio::select! {
        () = readiness.ready() => {}
        _ = leave.wait_for(|leave| *leave) => return,
    }
    let leadership = Leadership::stand(client.clone(), &namespace, LEASE, identity(), clock.clone());
    let mut tasks = JoinSet::new();
    let writer = Writer::new(WriterParts { client: client.clone(), namespaces, clock: clock.clone(), metrics });
    tasks.spawn(writer.run(configuration.subscribe(), leadership.held()));
    if let Some((service, webhook, newest)) = certificates {
        let parts = KeeperParts { client, namespace, service, webhook, clock, look_every: LOOK_EVERY };
        tasks.spawn(keep(parts, leadership.held(), newest));
    }
    let _ = leave.wait_for(|leave| *leave).await;
    drop(tasks);
    leadership.release().await;
}
