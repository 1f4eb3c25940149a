//! `grpc.health.v1`: serving while the process is ready and does not leave.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::{select, sync::watch, time::sleep};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{listen::connection::Phase, ready::Readiness};

/// The services that can be asked for: the process as a whole, and the authorization service by name.
const SERVICES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];
/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The service, and a task that keeps it up to date until the process drains.
pub(super) fn serve(readiness: Readiness, phases: watch::Receiver<Phase>) -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    for service in SERVICES {
        // Nobody else holds its lock yet, so this is done when it returns.
        let _ = reporter.set_service_status(service, ServingStatus::NotServing).now_or_never();
    }
    let service = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    tokio::spawn(report(reporter, readiness, phases));
    service
}

async fn report(mut reporter: HealthReporter, readiness: Readiness, mut phases: watch::Receiver<Phase>) {
    let mut told = None;
    loop {
        let phase = *phases.borrow_and_update();
        if phase >= Phase::Draining {
            break;
        }
        let serving = phase == Phase::Serving && readiness.is_ready();
        if told != Some(serving) {
            told = Some(serving);
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in SERVICES {
                reporter.set_service_status(service, status).await;
            }
        }
        select! {
            () = sleep(LOOK_EVERY) => {}
            changed = phases.changed() => if changed.is_err() { break },
        }
    }
    // Ends the streams of those who watch, so that they do not hold up the drain.
    for service in SERVICES {
        reporter.clear_service_status(service).await;
    }
}
