//! Who may come in, with what. The reasons are for the hub's log, not for the client.

use super::{Authentication, Entry, Registry};
use crate::domain::identity::Identity;
use crate::domain::sas::{SasError, SasToken};

/// What a client shows.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// SAS token.
    pub token: Option<&'a str>,
    /// Of its certificate, lower-case hex.
    pub thumbprints: &'a [String],
    /// Version of the link it wants to be.
    pub link: Option<u32>,
}

/// Why it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No such identity.
    #[error("it is not registered")]
    Unknown,
    /// It, or its device.
    #[error("it, or its device, is disabled")]
    Disabled,
    /// Another version than 1.
    #[error("it asks for version {0} of the link; this hub has version 1")]
    LinkVersion(u32),
    /// Only `$edgeHub` of an edge device may.
    #[error("it is not $edgeHub of an edge device, so it may be no link")]
    NoEdge,
    /// It has keys, but showed no token.
    #[error("it showed no SAS token")]
    NoToken,
    /// It has thumbprints.
    #[error("it showed no certificate with one of its thumbprints")]
    OtherCertificate,
    /// Not here.
    #[error("it is to show a certificate of an authority, and this hub trusts none")]
    NoAuthorities,
    /// It cannot log in at all.
    #[error("it has no credentials")]
    NoCredentials,
    /// Signed for another hub.
    #[error("its token is for the hub `{0}`")]
    OtherHub(String),
    /// Of the token.
    #[error(transparent)]
    Token(#[from] SasError),
}

impl Registry {
    /// Whether `id` may come in to the hub `hostname` at `now` (seconds of Unix time), and until
    /// when.
    pub fn admit(
        &self,
        id: &Identity,
        shown: Credentials<'_>,
        hostname: &str,
        now: u64,
    ) -> Result<Option<u64>, NotAdmitted> {
        let entry = self.get(id).ok_or(NotAdmitted::Unknown)?;
        if !self.is_usable(entry) {
            return Err(NotAdmitted::Disabled);
        }
        if let Some(version) = shown.link {
            self.check_link(id, version)?;
        }
        match (&entry.authentication, shown.token) {
            (Authentication::Sas(..), Some(token)) => {
                let token = SasToken::parse(token)?;
                self.check_token(entry, &token, shown.link.is_some(), hostname, now).map(Some)
            }
            (Authentication::Sas(..), None) => Err(NotAdmitted::NoToken),
            (Authentication::SelfSigned(..), _) => {
                let known = entry.thumbprints();
                let is_known = shown.thumbprints.iter().any(|print| known.contains(print));
                if is_known { Ok(None) } else { Err(NotAdmitted::OtherCertificate) }
            }
            (Authentication::CertificateAuthority, _) => Err(NotAdmitted::NoAuthorities),
            (Authentication::None, _) => Err(NotAdmitted::NoCredentials),
        }
    }

    fn check_link(&self, id: &Identity, version: u32) -> Result<(), NotAdmitted> {
        let is_edge = self.get(&id.of_device()).is_some_and(|device| device.is_edge);
        if id.module_id() != Some("$edgeHub") || !is_edge {
            return Err(NotAdmitted::NoEdge);
        }
        if version == 1 { Ok(()) } else { Err(NotAdmitted::LinkVersion(version)) }
    }

    /// Its own token; a link may show that of its device, whose key is known before its own.
    fn check_token(
        &self,
        entry: &Entry,
        token: &SasToken,
        is_link: bool,
        hostname: &str,
        now: u64,
    ) -> Result<u64, NotAdmitted> {
        check_host(token, hostname)?;
        let device = entry.id.of_device();
        let signer = match (token.is_for(&entry.id), is_link) {
            (Err(_), true) if token.is_for(&device).is_ok() => {
                self.get(&device).ok_or(NotAdmitted::Unknown)?
            }
            (is_own, _) => is_own.map(|()| entry)?,
        };
        let keys: Vec<String> = signer.keys().into_iter().map(str::to_owned).collect();
        Ok(token.check(&keys, now, 0)?)
    }
}

/// A token is for one hub; a port in it does not matter.
pub fn check_host(token: &SasToken, hostname: &str) -> Result<(), NotAdmitted> {
    let resource = token.resource()?;
    let host = resource.split('/').next().unwrap_or_default();
    if without_port(host).eq_ignore_ascii_case(without_port(hostname)) {
        Ok(())
    } else {
        Err(NotAdmitted::OtherHub(host.to_owned()))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}
