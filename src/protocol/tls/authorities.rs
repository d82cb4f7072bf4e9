//! The authorities that sign certificates of clients, and what such a certificate is worth.
//!
//! Chains are built by webpki, out of what the client sent and what is trusted here. It does not
//! look at key usages, nor at the dates of what is trusted; we do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::thumbprints;
use crate::domain::certificate::{ClientCertificate, Period};
use crate::protocol::files::{FileError, read_text};

/// So many are looked at between a client's own and a trusted one: all orders of them are tried,
/// for clients that nobody knows yet.
const BETWEEN: usize = 6;
/// Stands for a name that cannot be read; no id has it.
const UNREADABLE: &str = "\u{fffd}";
/// Files of these kinds are read in a directory.
const EXTENSIONS: [&str; 3] = ["pem", "crt", "cer"];

/// Whom we trust to sign certificates of clients. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthorities(Arc<Trusted>);

#[derive(Debug, Default)]
struct Trusted {
    anchors: Vec<TrustAnchor<'static>>,
    /// When each of them is good.
    periods: Vec<Period>,
}

/// Authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nothing in it.
    #[error("{} holds no certificate: give a PEM file with `-----BEGIN CERTIFICATE-----`, or a directory of such files (.pem, .crt, .cer)", .0.display())]
    None(PathBuf),
    /// Not one, or not of an authority.
    #[error("certificate {number} in {} {why}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
}

impl ClientAuthorities {
    /// Reads a PEM file, or all PEM files of a directory. Without a path nobody is trusted.
    pub fn read(path: Option<&Path>) -> Result<Self, AuthorityError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let mut trusted = Trusted::default();
        for file in files(path)? {
            let pem = read_text(&file)?;
            for (n, der) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
                let unusable =
                    |why| AuthorityError::Unusable { path: file.clone(), number: n + 1, why };
                let der = der.map_err(|error| unusable(format!("is damaged: {error}")))?;
                let (anchor, period) = authority(&der).map_err(unusable)?;
                trusted.anchors.push(anchor);
                trusted.periods.push(period);
            }
        }
        match trusted.anchors.is_empty() {
            true => Err(AuthorityError::None(path.to_owned())),
            false => Ok(ClientAuthorities(Arc::new(trusted))),
        }
    }

    /// What a client's certificate says, and whether what it sent leads to whom we trust at `now`
    /// (Unix time). `None` if it sent none.
    pub(super) fn look_at(
        &self,
        sent: &[CertificateDer<'_>],
        now: Duration,
    ) -> Option<ClientCertificate> {
        let (leaf, others) = sent.split_first()?;
        let (_, read) = X509Certificate::from_der(leaf).ok()?;
        let names = read.subject().iter_common_name();
        let chain = self.chain(leaf, &read, others, now);
        Some(ClientCertificate {
            thumbprints: thumbprints(leaf),
            common_names: names
                .map(|name| name.as_str().unwrap_or(UNREADABLE).to_owned())
                .collect(),
            valid: period(&read),
            chain,
        })
    }

    fn chain(
        &self,
        leaf: &CertificateDer<'_>,
        read: &X509Certificate<'_>,
        others: &[CertificateDer<'_>],
        now: Duration,
    ) -> Result<Period, String> {
        if self.0.anchors.is_empty() {
            return Err("no authority is trusted for clients here; set client_ca".into());
        }
        if others.len() > BETWEEN {
            return Err(format!("more than {BETWEEN} certificates were sent with it"));
        }
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| text(&error))?;
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let path = leaf.verify_for_usage(
            algorithms,
            &self.0.anchors,
            others,
            UnixTime::since_unix_epoch(now),
            KeyUsage::client_auth(),
            None, // who is not to come in any more is disabled
            Some(&|path| self.0.period_of(path, now).map(drop)),
        );
        let path = path.map_err(|error| text(&error))?;
        if !may_sign(read, |usage| usage.digital_signature()) {
            return Err("its key usage is not digitalSignature".into());
        }
        self.0.period_of(&path, now).map_err(|error| text(&error))
    }
}

impl Trusted {
    /// When all of a chain above the client's own certificate is good.
    fn period_of(&self, path: &VerifiedPath<'_>, now: Duration) -> Result<Period, Error> {
        let now = now.as_secs();
        let all = self.anchors.iter().zip(&self.periods);
        // The same authority may be there twice: it was renewed.
        let same = all.filter(|(anchor, _)| *anchor == path.anchor()).map(|(_, period)| *period);
        let good = same.filter(|period| (period.from..=period.until).contains(&now));
        let mut whole = good.max_by_key(|period| period.until).ok_or(Error::UnknownIssuer)?;
        for between in path.intermediate_certificates() {
            let der = between.der();
            let (_, read) = X509Certificate::from_der(&der).map_err(|_| Error::BadDer)?;
            if !may_sign(&read, |usage| usage.key_cert_sign()) {
                return Err(Error::EndEntityUsedAsCa);
            }
            whole = whole.and(period(&read));
        }
        Ok(whole)
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| FileError::new("read", path, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let kind = file.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if EXTENSIONS.contains(&kind) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn authority(der: &CertificateDer<'_>) -> Result<(TrustAnchor<'static>, Period), String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("cannot be read: {error}");
    let (_, read) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
    if !read.is_ca() || !may_sign(&read, |usage| usage.key_cert_sign()) {
        return Err("is not that of an authority (basic constraints, key usage)".into());
    }
    let anchor = anchor_from_trusted_cert(der).map_err(|error| text(&error))?;
    Ok((anchor.to_owned(), period(&read)))
}

/// Without key usages all are allowed; those that cannot be read allow none.
fn may_sign(
    read: &X509Certificate<'_>,
    is_allowed: impl Fn(&x509_parser::extensions::KeyUsage) -> bool,
) -> bool {
    match read.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| is_allowed(usage.value)),
        Err(_) => false,
    }
}

fn period(read: &X509Certificate<'_>) -> Period {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let valid = read.validity();
    Period {
        from: seconds(valid.not_before.timestamp()),
        until: seconds(valid.not_after.timestamp()),
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::UnknownIssuer => {
            "no trusted authority that is in date has signed it, nor an intermediate one that was \
             sent with it"
        }
        Error::CertExpired { .. } => "it, or an authority between, has expired",
        Error::CertNotValidYet { .. } => "it, or an authority between, is not valid yet",
        Error::CaUsedAsEndEntity => "it is the certificate of an authority itself",
        Error::EndEntityUsedAsCa => "what has signed it is not the certificate of an authority",
        Error::InvalidSignatureForPublicKey => "another authority of that name has signed it",
        Error::RequiredEkuNotFoundContext(_) => {
            "its extended key usage has no client authentication"
        }
        Error::UnsupportedCertVersion => {
            "it is not of X.509 version 3: `openssl x509 -req` makes one with -extfile"
        }
        other => return format!("{other}"),
    }
    .to_owned()
}
