//! Certificates that the runtime and the local hub make for themselves.
//!
//! On first start a certificate authority of this device's own; at each start, in memory, a
//! server certificate that names what clients may call us by. Clients need the authority only.
//!
//! Neither depends much on the clock: a device may have been started first in 1970.

mod device;
mod module;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

pub use self::device::DeviceCertificates;
pub use self::module::ModuleCertificate;
use super::files::{FileError, read_text, write_atomically};

/// A certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// One of its files.
    #[error(transparent)]
    File(#[from] FileError),
    /// Of a certificate and its key only one is there.
    #[error("{} is there, but not {}: restore it, or remove both and give clients the new authority",
        there.display(), missing.display())]
    Half {
        /// The one.
        there: PathBuf,
        /// The other.
        missing: PathBuf,
    },
    /// What is there is not a certificate and its key.
    #[error("{} is damaged ({why}): restore it, or remove it and its key", path.display())]
    Damaged {
        /// Certificate file.
        path: PathBuf,
        /// As rcgen puts it.
        why: String,
    },
    /// A name that cannot stand in a certificate.
    #[error("no certificate can be made for {names}: {why}")]
    Refused {
        /// The names wanted.
        names: String,
        /// As rcgen puts it.
        why: String,
    },
}

/// A certificate authority: its certificate, and the key to sign with.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

fn refused(names: &str, why: &rcgen::Error) -> CertError {
    CertError::Refused { names: names.into(), why: why.to_string() }
}

impl Authority {
    /// Reads the authority at `path` (its key: the same with the extension `key`), or makes it.
    pub fn load_or_make(path: &Path, name: &str) -> Result<Self, CertError> {
        let key_path = path.with_extension("key");
        match (optional(path)?, optional(&key_path)?) {
            (Some(pem), Some(key)) => {
                let damaged =
                    |e: rcgen::Error| CertError::Damaged { path: path.into(), why: e.to_string() };
                let key = KeyPair::from_pem(&key).map_err(damaged)?;
                let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(damaged)?;
                Ok(Authority { pem, issuer })
            }
            (None, None) => {
                let refused = |e: rcgen::Error| refused(name, &e);
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
                // The key first: with it alone the certificate is made after a crash.
                write_atomically(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
                Self::make(path, key, name)
            }
            (Some(_), None) => Err(CertError::Half { there: path.into(), missing: key_path }),
            // The power was cut between the two. Whoever trusts the key trusts what is made of it.
            (None, Some(key)) => {
                let key = KeyPair::from_pem(&key);
                let key =
                    key.map_err(|e| CertError::Damaged { path: key_path, why: e.to_string() });
                Self::make(path, key?, name)
            }
        }
    }

    fn make(path: &Path, key: KeyPair, name: &str) -> Result<Self, CertError> {
        let refused = |e: rcgen::Error| refused(name, &e);
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 12, 31);
        let pem = params.self_signed(&key).map_err(refused)?.pem();
        write_atomically(path, pem.as_bytes(), 0o644)?;
        tracing::info!(path = %path.display(), "made a certificate authority");
        Ok(Authority { pem, issuer: Issuer::new(params, key) })
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate that is good for each of these: DNS names and IP addresses.
    pub fn certify(
        &self,
        names: &BTreeSet<String>,
        unix_time: Duration,
    ) -> Result<ServerCertificate, CertError> {
        let list = || names.iter().cloned().collect::<Vec<_>>().join(", ");
        let refused = |e: rcgen::Error| CertError::Refused { names: list(), why: e.to_string() };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(refused)?),
            });
        }
        let is_name = |n: &&String| n.parse::<IpAddr>().is_err() && n.len() <= 64;
        let common = names.iter().find(is_name).map_or("edge-runtime", String::as_str);
        params.distinguished_name.push(DnType::CommonName, common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = ten_years_from(unix_time);
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        let chain = format!("{}{}", certificate.pem(), self.pem);
        Ok(ServerCertificate { der: certificate.der().clone(), key: key.serialize_der(), chain })
    }
}

/// A file, or nothing if it is not there.
fn optional(path: &Path) -> Result<Option<String>, CertError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Counted from 2026 on a clock that is behind.
fn ten_years_from(unix_time: Duration) -> OffsetDateTime {
    let now = i64::try_from(unix_time.as_secs()).unwrap_or_default();
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let from = now.clamp(date_time_ymd(2026, 1, 1), date_time_ymd(2089, 1, 1));
    from + time::Duration::days(3650)
}

/// A server certificate and its key. Lives in memory only.
pub struct ServerCertificate {
    der: CertificateDer<'static>,
    key: Vec<u8>,
    chain: String,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCertificate")
    }
}

impl ServerCertificate {
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// Leaf and authority, for people (`openssl x509 -text`).
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }
}

/// What a server certificate has to name: these names, and the addresses that are listened on;
/// for a wildcard 127.0.0.1 and every interface address.
pub fn names_of(names: &[&str], listen: &[SocketAddr]) -> BTreeSet<String> {
    let bare = |name: &&str| name.trim_matches(['[', ']']).to_ascii_lowercase();
    let mut all: BTreeSet<String> = names.iter().map(bare).filter(|n| !n.is_empty()).collect();
    for address in listen {
        if address.ip().is_unspecified() {
            all.insert(Ipv4Addr::LOCALHOST.to_string());
            let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|why| {
                tracing::warn!(%why, "cannot list interfaces: the certificate lacks their addresses");
                Vec::new()
            });
            all.extend(interfaces.iter().map(|i| i.ip().to_string()));
        } else {
            all.insert(address.ip().to_string());
        }
    }
    all
}

/// Writes the trust bundle: the device's authority, and what the device itself trusts upstream.
pub fn write_trust_bundle(
    path: &Path,
    authority: &Authority,
    trusted_ca: Option<&Path>,
) -> Result<String, CertError> {
    let mut bundle = authority.pem.clone();
    if let Some(upstream) = trusted_ca {
        bundle.push_str(read_text(upstream)?.trim_end());
        bundle.push('\n');
    }
    write_atomically(path, bundle.as_bytes(), 0o644)?;
    Ok(bundle)
}
