//! Certificates that the webhook makes for itself, and when one follows another. Pure: the time is passed in.
//!
//! Each certificate has an authority of its own, whose key signs it and is thrown away. A new one is announced first (its authority stands in the
//! bundle that the API server trusts), used later, and the old authority is trusted until it expires: whoever still shows the old certificate,
//! or already the new one, is believed throughout. Must not know: where they are kept.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// How long a certificate is good for, in seconds.
const LIFETIME: i64 = 90 * DAY;
/// When the next one is made.
const RENEW_AFTER: i64 = 60 * DAY;
/// How long before its making a certificate already counts, for clocks that are behind.
const BACKDATED: i64 = HOUR;
/// How long the next one is announced before it is used: all API servers have read the bundle by then.
const ANNOUNCED: i64 = 10 * 60;

/// A certificate, its key and its authority's certificate, each PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) authority: String,
}

/// Shows nothing of the key.
impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("valid", &validity(&self.certificate)).finish_non_exhaustive()
    }
}

/// What is kept between rotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// The one in use.
    pub(super) current: Option<Made>,
    /// Announced, and not in use yet.
    pub(super) next: Option<Made>,
    /// The authority before the current one, as long as it counts. PEM.
    pub(super) previous_authority: Option<String>,
}

impl Made {
    /// A new one for these DNS names, as of `now` (seconds since the Unix epoch).
    ///
    /// # Errors
    /// A name that is none, or no randomness.
    pub(super) fn new(names: &[String], now: i64) -> Result<Self, rcgen::Error> {
        let window = |params: &mut CertificateParams| {
            params.not_before = at(now - BACKDATED);
            params.not_after = at(now + LIFETIME);
        };
        let mut authority = CertificateParams::new(Vec::new())?;
        window(&mut authority);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // No two are called the same, so that whoever trusts both never tries the wrong one.
        authority.distinguished_name.push(DnType::CommonName, format!("ringfence admission authority {now}"));
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let mut leaf = CertificateParams::new(names.to_vec())?;
        window(&mut leaf);
        leaf.distinguished_name.push(DnType::CommonName, "ringfence admission");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), authority: authority_certificate.pem() })
    }

    /// Whether it can be shown at `now` for all of `names`.
    fn serves(&self, names: &[String], now: i64) -> bool {
        let counts = |pem: &str| validity(pem).is_some_and(|(from, to)| from <= now && now < to);
        counts(&self.certificate)
            && counts(&self.authority)
            && names_of(&self.certificate).is_some_and(|own| names.iter().all(|name| own.contains(name)))
    }

    /// When it was made, in seconds since the Unix epoch.
    fn made_at(&self) -> Option<i64> {
        validity(&self.certificate).map(|(from, _)| from + BACKDATED)
    }
}

impl Kept {
    /// What is to be kept from now on, if that is something else. `published` is the bundle that the API server has now, PEM.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub(super) fn step(&self, names: &[String], now: i64, published: Option<&str>) -> Result<Option<Self>, rcgen::Error> {
        let Some(current) = self.current.as_ref().filter(|current| current.serves(names, now)) else {
            // Nobody can use what is there: no reason to wait.
            let previous_authority = self.current.as_ref().map(|current| current.authority.clone()).filter(|authority| is_good(authority, now));
            return Ok(Some(Self { current: Some(Made::new(names, now)?), next: None, previous_authority }));
        };
        let next = match &self.next {
            Some(next) if next.serves(names, now) => next,
            Some(_) | None if current.made_at().is_some_and(|made| now >= made + RENEW_AFTER) => {
                return Ok(Some(Self { next: Some(Made::new(names, now)?), ..self.clone() }));
            }
            Some(_) => return Ok(Some(Self { next: None, ..self.clone() })),
            None => {
                let is_over = self.previous_authority.as_ref().is_some_and(|authority| !is_good(authority, now));
                return Ok(is_over.then(|| Self { previous_authority: None, ..self.clone() }));
            }
        };
        let is_known = published.is_some_and(|published| published.contains(next.authority.trim()));
        let is_due = is_known && next.made_at().is_some_and(|made| now >= made + ANNOUNCED);
        Ok(is_due.then(|| Self { current: Some(next.clone()), next: None, previous_authority: Some(current.authority.clone()) }))
    }

    /// The authorities that the API server is to trust, PEM.
    pub(super) fn bundle(&self) -> String {
        let made = [&self.current, &self.next].into_iter().flatten().map(|made| made.authority.as_str());
        let mut bundle = String::new();
        for authority in made.chain(self.previous_authority.as_deref()) {
            bundle.push_str(authority.trim());
            bundle.push('\n');
        }
        bundle
    }
}

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn is_good(pem: &str, now: i64) -> bool {
    validity(pem).is_some_and(|(_, to)| now < to)
}

/// From when until when a certificate counts, in seconds since the Unix epoch.
fn validity(pem: &str) -> Option<(i64, i64)> {
    read(pem, |certificate| Some((certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp())))
}

/// The DNS names that a certificate is good for.
fn names_of(pem: &str) -> Option<Vec<String>> {
    read(pem, |certificate| {
        let names = certificate.subject_alternative_name().ok()??;
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            _ => None,
        };
        Some(names.value.general_names.iter().filter_map(dns).collect())
    })
}

fn read<T>(pem: &str, of: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Option<T> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    of(&certificate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NOON: i64 = 1_790_000_000;

    fn names() -> Vec<String> {
        vec!["ringfence-admission.ringfence.svc".to_owned()]
    }

    fn step(kept: &Kept, now: i64) -> Option<Kept> {
        kept.step(&names(), now, Some(&kept.bundle())).unwrap()
    }

    fn first() -> Kept {
        step(&Kept::default(), NOON).unwrap()
    }

    #[test]
    fn nothing_changes_for_sixty_days() {
        let kept = first();
        assert!(kept.next.is_none() && kept.previous_authority.is_none());
        for day in 0..60 {
            assert_eq!(step(&kept, NOON + day * DAY), None, "day {day}");
        }
    }

    #[test]
    fn the_next_one_is_announced_before_it_is_used_and_the_old_one_believed_until_it_expires() {
        let kept = first();
        let mut now = NOON + RENEW_AFTER;
        let announced = step(&kept, now).unwrap();
        assert_eq!(announced.current, kept.current);
        let (old, new) = (kept.current.unwrap().authority, announced.next.clone().unwrap().authority);
        assert!(announced.bundle().contains(old.trim()) && announced.bundle().contains(new.trim()), "both are trusted");
        assert_eq!(step(&announced, now + ANNOUNCED - 1), None, "not used yet");
        assert_eq!(announced.step(&names(), now + DAY, Some(&old)).unwrap(), None, "never used before the API server has its authority");
        assert_eq!(announced.step(&names(), now + DAY, None).unwrap(), None);
        now += ANNOUNCED;
        let used = step(&announced, now).unwrap();
        assert_eq!((&used.current, &used.next), (&announced.next, &None));
        assert!(used.bundle().contains(old.trim()), "somebody may still show the old one");
        assert_eq!(step(&used, NOON + LIFETIME - 1), None);
        let over = step(&used, NOON + LIFETIME).unwrap();
        assert_eq!((over.bundle().contains(old.trim()), &over.current), (false, &used.current));
        assert_eq!(step(&over, NOON + LIFETIME), None);
    }

    #[test]
    fn what_cannot_be_used_is_replaced_at_once() {
        let kept = first();
        let expired = step(&kept, NOON + LIFETIME).unwrap();
        assert!(expired.current != kept.current && expired.previous_authority.is_none());
        let broken = Kept { current: Some(Made { certificate: "not a certificate".to_owned(), ..kept.current.clone().unwrap() }), ..Kept::default() };
        assert!(step(&broken, NOON).unwrap().current.unwrap().serves(&names(), NOON));
        let renamed = kept.step(&["other.ringfence.svc".to_owned()], NOON, None).unwrap().unwrap();
        assert!(renamed.current != kept.current && renamed.previous_authority.is_some(), "the others still show the old one for a moment");
        let future = step(&kept, NOON - DAY).unwrap();
        assert_ne!(future.current, kept.current, "made by a clock that was ahead");
    }

    #[test]
    fn a_next_one_that_went_stale_is_made_anew() {
        let mut kept = step(&first(), NOON + RENEW_AFTER).unwrap();
        kept.next = Some(Made { authority: String::new(), ..kept.next.unwrap() });
        let healed = step(&kept, NOON + RENEW_AFTER).unwrap();
        assert!(healed.next.unwrap().serves(&names(), NOON + RENEW_AFTER));
    }
}
