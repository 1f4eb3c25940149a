//! Certificates for listeners and their clients.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// An authority, and what it has signed.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Else it would be called like what it signs, which then looks as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.0.der()
    }

    /// The same in PEM form.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for `name`, PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        self.sign(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// The same, good for no longer than `lifetime`.
    #[cfg(feature = "real-proxies")]
    pub fn issue_for(&self, name: &str, lifetime: std::time::Duration) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = time::OffsetDateTime::now_utc() + lifetime;
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Writes certificate and key to `folder` and names the flags for them.
pub fn write_identity(folder: &Path, (certificate, key): &(String, String)) -> [String; 2] {
    let (certificate_file, key_file) = (folder.join("tls.pem"), folder.join("tls.key"));
    fs::write(&key_file, key).unwrap();
    fs::write(&certificate_file, certificate).unwrap();
    [format!("--tls-cert={}", certificate_file.display()), format!("--tls-key={}", key_file.display())]
}
