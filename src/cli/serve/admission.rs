//! The admission webhook: its listener, and where its certificate comes from.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::watch;

use crate::{
    admission::Reviewer,
    listen::{self, AdmissionCertificate, AdmissionListener, GivenCertificate, ListenError},
    settings::Settings,
    source::Configuration,
    telemetry::Metrics,
};

/// The listener, bound and not yet served.
#[derive(Debug)]
pub(super) struct Admission {
    listener: AdmissionListener,
    /// Where a certificate that is made here is handed over.
    newest: watch::Sender<Option<GivenCertificate>>,
}

impl Admission {
    /// Binds it, if it is asked for.
    pub(super) fn bind(settings: &Settings, metrics: &Metrics) -> Result<Option<Self>, ListenError> {
        let Some((address, files)) = settings.admission_listener() else { return Ok(None) };
        let newest = watch::Sender::new(None);
        let certificate = files.map_or_else(|| AdmissionCertificate::Given(newest.subscribe()), AdmissionCertificate::Files);
        let listener = AdmissionListener::bind(address, certificate, metrics.certificate_expiry())?;
        Ok(Some(Self { listener, newest }))
    }

    /// Where it is really bound.
    pub(super) const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where a certificate that is made here is to be handed over.
    pub(super) fn newest(&self) -> watch::Sender<Option<GivenCertificate>> {
        self.newest.clone()
    }

    /// Serves it.
    pub(super) fn serve(
        self,
        server: &listen::Server,
        settings: &Settings,
        configuration: &Configuration,
        metrics: &Metrics,
    ) -> Result<(), ListenError> {
        let address = self.address();
        let reviewer = Arc::new(Reviewer::new(settings.compile_options(), configuration.policies()));
        server.serve_admission(self.listener, &reviewer, metrics.registry())?;
        tracing::info!(listener = "admission", %address, "listening");
        Ok(())
    }
}
