//! What `certificates` answers.

use actix::Message;
use serde::Serialize;

/// How long the certificates of this device are good.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<CertificateStatus>")]
pub struct GetCertificates;

/// See [`GetCertificates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// `server`, `device-ca`, `trusted-ca`.
    pub name: &'static str,
    /// ISO-8601.
    pub ends: String,
    /// In seconds since the epoch.
    pub ends_unix: u64,
    /// ISO-8601: it is followed by another from then on. None: it is not ours to renew.
    pub renewed_from: Option<String>,
    /// How often it was, since the process began.
    pub renewals: u64,
    /// Why it could not be, the last time.
    pub trouble: Option<String>,
    /// It is in its last fifth, and not ours to renew: what the operator is to do.
    pub warning: Option<String>,
}
