//! The device's authority over time: made, kept, and followed by the next one before it ends.
//!
//! The next one has a key of its own, and a second certificate that the one before it signs: a
//! server shows that too, so whoever trusts the old authority trusts what the new one signs. Both
//! are in the trust bundle until the old one ends. The change is on disk in one step
//! (`device-ca-next.pem`), and is finished after a crash.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, CertError, optional, refused};
use crate::protocol::files::write_atomically;

/// What separates the parts of the file of the next authority.
const CUT: &str = "\n# next part\n";

/// Where what belongs to an authority lies.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    key: PathBuf,
    /// Certificate of the authority before this one.
    pub(super) old: PathBuf,
    /// This one's, signed by the one before.
    cross: PathBuf,
    next: PathBuf,
}

impl Files {
    pub(super) fn in_directory(certs: &Path) -> Self {
        let at = |name: &str| certs.join(name);
        Files {
            certificate: at("device-ca.pem"),
            key: at("device-ca.key"),
            old: at("device-ca-old.pem"),
            cross: at("device-ca-cross.pem"),
            next: at("device-ca-next.pem"),
        }
    }

    /// Finishes a change that was begun.
    fn promote(&self) -> Result<(), CertError> {
        let Some(next) = optional(&self.next)? else { return Ok(()) };
        let parts: Vec<&str> = next.split(CUT).collect();
        let [key, certificate, cross] = parts.as_slice() else {
            let why = "it has not three parts".into();
            return Err(CertError::Damaged { path: self.next.clone(), why });
        };
        if let Some(before) = optional(&self.certificate)?.filter(|it| it != certificate) {
            write_atomically(&self.old, before.as_bytes(), 0o644)?;
        }
        write_atomically(&self.cross, cross.as_bytes(), 0o644)?;
        write_atomically(&self.key, key.as_bytes(), 0o600)?;
        write_atomically(&self.certificate, certificate.as_bytes(), 0o644)?;
        std::fs::remove_file(&self.next).map_err(|why| CertError::Damaged {
            path: self.next.clone(),
            why: format!("cannot be removed: {why}"),
        })
    }

    /// The authority as it is, or a first one.
    pub(super) fn load(&self, name: &str, ends: OffsetDateTime) -> Result<Authority, CertError> {
        self.promote()?;
        let mut authority = Authority::load_or_make_until(&self.certificate, name, ends)?;
        authority.cross = optional(&self.cross)?;
        Ok(authority)
    }

    /// Another one instead of `before`. Files that were read or copied before are as good as ever.
    pub(super) fn renew(
        &self,
        before: &Authority,
        name: &str,
        ends: OffsetDateTime,
    ) -> Result<Authority, CertError> {
        let refused = |e: rcgen::Error| refused(name, &e);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let mut params = authority_params(name, ends).map_err(refused)?;
        let certificate = params.self_signed(&key).map_err(refused)?.pem();
        params.use_authority_key_identifier_extension = true;
        params.not_after = time_of(before.ends()).min(ends);
        let cross = params.signed_by(&key, &before.issuer).map_err(refused)?.pem();
        let next = [key.serialize_pem(), certificate, cross].join(CUT);
        write_atomically(&self.next, next.as_bytes(), 0o600)?;
        tracing::info!(name, "made the next certificate authority of this device");
        self.load(name, ends)
    }
}

/// What an authority of ours is.
pub(super) fn authority_params(
    name: &str,
    ends: OffsetDateTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = ends;
    Ok(params)
}

impl Authority {
    /// Its key and certificate.
    pub(super) fn of(pem: String, issuer: Issuer<'static, KeyPair>) -> Self {
        Authority { pem, cross: None, issuer }
    }

    /// When its certificate ends, since the epoch.
    pub fn ends(&self) -> Duration {
        read(&self.pem).map(|(ends, _)| ends).unwrap_or(Duration::MAX)
    }

    /// When its certificate begins, since the epoch.
    pub(super) fn begins(&self) -> Duration {
        lives(&self.pem).next().map(|(begins, _)| begins).unwrap_or_default()
    }

    /// Whether it is one that we made, and may follow with another: an operator's own we leave alone.
    pub(super) fn is_named_like(&self, name: &str) -> bool {
        read(&self.pem).is_some_and(|(_, subject)| subject.is_some_and(|it| it.starts_with(name)))
    }

    /// Its certificate by the one before it, while that is any good.
    pub(super) fn cross(&self, now: Duration) -> Option<(String, CertificateDer<'static>)> {
        let pem =
            self.cross.as_ref().filter(|pem| read(pem).is_some_and(|(ends, _)| ends > now))?;
        Some((pem.clone(), CertificateDer::from_pem_slice(pem.as_bytes()).ok()?))
    }
}

/// When the first certificate of a PEM text ends, and, where it signed itself, its name.
pub(super) fn read(pem: &str) -> Option<(Duration, Option<String>)> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, read) = X509Certificate::from_der(&der).ok()?;
    let ends = u64::try_from(read.validity().not_after.timestamp()).unwrap_or_default();
    let name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let is_own = read.subject() == read.issuer();
    Some((Duration::from_secs(ends), name.filter(|_| is_own).map(str::to_owned)))
}

/// When each certificate of a PEM text begins, and ends.
pub(super) fn lives(pem: &str) -> impl Iterator<Item = (Duration, Duration)> {
    let unix = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().filter_map(move |der| {
        let (_, read) = X509Certificate::from_der(&der).ok()?;
        let validity = read.validity();
        Some((unix(validity.not_before.timestamp()), unix(validity.not_after.timestamp())))
    })
}

pub(super) fn time_of(unix: Duration) -> OffsetDateTime {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    let last = date_time_ymd(2099, 12, 31);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(last).min(last)
}
