//! TLS of the listeners: certificates read from files and read again when they change, client certificates and their names.
//!
//! Must not know: what is asked over a connection.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{IntGauge, IntGaugeVec};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    sync::watch,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use super::{
    ConnectionSettings, ListenError, TlsSettings,
    connection::{Phase, reached},
};

/// The certificate in force and the files it came from.
#[derive(Debug)]
pub(super) struct Tls {
    settings: TlsSettings,
    /// Protocols offered by ALPN (RFC 7301), the preferred one first.
    protocols: &'static [&'static [u8]],
    current: ArcSwap<ServerConfig>,
    /// What the files held when they were last tried.
    tried: Mutex<Files>,
    expiry: IntGauge,
}

/// The files' content.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files(redacted)")
    }
}

impl Tls {
    /// The TLS that `settings` ask for, if any; `expiry` has the one label `listener`.
    pub(super) fn of(
        settings: &ConnectionSettings,
        protocols: &'static [&'static [u8]],
        expiry: &IntGaugeVec,
        listener: &str,
    ) -> Result<Option<Arc<Self>>, ListenError> {
        let Some(tls) = &settings.tls else { return Ok(None) };
        Ok(Some(Arc::new(Self::load(tls.clone(), protocols, expiry.with_label_values(&[listener]))?)))
    }

    /// Reads the files; `expiry` is told when the certificate expires, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable or wrong.
    fn load(settings: TlsSettings, protocols: &'static [&'static [u8]], expiry: IntGauge) -> Result<Self, ListenError> {
        let files = Files::read(&settings)?;
        let (config, expires) = configure(&settings, &files, protocols)?;
        expiry.set(expires);
        Ok(Self { settings, protocols, current: ArcSwap::from_pointee(config), tried: Mutex::new(files), expiry })
    }

    /// Looks at the files again and again; a bad certificate is logged, once, and the good one stays.
    pub(super) async fn keep_fresh(self: Arc<Self>, listener: &'static str, mut phases: watch::Receiver<Phase>) {
        let mut told = None;
        loop {
            select! {
                () = reached(&mut phases, Phase::Closed) => return,
                () = sleep(self.settings.reload_every) => {}
            }
            let tls = Arc::clone(&self);
            let problem = match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(false)) => continue,
                Ok(Ok(true)) => {
                    tracing::info!(listener, "the new certificate is in force");
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = problem.as_ref().filter(|_| problem != told) {
                tracing::error!(listener, %error, "the new certificate is not usable; the old one stays in force");
            }
            told = problem;
        }
    }

    /// Whether other files are in force now. An error is reported once for the same content.
    fn reload(&self) -> Result<bool, ListenError> {
        let files = Files::read(&self.settings)?;
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == files {
            return Ok(false);
        }
        let configured = configure(&self.settings, &files, self.protocols);
        *tried = files;
        let (config, expires) = configured?;
        self.current.store(Arc::new(config));
        self.expiry.set(expires);
        Ok(true)
    }

    /// The handshake, client certificate and its names included.
    pub(super) async fn accept<IO>(&self, io: IO) -> io::Result<TlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.current.load_full()).accept(io).await?;
        if self.settings.client_names.is_empty() {
            return Ok(stream);
        }
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if shown.is_some_and(|certificate| bears_one_of(certificate, &self.settings.client_names)) {
            Ok(stream)
        } else {
            // FAIL-CLOSED: a_client_certificate_without_an_allowed_name_is_refused
            tracing::warn!("refused a client whose certificate bears none of the allowed names");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "the client's certificate bears none of the allowed names"))
        }
    }
}

impl Files {
    fn read(settings: &TlsSettings) -> Result<Self, ListenError> {
        Ok(Self {
            certificate: read(&settings.certificate)?,
            key: read(&settings.key)?,
            client_ca: settings.client_ca.as_ref().map(|file| read(file)).transpose()?,
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ListenError> {
    fs::read(file).map_err(|error| unusable(file, error))
}

fn unusable(file: &Path, problem: impl std::fmt::Display) -> ListenError {
    ListenError::Certificate { file: file.display().to_string(), problem: problem.to_string() }
}

/// What the files say, and when the certificate expires.
fn configure(settings: &TlsSettings, files: &Files, protocols: &[&[u8]]) -> Result<(ServerConfig, i64), ListenError> {
    let chain = certificates(&settings.certificate, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| unusable(&settings.key, "it holds no private key in PEM form"))?;
    let expires = chain.first().and_then(expiry_of).ok_or_else(|| unusable(&settings.certificate, "its first certificate cannot be read"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&settings.certificate, error))?;
    let builder = match settings.client_ca.as_ref().zip(files.client_ca.as_ref()) {
        None if !settings.client_names.is_empty() => {
            return Err(unusable(&settings.certificate, "client names are given without the authority of clients' certificates; set both"));
        }
        None => builder.with_no_client_auth(),
        Some((file, content)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file, content)?), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(file, error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&settings.certificate, pair_problem(&error)))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok((config, expires))
}

/// What a certificate says that did not come from files, and when it expires; `name` is what messages call it.
pub(super) fn of_given(name: &str, certificate: Vec<u8>, key: Vec<u8>, protocols: &[&[u8]]) -> Result<(ServerConfig, i64), ListenError> {
    let settings = TlsSettings { certificate: name.into(), key: name.into(), client_ca: None, client_names: Vec::new(), reload_every: Duration::MAX };
    configure(&settings, &Files { certificate, key, client_ca: None }, protocols)
}

fn pair_problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "it does not belong to the private key".to_owned(),
        other => other.to_string(),
    }
}

fn certificates(file: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(unusable(file, "it holds no certificate in PEM form")),
    }
}

fn roots(file: &Path, content: &[u8]) -> Result<RootCertStore, ListenError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, content)? {
        roots.add(certificate).map_err(|error| unusable(file, error))?;
    }
    Ok(roots)
}

/// `notAfter`, in seconds since the Unix epoch.
fn expiry_of(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// Whether a subject alternative name (DNS, without regard to case; or URI, exactly) is one of `names`.
fn bears_one_of(certificate: &CertificateDer<'_>, names: &[String]) -> bool {
    let Ok((_, certificate)) = x509_parser::certificate::X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return false };
    alternatives.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(dns) => names.iter().any(|allowed| allowed.eq_ignore_ascii_case(dns)),
        GeneralName::URI(uri) => names.iter().any(|allowed| allowed == uri),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
