//! Certificates that the runtime and the local hub make for themselves.
//!
//! On first start a certificate authority of this device's own; at each start, in memory, a
//! server certificate that names what clients may call us by. Clients need the authority only. What
//! ends is followed by another in time (`certs/device.rs`, `certs/authority.rs`).
//!
//! Neither depends much on the clock: a device may have been started first in 1970.

mod authority;
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
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use self::authority::{authority_params, time_of};
pub use self::device::{
    CurrentAuthority, DeviceCertificates, DeviceNames, Life, Renewed, TrustBundle,
};
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
    /// Its certificate by the authority before it, if there was one.
    cross: Option<String>,
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
        Self::load_or_make_until(path, name, date_time_ymd(2099, 12, 31))
    }

    fn load_or_make_until(
        path: &Path,
        name: &str,
        ends: OffsetDateTime,
    ) -> Result<Self, CertError> {
        let key_path = path.with_extension("key");
        match (optional(path)?, optional(&key_path)?) {
            (Some(pem), Some(key)) => {
                let damaged =
                    |e: rcgen::Error| CertError::Damaged { path: path.into(), why: e.to_string() };
                let key = KeyPair::from_pem(&key).map_err(damaged)?;
                let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(damaged)?;
                Ok(Authority::of(pem, issuer))
            }
            (None, None) => {
                let refused = |e: rcgen::Error| refused(name, &e);
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
                // The key first: with it alone the certificate is made after a crash.
                write_atomically(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
                Self::make(path, key, name, ends)
            }
            (Some(_), None) => Err(CertError::Half { there: path.into(), missing: key_path }),
            // The power was cut between the two. Whoever trusts the key trusts what is made of it.
            (None, Some(key)) => {
                let key = KeyPair::from_pem(&key);
                let key =
                    key.map_err(|e| CertError::Damaged { path: key_path, why: e.to_string() });
                Self::make(path, key?, name, ends)
            }
        }
    }

    fn make(
        path: &Path,
        key: KeyPair,
        name: &str,
        ends: OffsetDateTime,
    ) -> Result<Self, CertError> {
        let refused = |e: rcgen::Error| refused(name, &e);
        let params = authority_params(name, ends).map_err(refused)?;
        let pem = params.self_signed(&key).map_err(refused)?.pem();
        write_atomically(path, pem.as_bytes(), 0o644)?;
        tracing::info!(path = %path.display(), "made a certificate authority");
        Ok(Authority::of(pem, Issuer::new(params, key)))
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
        self.certify_until(names, ten_years_from(unix_time), unix_time)
    }

    fn certify_until(
        &self,
        names: &BTreeSet<String>,
        ends: OffsetDateTime,
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
        params.not_after = ends;
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        let (cross_pem, cross) = self.cross(unix_time).unzip();
        let chain = format!("{}{}{}", certificate.pem(), cross_pem.unwrap_or_default(), self.pem);
        let (der, key) = (certificate.der().clone(), key.serialize_der());
        Ok(ServerCertificate { der, cross, key, chain })
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

/// On a clock that is behind it is 2026.
fn counted_from_2026(unix_time: Duration) -> Duration {
    let at = |year| {
        let seconds = date_time_ymd(year, 1, 1).unix_timestamp();
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    };
    unix_time.clamp(at(2026), at(2089))
}

fn ten_years_from(unix_time: Duration) -> OffsetDateTime {
    time_of(counted_from_2026(unix_time)) + time::Duration::days(3650)
}

/// A server certificate and its key. Lives in memory only.
pub struct ServerCertificate {
    der: CertificateDer<'static>,
    /// For those who trust the authority before ours only.
    cross: Option<CertificateDer<'static>>,
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
        [&self.der].into_iter().chain(&self.cross).cloned().collect()
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

/// Writes the trust bundle: the device's authorities, and what the device itself trusts upstream.
pub fn write_trust_bundle(
    path: &Path,
    authorities: &str,
    trusted_ca: Option<&Path>,
) -> Result<String, CertError> {
    let mut bundle = authorities.to_owned();
    if let Some(upstream) = trusted_ca {
        bundle.push_str(read_text(upstream)?.trim_end());
        bundle.push('\n');
    }
    write_atomically(path, bundle.as_bytes(), 0o644)?;
    Ok(bundle)
}
