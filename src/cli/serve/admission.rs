//! The admission webhook's listener.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    admission::Reviewer,
    listen::{self, AdmissionCertificate, AdmissionListener, ListenError},
    settings::Settings,
    source::Configuration,
    telemetry::Metrics,
};

/// The listener, bound and not yet served.
#[derive(Debug)]
pub(super) struct Admission {
    listener: AdmissionListener,
}

impl Admission {
    /// Binds it, if it is asked for.
    pub(super) fn bind(settings: &Settings, metrics: &Metrics) -> Result<Option<Self>, ListenError> {
        let Some((address, tls)) = settings.admission_listener() else { return Ok(None) };
        let listener = AdmissionListener::bind(address, AdmissionCertificate::Files(tls), metrics.certificate_expiry())?;
        Ok(Some(Self { listener }))
    }

    /// Where it is really bound.
    pub(super) const fn address(&self) -> SocketAddr {
        self.listener.address()
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
